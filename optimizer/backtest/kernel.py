"""Backtest kernel: advances from signal to signal; equal to `reference` in every bit and several times faster.

Between two signals only a stop, a target, a new peak or a new low can occur. A position is advanced by up to 16 bars at
once if the extremes of those bars rule all of these out, and bar by bar otherwise. The extremes of whole blocks are
computed when candles are prepared. Money is computed by the same operations in the same order as in the reference.
Rounding is monotonic, so the lowest price of several bars has the lowest of their values.

A compiled function may call only functions of its own module (see `jit`), so the formulas of a fill are repeated here.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from optimizer.backtest.engine_arrays import (
    Book,
    EngineTerms,
    MarketArrays,
    SignalPlan,
    market_of,
    plan_of,
    run_of,
    terms_of,
)
from optimizer.backtest.entries import Entries
from optimizer.backtest.result import BacktestRun, TradingRules, trade_type
from optimizer.bars.preparation import (
    BLOCK,
    CLOSE,
    HIGH,
    HIGHEST,
    HIGHEST_CLOSE,
    LOW,
    LOWEST,
    LOWEST_CLOSE,
    OPEN,
    Prepared,
)
from optimizer.compilation.jit import inlined, njit

NEVER = 2**40
"""Distance in ticks of an absent stop or target; no price reaches it."""
TOTAL_LOSS = 1.0
"""Drawdown above which a run ends: the equity was below zero inside a bar."""
END, STOP, TARGET, SIGNAL, TIME = 0, 1, 2, 3, 4
MARGIN = 1e-12
"""Safety margin, above the float64 rounding error, when a drawdown bound is compared with the maximum so far."""

BOOK = np.dtype(
    [
        ("equity", np.float64),  # realised equity, all costs paid
        ("value", np.float64),  # equity at the last processed close
        ("peak", np.float64),  # highest value at a close so far
        ("drawdown", np.float64),  # maximum drawdown so far, as a fraction of its peak
        ("day", np.int64),  # first day not written yet
        ("day_low", np.float64),  # lowest value inside that day
        ("stopped", np.int64),
        ("side", np.int64),  # +1 long, -1 short, 0 flat; the next seven fields belong to the position
        ("entry_bar", np.int64),
        ("entry_price", np.int64),
        ("stop", np.int64),
        ("target", np.int64),
        ("trail", np.int64),
        ("size", np.float64),
        ("fees", np.float64),
        ("left_bar", np.int64),  # bar of the last exit
        ("pause_end", np.int64),  # no entry fills before this bar
        ("next_signal", np.int64),  # first signal that may open the next position
        ("trades", np.int64),  # closed trades so far
    ]
)


class ResultArrays(NamedTuple):
    """Arrays that a backtest fills."""

    trades: NDArray[np.void]
    equity: NDArray[np.float64]
    lows: NDArray[np.float64]


def trade(prepared: Prepared, entries: Entries, rules: TradingRules) -> BacktestRun:
    """Return the trades and daily equity of the judged bars; same result as `reference.replay`."""
    trades = np.empty(len(entries), dtype=trade_type(prepared.prices.dtype))
    equity, lows = np.empty(prepared.day_count), np.empty(prepared.day_count)
    plan, terms = plan_of(entries), terms_of(prepared, rules)
    market, initial = market_of(prepared), rules.initial_equity
    columns = ResultArrays(trades, equity, lows)
    book = _trade(market, prepared.blocks, prepared.day_starts, plan, terms, initial, columns)[0]
    return run_of(prepared, rules, book, trades, equity, lows)


@njit
def _trade(
    market: MarketArrays,
    blocks: NDArray[np.signedinteger],
    day_starts: NDArray[np.int32],
    plan: SignalPlan,
    terms: EngineTerms,
    initial_equity: float,
    columns: ResultArrays,
) -> NDArray[np.void]:
    trades, equity, lows = columns.trades, columns.equity, columns.lows
    books = np.zeros(1, dtype=BOOK)
    book = books[0]
    book["equity"] = book["value"] = book["peak"] = book["day_low"] = initial_equity
    book["left_bar"] = -1
    entry = _next_entry(book, plan, len(market.prices), terms)
    while entry >= 0:
        bar = plan.bar[entry] + 1
        _end_days(book, day_starts, bar, terms, equity, lows)
        _enter(book, market, bar, entry, plan, terms)
        against = _next_against(book, plan, entry)
        due = _due_bar(book, plan, against, len(market.prices), terms)
        while bar < due and book["side"] != 0:
            end = min(due, day_starts[book["day"] + 1])
            _keep_position(book, market, blocks, bar, end, terms, trades)
            bar = end
            if book["side"] != 0 and end < len(market.prices):
                book["value"] = _value_at(book, _ticks(market.prices[end - 1, CLOSE]))
                _end_days(book, day_starts, end, terms, equity, lows)
        _leave_when_due(book, market, plan, against, due, terms, trades)
        entry = _next_entry(book, plan, len(market.prices), terms)
    book["stopped"] = _is_over(book, terms)
    while book["day"] < equity.size:
        _end_day(book, terms, equity, lows)
    return books


@inlined
def _next_entry(book: Book, plan: SignalPlan, bars: int, terms: EngineTerms) -> int:
    """Return the signal that opens the next position, -1 for none; starts at the book's `next_signal`."""
    for entry in range(book["next_signal"], plan.bar.size):
        bar = plan.bar[entry] + 1
        if bar >= bars or book["equity"] <= 0:
            return -1
        if bar > book["left_bar"] and _is_over(book, terms):
            return -1  # a run stops at the close of its bar; an entry at the open comes first
        if plan.enters[entry] and bar >= book["pause_end"]:
            return entry
    return -1


@inlined
def _next_against(book: Book, plan: SignalPlan, entry: int) -> int:
    """Return the first later signal that differs from the position, or the number of signals."""
    for later in range(entry + 1, plan.bar.size):
        if plan.signal[later] != book["side"]:
            return later
    return plan.bar.size


@inlined
def _due_bar(book: Book, plan: SignalPlan, against: int, bars: int, terms: EngineTerms) -> int:
    """Return the bar at whose open the position must be closed; the number of bars for the last close."""
    due = bars if against == plan.bar.size else min(plan.bar[against] + 1, bars)
    return min(due, book["entry_bar"] + terms.max_bars) if terms.max_bars > 0 else due


@inlined
def _leave_when_due(
    book: Book,
    market: MarketArrays,
    plan: SignalPlan,
    against: int,
    due: int,
    terms: EngineTerms,
    trades: NDArray[np.void],
) -> None:
    """Close a position that is still open and find the next signal to consider."""
    if book["side"] != 0 and due == len(market.prices):
        _leave_at_close(book, market, due - 1, terms, trades)
    elif book["side"] != 0:
        is_signal = against < plan.bar.size and plan.bar[against] + 1 == due
        price = _ticks(market.prices[due, OPEN])
        cost = _market_cost(book["size"], price, market.spreads[due * terms.spread_step], terms)
        _exit(book, due, price, SIGNAL if is_signal else TIME, cost, terms, trades)
        if is_signal:
            book["next_signal"] = against
            return
    while book["next_signal"] < plan.bar.size and plan.bar[book["next_signal"]] < book["left_bar"]:
        book["next_signal"] += 1


@inlined
def _end_days(
    book: Book,
    day_starts: NDArray[np.int32],
    bar: int,
    terms: EngineTerms,
    equity: NDArray[np.float64],
    lows: NDArray[np.float64],
) -> None:
    """Write every day that ends before `bar` opens."""
    while day_starts[book["day"] + 1] <= bar:
        _end_day(book, terms, equity, lows)


@inlined
def _end_day(book: Book, terms: EngineTerms, equity: NDArray[np.float64], lows: NDArray[np.float64]) -> None:
    equity[book["day"]] = book["value"]
    lows[book["day"]] = book["day_low"]
    book["day"] += 1
    book["day_low"] = book["value"]
    if book["side"] != 0 and terms.financing != 0 and book["day"] < equity.size:
        charge = book["size"] * book["entry_price"] * terms.financing
        book["fees"] += charge
        book["equity"] -= charge
        book["value"] -= charge
        _pass_through(book, book["value"])


@inlined
def _enter(book: Book, market: MarketArrays, bar: int, entry: int, plan: SignalPlan, terms: EngineTerms) -> None:
    if bar > book["left_bar"]:
        book["peak"] = max(book["peak"], book["equity"])  # at the close of the bar of the last exit
    side, price = int(plan.signal[entry]), _ticks(market.prices[bar, OPEN])
    book["side"] = side
    book["entry_bar"] = bar
    book["entry_price"] = price
    book["stop"] = price - side * min(_distance(plan.stop_ticks[entry]), _distance(plan.trail_ticks[entry]))
    book["target"] = price + side * _distance(plan.target_ticks[entry])
    book["trail"] = plan.trail_ticks[entry]
    book["size"] = _size(book["equity"], price, plan.atr_ticks[entry], terms)
    book["fees"] = _market_cost(book["size"], price, market.spreads[bar * terms.spread_step], terms)
    book["equity"] -= book["fees"]
    book["next_signal"] = entry + 1


@inlined
def _size(equity: float, price: int, atr: float, terms: EngineTerms) -> float:
    if terms.fixed_size > 0:
        return terms.fixed_size
    size = terms.fraction * equity / price
    return min(size, terms.atr_risk * equity / atr) if terms.atr_risk > 0 and atr > 0 else size


@inlined
def _keep_position(
    book: Book,
    market: MarketArrays,
    blocks: NDArray[np.signedinteger],
    start: int,
    end: int,
    terms: EngineTerms,
    trades: NDArray[np.void],
) -> None:
    """Advance the position through bars of one day, until it is closed or `end` is reached."""
    bar = start
    while bar < end and book["side"] != 0:
        stop = min(end, (bar // BLOCK + 1) * BLOCK)
        block = bar // BLOCK
        if stop - bar == BLOCK and _is_passed(book, blocks[block, LOWEST], blocks[block, HIGHEST]):
            lowest, highest = _ticks(blocks[block, LOWEST]), _ticks(blocks[block, HIGHEST])
            lowest_close, highest_close = _ticks(blocks[block, LOWEST_CLOSE]), _ticks(blocks[block, HIGHEST_CLOSE])
            touched = stop
        else:
            touched, lowest, highest, lowest_close, highest_close = _scan(market, book, bar, stop)
        if touched > bar and not _passes(book, lowest, highest, lowest_close, highest_close, terms):
            touched = bar
        if touched < stop:
            _step_bars(book, market, touched, stop, terms, trades)
        bar = stop


@inlined
def _scan(market: MarketArrays, book: Book, start: int, end: int) -> tuple[int, int, int, int, int]:
    """Return the first bar that touches stop or target, or `end`, and the extremes of the bars before it."""
    side, stop, target, trail = book["side"], book["stop"], book["target"], book["trail"]
    lower, upper = (stop, target) if side > 0 else (target, stop)
    lowest, highest, lowest_close, highest_close = NEVER, 0, NEVER, 0
    for bar in range(start, end):
        low, high, close = (
            _ticks(market.prices[bar, LOW]),
            _ticks(market.prices[bar, HIGH]),
            _ticks(market.prices[bar, CLOSE]),
        )
        if low <= lower or high >= upper:
            return bar, lowest, highest, lowest_close, highest_close
        lowest, highest = min(lowest, low), max(highest, high)
        lowest_close, highest_close = min(lowest_close, close), max(highest_close, close)
        if trail > 0:
            lower, upper = (max(lower, high - trail), upper) if side > 0 else (lower, min(upper, low + trail))
    return end, lowest, highest, lowest_close, highest_close


@inlined
def _is_passed(book: Book, lowest: int, highest: int) -> bool:
    """Return whether bars with these extremes touch neither stop nor target, trailing included."""
    stop, target, trail = book["stop"], book["target"], book["trail"]
    if book["side"] > 0:
        return bool(lowest > (max(stop, highest - trail) if trail > 0 else stop) and highest < target)
    return bool(highest < (min(stop, lowest + trail) if trail > 0 else stop) and lowest > target)


@inlined
def _passes(book: Book, lowest: int, highest: int, lowest_close: int, highest_close: int, terms: EngineTerms) -> bool:
    """Advance the position past bars without a fill; return False, without changes, if they must be walked.

    Without a new peak the maximum drawdown is that of the worst price. With a new peak it is at most that of the worst
    price under the new peak; if that bound is below the maximum so far, the order of the bars makes no difference.
    """
    worst, top = (lowest, highest_close) if book["side"] > 0 else (highest, lowest_close)
    low, high, peak, drawdown = _value_at(book, worst), _value_at(book, top), book["peak"], book["drawdown"]
    if low <= 0 or drawdown > TOTAL_LOSS:
        return False
    if high > peak:
        peak = high
        if peak - low >= peak * (drawdown - MARGIN):
            return False
    elif peak - low > peak * (drawdown - MARGIN):
        drawdown = max(drawdown, (peak - low) / peak)
        if drawdown > TOTAL_LOSS:
            return False
    book["peak"], book["drawdown"] = peak, drawdown
    book["day_low"] = min(book["day_low"], low)
    _follow(book, highest if book["side"] > 0 else lowest)
    return True


@inlined
def _follow(book: Book, best: int) -> None:
    """Move a trailing stop to follow the best price."""
    side = book["side"]
    if book["trail"] > 0:
        book["stop"] = side * max(side * book["stop"], side * best - book["trail"])


@inlined
def _step_bars(
    book: Book, market: MarketArrays, start: int, end: int, terms: EngineTerms, trades: NDArray[np.void]
) -> None:
    """Advance the position bar by bar, until it is closed or the run ends."""
    for bar in range(start, end):
        _fill_inside(book, market, bar, terms, trades)
        if book["side"] == 0:
            return
        book["value"] = _value_at(book, _ticks(market.prices[bar, CLOSE]))
        book["peak"] = max(book["peak"], book["value"])
        if _is_over(book, terms):
            _leave_at_close(book, market, bar, terms, trades)
            return


@inlined
def _fill_inside(book: Book, market: MarketArrays, bar: int, terms: EngineTerms, trades: NDArray[np.void]) -> None:
    side, opened = book["side"], _ticks(market.prices[bar, OPEN])
    low, high = _ticks(market.prices[bar, LOW]), _ticks(market.prices[bar, HIGH])
    worst, best = (low, high) if side > 0 else (high, low)
    if side * (worst - book["stop"]) <= 0:
        price = side * min(side * book["stop"], side * opened)
        _exit(
            book,
            bar,
            price,
            STOP,
            _market_cost(book["size"], price, market.spreads[bar * terms.spread_step], terms),
            terms,
            trades,
        )
    elif side * (opened - book["target"]) >= 0:
        _exit(book, bar, opened, TARGET, _target_cost(book["size"], opened, terms), terms, trades)
    else:
        _pass_through(book, _value_at(book, worst))
        if side * (best - book["target"]) >= 0:
            _exit(book, bar, book["target"], TARGET, _target_cost(book["size"], book["target"], terms), terms, trades)
        else:
            _follow(book, best)


@inlined
def _leave_at_close(book: Book, market: MarketArrays, bar: int, terms: EngineTerms, trades: NDArray[np.void]) -> None:
    price = _ticks(market.prices[bar, CLOSE])
    # Mark the bar before the exit: a run that ends here may end at its peak.
    book["peak"] = max(book["peak"], _value_at(book, price))
    cost = _market_cost(book["size"], price, market.spreads[bar * terms.spread_step], terms)
    _exit(book, bar, price, END, cost, terms, trades)


@inlined
def _exit(
    book: Book, bar: int, price: int, reason: int, cost: float, terms: EngineTerms, trades: NDArray[np.void]
) -> None:
    gain = book["side"] * (price - book["entry_price"]) * book["size"]
    trade = trades[book["trades"]]
    trade["entry_bar"] = book["entry_bar"]
    trade["exit_bar"] = bar
    trade["entry_price"] = book["entry_price"]
    trade["exit_price"] = price
    trade["side"] = book["side"]
    trade["reason"] = reason
    trade["units"] = book["size"]
    trade["fees"] = book["fees"] + cost
    trade["net"] = gain - (book["fees"] + cost)
    book["trades"] += 1
    book["side"] = 0
    book["left_bar"] = bar
    book["equity"] += gain - cost
    book["value"] = book["equity"]
    if trade["net"] < 0:
        book["pause_end"] = bar + terms.cooldown_bars
    _pass_through(book, book["equity"])


@inlined
def _pass_through(book: Book, value: float) -> None:
    book["day_low"] = min(book["day_low"], value)
    if book["peak"] - value > book["peak"] * (book["drawdown"] - MARGIN):  # a division is slow and rarely needed
        book["drawdown"] = max(book["drawdown"], (book["peak"] - value) / book["peak"])


@inlined
def _is_over(book: Book, terms: EngineTerms) -> bool:
    return bool(book["drawdown"] > TOTAL_LOSS or book["value"] <= 0)


@inlined
def _value_at(book: Book, price: int) -> float:
    return float(book["equity"] + book["side"] * (price - book["entry_price"]) * book["size"])


@inlined
def _ticks(price: np.signedinteger) -> int:
    """Return the price as int64, so that callers are compiled for one integer type."""
    return int(np.int64(price))


@inlined
def _distance(ticks: int) -> int:
    return ticks if ticks > 0 else NEVER


@inlined
def _market_cost(size: float, price: int, half_spread: float, terms: EngineTerms) -> float:
    return size * (price * (terms.fee + terms.slippage) + float(half_spread))


@inlined
def _target_cost(size: float, price: int, terms: EngineTerms) -> float:
    return size * price * terms.fee
