"""Trade totals: counts and sums over all trades of a run, computed in one pass."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from optimizer.backtest.result import BacktestRun
from optimizer.compilation.jit import njit

END, SIGNAL, TIME = 0, 3, 4  # values of `run.Reason` as compile-time constants


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeTotals:
    """Counts and sums of trades."""

    trades: int
    wins: int
    """Trades with a net profit above zero; break-even is not a win."""
    profit: float
    """Gross profit: sum of all gains, not negative."""
    loss: float
    """Gross loss: sum of all losses, not negative."""
    open_at_end: int
    held_bars: int
    """Bars with a position for at least part of the bar; a bar with an exit and a new entry counts once."""


def trade_totals(runs: Sequence[BacktestRun]) -> TradeTotals:
    """Return the totals over the trades of all runs."""
    counts, sums = np.zeros(3, dtype=np.int64), np.zeros(2)
    for run in runs:
        if len(run.trades):
            _add(run.trades, counts, sums)
    return TradeTotals(
        trades=sum(len(run.trades) for run in runs),
        wins=int(counts[0]),
        profit=float(sums[0]),
        loss=float(sums[1]),
        open_at_end=int(counts[1]),
        held_bars=int(counts[2]),
    )


def trade_returns(runs: Sequence[BacktestRun]) -> NDArray[np.float64]:
    """Return the net result of each trade of all runs, as a fraction of its run's starting account."""
    return np.concatenate([np.zeros(0), *(run.trades["net"] / run.initial_equity for run in runs)])


@njit
def _add(trades: NDArray[np.void], counts: NDArray[np.int64], sums: NDArray[np.float64]) -> None:
    wins, ended, held = 0, 0, 0
    profit, loss = 0.0, 0.0
    for place in range(trades.size):
        trade = trades[place]
        net, reason = trade["net"], trade["reason"]
        wins += net > 0
        profit += max(net, 0.0)
        loss -= min(net, 0.0)
        ended += reason == END
        # A position closed at a bar's open was not held through that bar.
        held += trade["exit_bar"] - trade["entry_bar"] + (0 if reason in (SIGNAL, TIME) else 1)
    counts[0] += wins
    counts[1] += ended
    counts[2] += held
    sums[0] += profit
    sums[1] += loss
