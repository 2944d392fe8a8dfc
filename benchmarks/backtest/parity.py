"""Trade by trade: ours beside a peer's over the same signals, one unit a trade, no costs."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from optimizer.backtest.costs import Rates
from optimizer.backtest.entries import Entries
from optimizer.backtest.kernel import trade
from optimizer.backtest.prepare import Prepared
from optimizer.backtest.run import Reason, Rules
from optimizer.level import Direction

FREE = Rules(direction=Direction.BOTH, rates=Rates(fee=0.0, slippage=0.0), position_units=1.0, initial_equity=1e9)
RELATIVE = 1e-9
Columns = dict[str, NDArray[np.float64]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """How many of our trades a peer made, too."""

    ours: int
    """But for one that only the end closed."""
    equal: int
    """In bars, side, prices and net, to 1e-9 relative."""
    refused: int
    """Orders that the peer refused, and that we therefore did not give."""
    differences: tuple[int, ...]
    """Entry bars of ours that have no equal, in order."""


def our_trades(prepared: Prepared, entries: Entries, refused: NDArray[np.int64]) -> Columns:
    """Ours without the orders that the peer refused and without the trade that the end closed."""
    given = replace(entries, enters=entries.enters & ~np.isin(entries.bar, refused))
    run = trade(prepared, given, FREE)
    closed = run.trades[run.trades["reason"] != Reason.END]
    tick = prepared.dataset.instrument.tick
    return {
        "entry_bar": closed["entry_bar"].astype(np.float64),
        "exit_bar": closed["exit_bar"].astype(np.float64),
        "side": closed["side"].astype(np.float64),
        "entry_price": closed["entry_price"] * tick,
        "exit_price": closed["exit_price"] * tick,
        "net": closed["net"],
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
    for name in [name for name in ours if name in theirs and name != "entry_bar"]:
        scale = price if name in ("entry_price", "exit_price", "net") else 1.0
        equal &= np.abs(theirs[name][matched] - ours[name]) <= RELATIVE * scale
    return Parity(
        ours=len(price),
        equal=int(equal.sum()),
        refused=len(refused),
        differences=tuple(int(bar) for bar in ours["entry_bar"][~equal]),
    )
