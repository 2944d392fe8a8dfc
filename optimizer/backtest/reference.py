"""The backtest as one loop over bars that can be read against its rules, line by line.

The order inside a bar is the order of the lines of `_replay_day`: exit, then entry at the open; stop, then
target; mark at the close; new signal. The faster kernel must equal this one in every trade.

| situation | rule |
|---|---|
| signal at the close of a bar | fills at the open of the next bar there is; none on the last bar |
| stop and target inside one bar | the stop, even where the bar opens beyond the target |
| bar opens beyond the stop | fills at that open, the worse of both |
| bar opens beyond the target | fills at that open |
| exit due at the open, stop hit later in that bar | the exit at the open |
| signal that agrees with the position | ignored |
| signal against the position | exit, and a new entry where the direction allows it |
| position at the last bar | closed at its close with costs, reason `end` |

Prices are whole ticks. A position's `size` is money per tick, so that money = ticks * size throughout.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from optimizer.backtest.entries import Entries
from optimizer.backtest.jit import njit
from optimizer.backtest.prepare import Prepared
from optimizer.backtest.run import TRADE, Rules, Run
from optimizer.level import Direction

NEVER = 2**40
"""Distance in ticks of a stop or target that is not there: no price gets so far."""
END, STOP, TARGET, SIGNAL = 0, 1, 2, 3  # numbers of `run.Reason`, as the compiler wants them

BOOK = np.dtype(
    [
        ("equity", np.float64),  # what is realised: every cost so far is paid from it
        ("value", np.float64),  # equity with the open position at the last close
        ("peak", np.float64),  # highest value at a close so far
        ("drawdown", np.float64),  # deepest so far, as a fraction of its peak
        ("day_low", np.float64),  # lowest value inside this day
        ("stopped", np.int64),
        ("side", np.int64),  # +1 long, -1 short, 0 no position; the next six are the position's
        ("entry_bar", np.int64),
        ("entry_price", np.int64),
        ("stop", np.int64),
        ("target", np.int64),
        ("size", np.float64),
        ("fees", np.float64),
        ("exit_due", np.int64),  # whether to exit at the next open
        ("entry_due", np.int64),  # number of the entry that fills at the next open, -1 for none
        ("next_signal", np.int64),  # number of the next signal in the plan
        ("trades", np.int64),  # trades closed so far
    ]
)


class _Market(NamedTuple):
    open: NDArray[np.int32]
    high: NDArray[np.int32]
    low: NDArray[np.int32]
    close: NDArray[np.int32]
    half_spread: NDArray[np.float32]


class _Bar(NamedTuple):
    number: int
    open: int
    high: int
    low: int
    close: int
    half_spread: float


class _Plan(NamedTuple):
    bar: NDArray[np.int32]
    signal: NDArray[np.int8]
    stop_ticks: NDArray[np.int64]
    target_ticks: NDArray[np.int64]


class _Terms(NamedTuple):
    fee: float
    slippage: float
    fraction: float
    drawdown_limit: float
    long: bool
    short: bool


Book = np.void
"""The one record of `BOOK` that a run keeps; written in place."""


def replay(prepared: Prepared, entries: Entries, rules: Rules) -> Run:
    """The trades and daily equity that signals make of the judged bars.

    `sum(net) == final equity - initial equity`, to float64 rounding.
    """
    market = _Market(prepared.open, prepared.high, prepared.low, prepared.close, prepared.half_spread)
    plan = _Plan(entries.bar, entries.signal, entries.stop_ticks, entries.target_ticks)
    trades = np.zeros(len(entries), dtype=TRADE)
    equity, lows = np.empty(prepared.day_count), np.empty(prepared.day_count)
    book = _replay(market, prepared.day_starts, plan, _terms(rules), rules.initial_equity, trades, equity, lows)[0]
    trades = trades[: int(book["trades"])]
    trades["units"] /= prepared.dataset.instrument.tick
    return Run(
        dataset=prepared.dataset,
        trades=trades,
        initial_equity=rules.initial_equity,
        first_day=prepared.first_day,
        equity=equity,
        lows=lows,
        max_intrabar_drawdown=float(book["drawdown"]),
        judged_bars=prepared.judged_bars,
        stopped=bool(book["stopped"]),
    )


def _terms(rules: Rules) -> _Terms:
    return _Terms(
        fee=rules.rates.fee,
        slippage=rules.rates.slippage,
        fraction=rules.position_fraction,
        drawdown_limit=rules.drawdown_limit,
        long=rules.direction is not Direction.SHORT,
        short=rules.direction is not Direction.LONG,
    )


@njit
def _replay(
    market: _Market,
    day_starts: NDArray[np.int32],
    plan: _Plan,
    terms: _Terms,
    initial_equity: float,
    trades: NDArray[np.void],
    equity: NDArray[np.float64],
    lows: NDArray[np.float64],
) -> NDArray[np.void]:
    books = np.zeros(1, dtype=BOOK)
    book = books[0]
    book["equity"] = book["value"] = book["peak"] = initial_equity
    book["entry_due"] = -1
    for day in range(equity.size):
        book["day_low"] = book["value"]
        if not book["stopped"]:
            _replay_day(book, market, day_starts[day], day_starts[day + 1], plan, terms, trades)
        equity[day] = book["value"]
        lows[day] = book["day_low"]
    return books


@njit
def _replay_day(
    book: Book, market: _Market, start: int, end: int, plan: _Plan, terms: _Terms, trades: NDArray[np.void]
) -> None:
    for number in range(start, end):
        bar = _bar_at(market, number)
        if book["exit_due"]:
            _exit_at_open(book, bar, terms, trades)
        if book["entry_due"] >= 0 and book["equity"] > 0:
            _enter(book, bar, plan, terms)
        if book["side"] != 0:
            _fill_inside(book, bar, terms, trades)
        _mark(book, bar)
        if _is_over(book, terms) or number == market.close.size - 1:
            _close(book, bar, terms, trades)
        if _is_over(book, terms):
            book["stopped"] = 1
            return
        if book["next_signal"] < plan.bar.size and plan.bar[book["next_signal"]] == number:
            _read_signal(book, plan, terms)


@njit
def _bar_at(market: _Market, number: int) -> _Bar:
    return _Bar(
        number,
        int(market.open[number]),
        int(market.high[number]),
        int(market.low[number]),
        int(market.close[number]),
        float(market.half_spread[number]),
    )


@njit
def _exit_at_open(book: Book, bar: _Bar, terms: _Terms, trades: NDArray[np.void]) -> None:
    _exit(book, bar, bar.open, SIGNAL, _market_cost(book["size"], bar.open, bar, terms), trades)
    book["exit_due"] = 0


@njit
def _enter(book: Book, bar: _Bar, plan: _Plan, terms: _Terms) -> None:
    entry = book["entry_due"]
    side = int(plan.signal[entry])
    book["side"] = side
    book["entry_bar"] = bar.number
    book["entry_price"] = bar.open
    book["stop"] = bar.open - side * _distance(plan.stop_ticks[entry])
    book["target"] = bar.open + side * _distance(plan.target_ticks[entry])
    book["size"] = terms.fraction * book["equity"] / bar.open
    book["fees"] = _market_cost(book["size"], bar.open, bar, terms)
    book["equity"] -= book["fees"]
    book["entry_due"] = -1


@njit
def _fill_inside(book: Book, bar: _Bar, terms: _Terms, trades: NDArray[np.void]) -> None:
    side = book["side"]
    worst, best = (bar.low, bar.high) if side > 0 else (bar.high, bar.low)
    if side * (worst - book["stop"]) <= 0:
        price = side * min(side * book["stop"], side * bar.open)
        _exit(book, bar, price, STOP, _market_cost(book["size"], price, bar, terms), trades)
    elif side * (bar.open - book["target"]) >= 0:
        _exit(book, bar, bar.open, TARGET, _target_cost(book["size"], bar.open, terms), trades)
    else:
        _pass_through(book, _value_at(book, worst))
        if side * (best - book["target"]) >= 0:
            _exit(book, bar, book["target"], TARGET, _target_cost(book["size"], book["target"], terms), trades)


@njit
def _mark(book: Book, bar: _Bar) -> None:
    # No close lies below what `_fill_inside` or `_exit` has passed through in this bar already.
    value = _value_at(book, bar.close)
    book["peak"] = max(book["peak"], value)
    book["value"] = value


@njit
def _close(book: Book, bar: _Bar, terms: _Terms, trades: NDArray[np.void]) -> None:
    if book["side"] != 0:
        _exit(book, bar, bar.close, END, _market_cost(book["size"], bar.close, bar, terms), trades)
        book["value"] = book["equity"]


@njit
def _read_signal(book: Book, plan: _Plan, terms: _Terms) -> None:
    entry = book["next_signal"]
    book["next_signal"] += 1
    signal = plan.signal[entry]
    if signal == book["side"]:
        return
    book["exit_due"] = book["side"] != 0
    if (signal == 1 and terms.long) or (signal == -1 and terms.short):
        book["entry_due"] = entry


@njit
def _exit(book: Book, bar: _Bar, price: int, reason: int, cost: float, trades: NDArray[np.void]) -> None:
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
    _pass_through(book, book["equity"])


@njit
def _pass_through(book: Book, value: float) -> None:
    book["day_low"] = min(book["day_low"], value)
    book["drawdown"] = max(book["drawdown"], (book["peak"] - value) / book["peak"])


@njit
def _is_over(book: Book, terms: _Terms) -> bool:
    return bool(book["drawdown"] > terms.drawdown_limit or book["value"] <= 0)


@njit
def _value_at(book: Book, price: int) -> float:
    return float(book["equity"] + book["side"] * (price - book["entry_price"]) * book["size"])


@njit
def _distance(ticks: int) -> int:
    return ticks if ticks > 0 else NEVER


@njit
def _market_cost(size: float, price: int, bar: _Bar, terms: _Terms) -> float:
    return size * (price * (terms.fee + terms.slippage) + bar.half_spread)


@njit
def _target_cost(size: float, price: int, terms: _Terms) -> float:
    return size * price * terms.fee
