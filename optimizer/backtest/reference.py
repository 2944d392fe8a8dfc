"""Reference backtest: one loop over bars whose code can be checked line by line against its rules.

The order of events inside a bar is the order of the lines of `_replay_bar`: exit, then entry at the open; stop, then
target; mark at the close; new signal. The faster kernel equals this one in every bit of every trade and day.

| situation | rule |
|---|---|
| signal at the close of a bar | fills at the open of the next existing bar; no fill after the last bar |
| stop and target inside one bar | the stop, even if the bar opens beyond the target |
| bar opens beyond the stop | fills at that open, the worse price |
| bar opens beyond the target | fills at that open |
| exit due at the open, stop hit later in that bar | the exit at the open |
| signal with the position | ignored |
| signal against the position | exit, and a new entry if the direction allows it |
| `max_bars` bars held | exit at the next open, reason `time`; a signal's exit at the same open comes first |
| trailing stop | follows the best price of the earlier bars, never away from the price |
| a losing exit, `cooldown_bars` | no entry fills for that many bars from the exit's bar on |
| position at the last bar | closed at its close with costs, reason `end` |
| midnight, UTC | a position held over it pays financing, days without a bar included |

Prices are whole ticks. A position's `size` is money per tick, so money = ticks * size throughout.
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
from optimizer.bars.preparation import CLOSE, HIGH, LOW, OPEN, Prepared
from optimizer.compilation.jit import inlined, njit

NEVER = 2**40
"""Distance in ticks of an absent stop or target; no price reaches it."""
TOTAL_LOSS = 1.0
"""Drawdown above which a run ends: the equity was below zero inside a bar."""
END, STOP, TARGET, SIGNAL, TIME = 0, 1, 2, 3, 4  # values of `run.Reason` as compile-time constants

BOOK = np.dtype(
    [
        ("equity", np.float64),  # realised equity, all costs paid
        ("value", np.float64),  # equity including the open position at the last close
        ("peak", np.float64),  # highest value at a close so far
        ("drawdown", np.float64),  # maximum drawdown so far, as a fraction of its peak
        ("day_low", np.float64),  # lowest value inside this day
        ("stopped", np.int64),
        ("side", np.int64),  # +1 long, -1 short, 0 flat; the next seven fields belong to the position
        ("entry_bar", np.int64),
        ("entry_price", np.int64),
        ("stop", np.int64),
        ("target", np.int64),
        ("trail", np.int64),  # distance of the trailing stop, 0 for none
        ("size", np.float64),
        ("fees", np.float64),
        ("exit_due", np.int64),  # whether to exit at the next open
        ("pause_end", np.int64),  # no entry fills before this bar
        ("entry_due", np.int64),  # index of the entry that fills at the next open, -1 for none
        ("next_signal", np.int64),  # index of the next signal in the plan
        ("trades", np.int64),  # closed trades so far
    ]
)


class _Bar(NamedTuple):
    number: int
    open: int
    high: int
    low: int
    close: int
    half_spread: float


def replay(prepared: Prepared, entries: Entries, rules: TradingRules) -> BacktestRun:
    """Return the trades and daily equity that signals produce on the judged bars.

    `sum(net) == final equity - initial equity`, to float64 rounding.
    """
    trades = np.zeros(len(entries), dtype=trade_type(prepared.prices.dtype))
    equity, lows = np.empty(prepared.day_count), np.empty(prepared.day_count)
    plan, terms = plan_of(entries), terms_of(prepared, rules)
    book = _replay(market_of(prepared), prepared.day_starts, plan, terms, rules.initial_equity, trades, equity, lows)[0]
    return run_of(prepared, rules, book, trades, equity, lows)


@njit
def _replay(
    market: MarketArrays,
    day_starts: NDArray[np.int32],
    plan: SignalPlan,
    terms: EngineTerms,
    initial_equity: float,
    trades: NDArray[np.void],
    equity: NDArray[np.float64],
    lows: NDArray[np.float64],
) -> NDArray[np.void]:
    books = np.zeros(1, dtype=BOOK)
    book = books[0]
    _open_book(book, initial_equity)
    for day in range(equity.size):
        _begin_day(book, terms)
        for number in range(day_starts[day], day_starts[day + 1]):
            if not book["stopped"]:
                _replay_bar(book, market, number, plan, terms, trades)
                _read_signal(book, number, plan)
        equity[day] = book["value"]
        lows[day] = book["day_low"]
    return books


def open_book(book: Book, initial_equity: float) -> None:
    """Initialise the book before the first judged day."""
    _open_book(book, initial_equity)


@njit
def begin_day(book: Book, terms: EngineTerms) -> None:
    """Start a day at midnight; for stepwise backtests."""
    _begin_day(book, terms)


@njit
def replay_bar(
    book: Book, market: MarketArrays, number: int, plan: SignalPlan, terms: EngineTerms, trades: NDArray[np.void]
) -> None:
    """Process all events of a bar except its own signal; for stepwise backtests."""
    _replay_bar(book, market, number, plan, terms, trades)


@njit
def read_signal(book: Book, number: int, plan: SignalPlan) -> None:
    """Process the signal at the close of bar `number`, if any; it takes effect at the next open."""
    _read_signal(book, number, plan)


@inlined
def _open_book(book: Book, initial_equity: float) -> None:
    book["equity"] = book["value"] = book["peak"] = initial_equity
    book["entry_due"] = -1


@inlined
def _begin_day(book: Book, terms: EngineTerms) -> None:
    book["day_low"] = book["value"]
    if book["side"] != 0 and terms.financing != 0:
        charge = book["size"] * book["entry_price"] * terms.financing
        book["fees"] += charge
        book["equity"] -= charge
        book["value"] -= charge
        _pass_through(book, book["value"])


@inlined
def _replay_bar(
    book: Book, market: MarketArrays, number: int, plan: SignalPlan, terms: EngineTerms, trades: NDArray[np.void]
) -> None:
    bar = _bar_at(market, number, terms)
    if book["exit_due"] or _is_time_up(book, number, terms):
        _exit_at_open(book, bar, terms, trades)
    if book["entry_due"] >= 0:
        _enter_or_drop(book, bar, plan, terms)
    if book["side"] != 0:
        _fill_inside(book, bar, terms, trades)
    _mark(book, bar)
    if _is_over(book, terms) or number == len(market.prices) - 1:
        _close(book, bar, terms, trades)
    if _is_over(book, terms):
        book["stopped"] = 1


@inlined
def _read_signal(book: Book, number: int, plan: SignalPlan) -> None:
    entry = book["next_signal"]
    if entry == plan.bar.size or plan.bar[entry] != number:
        return
    book["next_signal"] += 1
    if plan.signal[entry] == book["side"]:
        return
    book["exit_due"] = book["side"] != 0
    if plan.enters[entry]:
        book["entry_due"] = entry


@inlined
def _bar_at(market: MarketArrays, number: int, terms: EngineTerms) -> _Bar:
    return _Bar(
        number,
        int(market.prices[number, OPEN]),
        int(market.prices[number, HIGH]),
        int(market.prices[number, LOW]),
        int(market.prices[number, CLOSE]),
        float(market.spreads[number * terms.spread_step]),
    )


@inlined
def _is_time_up(book: Book, number: int, terms: EngineTerms) -> bool:
    return bool(book["side"] != 0 and terms.max_bars > 0 and number == book["entry_bar"] + terms.max_bars)


@inlined
def _exit_at_open(book: Book, bar: _Bar, terms: EngineTerms, trades: NDArray[np.void]) -> None:
    reason = SIGNAL if book["exit_due"] else TIME
    _exit(book, bar, bar.open, reason, _market_cost(book["size"], bar.open, bar, terms), terms, trades)
    book["exit_due"] = 0


@inlined
def _enter_or_drop(book: Book, bar: _Bar, plan: SignalPlan, terms: EngineTerms) -> None:
    if book["equity"] > 0 and bar.number >= book["pause_end"]:
        _enter(book, bar, plan, terms)
    book["entry_due"] = -1


@inlined
def _enter(book: Book, bar: _Bar, plan: SignalPlan, terms: EngineTerms) -> None:
    entry = book["entry_due"]
    side = int(plan.signal[entry])
    stop_ticks, trail_ticks = _distance(plan.stop_ticks[entry]), _distance(plan.trail_ticks[entry])
    book["side"] = side
    book["entry_bar"] = bar.number
    book["entry_price"] = bar.open
    book["stop"] = bar.open - side * min(stop_ticks, trail_ticks)
    book["target"] = bar.open + side * _distance(plan.target_ticks[entry])
    book["trail"] = plan.trail_ticks[entry]
    book["size"] = _size(book["equity"], bar.open, plan.atr_ticks[entry], terms)
    book["fees"] = _market_cost(book["size"], bar.open, bar, terms)
    book["equity"] -= book["fees"]


@inlined
def _size(equity: float, price: int, atr: float, terms: EngineTerms) -> float:
    if terms.fixed_size > 0:
        return terms.fixed_size
    size = terms.fraction * equity / price
    return min(size, terms.atr_risk * equity / atr) if terms.atr_risk > 0 and atr > 0 else size


@inlined
def _fill_inside(book: Book, bar: _Bar, terms: EngineTerms, trades: NDArray[np.void]) -> None:
    side = book["side"]
    worst, best = (bar.low, bar.high) if side > 0 else (bar.high, bar.low)
    if side * (worst - book["stop"]) <= 0:
        price = side * min(side * book["stop"], side * bar.open)
        _exit(book, bar, price, STOP, _market_cost(book["size"], price, bar, terms), terms, trades)
    elif side * (bar.open - book["target"]) >= 0:
        _exit(book, bar, bar.open, TARGET, _target_cost(book["size"], bar.open, terms), terms, trades)
    else:
        _pass_through(book, _value_at(book, worst))
        if side * (best - book["target"]) >= 0:
            _exit(book, bar, book["target"], TARGET, _target_cost(book["size"], book["target"], terms), terms, trades)
        elif book["trail"] > 0:
            book["stop"] = side * max(side * book["stop"], side * best - book["trail"])


@inlined
def _mark(book: Book, bar: _Bar) -> None:
    # The close is never below a value that `_fill_inside` or `_exit` already recorded in this bar.
    value = _value_at(book, bar.close)
    book["peak"] = max(book["peak"], value)
    book["value"] = value


@inlined
def _close(book: Book, bar: _Bar, terms: EngineTerms, trades: NDArray[np.void]) -> None:
    if book["side"] != 0:
        _exit(book, bar, bar.close, END, _market_cost(book["size"], bar.close, bar, terms), terms, trades)
        book["value"] = book["equity"]


@inlined
def _exit(
    book: Book, bar: _Bar, price: int, reason: int, cost: float, terms: EngineTerms, trades: NDArray[np.void]
) -> None:
    gain = book["side"] * (price - book["entry_price"]) * book["size"]
    trade = trades[book["trades"]]
    trade["entry_bar"] = book["entry_bar"]
    trade["exit_bar"] = bar.number
    trade["entry_price"] = book["entry_price"]
    trade["exit_price"] = price
    trade["side"] = book["side"]
    trade["reason"] = reason
    trade["units"] = book["size"]
    trade["fees"] = book["fees"] + cost
    trade["net"] = gain - (book["fees"] + cost)
    book["trades"] += 1
    book["side"] = 0
    book["equity"] += gain - cost
    if trade["net"] < 0:
        book["pause_end"] = bar.number + terms.cooldown_bars
    _pass_through(book, book["equity"])


@inlined
def _pass_through(book: Book, value: float) -> None:
    book["day_low"] = min(book["day_low"], value)
    book["drawdown"] = max(book["drawdown"], (book["peak"] - value) / book["peak"])


@inlined
def _is_over(book: Book, terms: EngineTerms) -> bool:
    return bool(book["drawdown"] > TOTAL_LOSS or book["value"] <= 0)


@inlined
def _value_at(book: Book, price: int) -> float:
    return float(book["equity"] + book["side"] * (price - book["entry_price"]) * book["size"])


@inlined
def _distance(ticks: int) -> int:
    return ticks if ticks > 0 else NEVER


@inlined
def _market_cost(size: float, price: int, bar: _Bar, terms: EngineTerms) -> float:
    return size * (price * (terms.fee + terms.slippage) + bar.half_spread)


@inlined
def _target_cost(size: float, price: int, terms: EngineTerms) -> float:
    return size * price * terms.fee
