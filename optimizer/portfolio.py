"""A level's datasets as one account: what each calendar day returned, and how low it went."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from optimizer.backtest.run import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Portfolio:
    """Daily figures of equally weighted datasets; all arrays of shape (n_days,), in order of days.

    A day is there if at least one dataset judges it. Days between disjoint windows are left out, not zero.
    """

    days: NDArray[np.int64]
    """In days since 1970-01-01 UTC, ascending."""
    returns: NDArray[np.float64]
    """Mean over the datasets that judge the day of equity at its end over equity at its start, minus 1."""
    low_returns: NDArray[np.float64]
    """The same of each dataset's lowest equity inside the day: all at their lowest at once, so never above
    the portfolio's true low."""

    @property
    def equity(self) -> NDArray[np.float64]:
        """Value at the end of each day, one at the start of the first."""
        return np.cumprod(1.0 + self.returns, dtype=np.float64)

    @property
    def lows(self) -> NDArray[np.float64]:
        """Lowest value inside each day, on the scale of `equity`."""
        return _starts(self.equity, 1.0) * (1.0 + self.low_returns)

    @property
    def drawdowns(self) -> NDArray[np.float64]:
        """Fall of each day's low from the highest daily close before it, as a fraction of that; never negative."""
        peaks = np.maximum.accumulate(_starts(self.equity, 1.0))
        return np.maximum(0.0, (peaks - self.lows) / peaks)


def portfolio(runs: Sequence[Run]) -> Portfolio:
    """The account that holds every run's dataset in equal parts, set anew each day; at least one run."""
    first_day = min(run.first_day for run in runs)
    last_day = max(run.first_day + len(run.equity) for run in runs)
    counts = np.zeros(last_day - first_day, dtype=np.int64)
    returns, low_returns = np.zeros(len(counts)), np.zeros(len(counts))
    for run in runs:
        days = slice(run.first_day - first_day, run.first_day - first_day + len(run.equity))
        start = _starts(run.equity, run.initial_equity)
        counts[days] += 1
        returns[days] += _change(run.equity, start)
        low_returns[days] += _change(run.lows, start)
    kept = np.flatnonzero(counts)
    return Portfolio(
        days=kept + first_day, returns=returns[kept] / counts[kept], low_returns=low_returns[kept] / counts[kept]
    )


def _starts(equity: NDArray[np.float64], initial: float) -> NDArray[np.float64]:
    return np.concatenate(([initial], equity[:-1]))


def _change(equity: NDArray[np.float64], start: NDArray[np.float64]) -> NDArray[np.float64]:
    """Relative change; zero on the days after everything is lost."""
    return np.divide(equity - start, start, out=np.zeros(len(equity)), where=start > 0)
