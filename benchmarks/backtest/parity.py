"""Trade by trade: ours beside a peer's over the same signals, one unit a trade, no costs."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from optimizer.backtest.costs import CostRates
from optimizer.backtest.entries import Entries
from optimizer.backtest.kernel import trade
from optimizer.backtest.result import ExitReason, TradingRules
from optimizer.bars.preparation import Prepared
from optimizer.level.spec import Direction

FREE = TradingRules(
    direction=Direction.BOTH, rates=CostRates(fee=0.0, slippage=0.0), position_units=1.0, initial_equity=1e9
)
RELATIVE = 1e-9
Columns = dict[str, NDArray[np.float64]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """How many of our trades a peer made, too."""

    ours: int
    """But for one that only the end closed."""
    equal: int
    """In bars, side, prices and net, to 1e-9 relative."""
    explained: int
    """Others of ours, due to the listed differences: the peer looks at neither stop nor target in the bar of
    the entry; in a bar at whose open an exit is due it lets them go first and enters nothing there; a level that a bar
    touches to the very tick may round past it. Trades that cannot be since the peer still holds such a one count."""
    refused: int
    """Orders that the peer refused, and that we therefore did not give."""
    differences: tuple[int, ...]
    """Entry bars of ours that have no equal and no explanation, in order."""


def our_trades(prepared: Prepared, entries: Entries, refused: NDArray[np.int64]) -> Columns:
    """Ours without the orders that the peer refused and without the trade that the end closed."""
    given = replace(entries, enters=entries.enters & ~np.isin(entries.bar, refused))
    run = trade(prepared, given, FREE)
    closed = run.trades[run.trades["reason"] != ExitReason.END]
    tick = prepared.dataset.instrument.tick
    return {
        "entry_bar": closed["entry_bar"].astype(np.float64),
        "exit_bar": closed["exit_bar"].astype(np.float64),
        "side": closed["side"].astype(np.float64),
        "entry_price": closed["entry_price"] * tick,
        "exit_price": closed["exit_price"] * tick,
        "net": closed["net"],
        "is_signal": (closed["reason"] == ExitReason.SIGNAL).astype(np.float64),
    }


def compare(prepared: Prepared, entries: Entries, theirs: Columns) -> Parity:
    """Each of our trades beside theirs of the same entry bar."""
    refused = theirs.get("refused", np.empty(0)).astype(np.int64)
    ours = our_trades(prepared, entries, refused)
    order = np.argsort(theirs["entry_bar"], kind="stable")
    starts = theirs["entry_bar"][order]
    place = np.minimum(np.searchsorted(starts, ours["entry_bar"]), len(starts) - 1)
    matched = order[place]
    equal = starts[place] == ours["entry_bar"]
    price = ours["entry_price"]
    for name in [name for name in ours if name in theirs and name not in ("entry_bar", "refused")]:
        scale = price if name in ("entry_price", "exit_price", "net") else 1.0
        equal &= np.abs(theirs[name][matched] - ours[name]) <= RELATIVE * scale
    explained = ~equal & _is_explained(prepared, entries, ours, theirs)
    return Parity(
        ours=len(price),
        equal=int(equal.sum()),
        explained=int(explained.sum()),
        refused=len(refused),
        differences=tuple(int(bar) for bar in ours["entry_bar"][~equal & ~explained]),
    )


def _is_explained(prepared: Prepared, entries: Entries, ours: Columns, theirs: Columns) -> NDArray[np.bool_]:
    listed = _is_late(prepared, entries, ours)
    listed |= np.isin(ours["entry_bar"], ours["exit_bar"][listed])
    listed |= (ours["exit_bar"] == ours["entry_bar"]) & (ours["is_signal"] == 0)
    listed |= _is_touched_exactly(prepared, ours)
    begins, ends = theirs["entry_bar"], theirs["exit_bar"]
    for place in np.flatnonzero(~listed):
        bar = ours["entry_bar"][place]
        still = begins[(begins < bar) & (bar <= ends)]
        listed[place] = bool(np.isin(still, ours["entry_bar"][listed]).any())
    return listed


def _is_touched_exactly(prepared: Prepared, ours: Columns) -> NDArray[np.bool_]:
    tick, left = prepared.dataset.instrument.tick, ours["exit_bar"].astype(np.int64)
    low, high = prepared.low[left] * tick, prepared.high[left] * tick
    distance = np.minimum(np.abs(ours["exit_price"] - low), np.abs(ours["exit_price"] - high))
    is_exact: NDArray[np.bool_] = (ours["is_signal"] == 0) & (distance < tick / 2)
    return is_exact


def _is_late(prepared: Prepared, entries: Entries, ours: Columns) -> NDArray[np.bool_]:
    """Whether a trade was left at an open in whose bar its stop or target was touched."""
    tick, left = prepared.dataset.instrument.tick, ours["exit_bar"].astype(np.int64)
    entry = np.searchsorted(entries.bar, ours["entry_bar"].astype(np.int64) - 1)
    side, price, near = ours["side"], ours["entry_price"], tick / 2
    stop, target = price - side * entries.stop_ticks[entry] * tick, price + side * entries.target_ticks[entry] * tick
    low, high = prepared.low[left] * tick, prepared.high[left] * tick
    touches_stop = np.where(side > 0, low <= stop + near, high >= stop - near)
    touches_target = np.where(side > 0, high >= target - near, low <= target + near)
    is_late: NDArray[np.bool_] = (ours["is_signal"] > 0) & (touches_stop | touches_target)
    return is_late
