"""Portfolio: combines a level's datasets into one account with daily returns and intraday lows."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from optimizer.backtest.result import BacktestRun
from optimizer.compilation.jit import njit


@dataclass(frozen=True, slots=True, kw_only=True)
class Portfolio:
    """Daily series of equally weighted datasets; all arrays of shape (n_days,), ordered by day.

    A day is included if at least one dataset judges it. Days between disjoint windows are omitted, not zero.
    """

    days: NDArray[np.int64]
    """In days since 1970-01-01 UTC, ascending."""
    returns: NDArray[np.float64]
    """Mean daily return of the datasets that judge the day."""
    low_returns: NDArray[np.float64]
    """Mean return to each dataset's lowest equity inside the day. All lows count as simultaneous, so this is never
    above the portfolio's true low.
    """

    def sized(self, size: float) -> "Portfolio":
        """Return the account of which the share `size` is traded, restored daily."""
        if size == 1.0:
            return self
        return Portfolio(days=self.days, returns=self.returns * size, low_returns=self.low_returns * size)

    @property
    def equity(self) -> NDArray[np.float64]:
        """Value at the end of each day; 1 at the start of the first."""
        return np.cumprod(1.0 + self.returns, dtype=np.float64)

    @property
    def lows(self) -> NDArray[np.float64]:
        """Lowest value inside each day, on the scale of `equity`."""
        return _starts(self.equity, 1.0) * (1.0 + self.low_returns)

    @property
    def drawdowns(self) -> NDArray[np.float64]:
        """Drawdown of each day's low from the highest earlier daily close, as a fraction of it; never negative."""
        peaks = np.maximum.accumulate(_starts(self.equity, 1.0))
        return np.maximum(0.0, (peaks - self.lows) / peaks)

    @property
    def max_drawdown_intrabar(self) -> float:
        """Maximum of `drawdowns`."""
        return self.max_drawdown_at(1.0)

    def max_drawdown_at(self, size: float) -> float:
        """Return `max_drawdown_intrabar` of the account of this size."""
        return float(_deepest(self.returns, self.low_returns, size))


class PortfolioTracker:
    """Portfolio under construction: datasets with known days are added one by one."""

    def __init__(self, days: Sequence[tuple[int, int]]) -> None:
        """`days`: first judged day and number of days of each dataset; at least one dataset."""
        self._first_day = min(first for first, _ in days)
        length = max(first + count for first, count in days) - self._first_day
        self._days = np.arange(self._first_day, self._first_day + length)
        self._due = np.zeros(length, dtype=np.int64)
        for first, count in days:
            self._due[first - self._first_day : first - self._first_day + count] += 1
        self._joined = np.zeros(length, dtype=np.int64)
        self._returns, self._low_returns = np.zeros(length), np.zeros(length)

    def join(self, run: BacktestRun, size: float = 1.0) -> None:
        """Add the run of a dataset at a size; the run's own is not read."""
        first = run.first_day - self._first_day
        days = slice(first, first + len(run.equity))
        self._joined[days] += 1
        _add_changes(run.equity, run.lows, run.initial_equity, size, self._returns[days], self._low_returns[days])

    def so_far(self) -> Portfolio:
        """Return the portfolio of the datasets added so far; at least one."""
        return self._over(self._joined)

    def with_others_flat(self) -> Portfolio:
        """Return the portfolio of all datasets, counting those not added yet as flat."""
        return self._over(self._due)

    def _over(self, counts: NDArray[np.int64]) -> Portfolio:
        if counts.all():
            return Portfolio(days=self._days, returns=self._returns / counts, low_returns=self._low_returns / counts)
        kept = np.flatnonzero(counts)
        shares, returns, low_returns = counts[kept], self._returns[kept], self._low_returns[kept]
        return Portfolio(days=self._days[kept], returns=returns / shares, low_returns=low_returns / shares)


def portfolio(runs: Sequence[BacktestRun]) -> Portfolio:
    """Return the equally weighted portfolio of all runs at their sizes, rebalanced daily; at least one run."""
    account = PortfolioTracker([(run.first_day, len(run.equity)) for run in runs])
    if len({run.size for run in runs}) == 1:
        for run in runs:
            account.join(run)
        return account.so_far().sized(runs[0].size)
    for run in runs:
        account.join(run, run.size)
    return account.so_far()


def _starts(equity: NDArray[np.float64], initial: float) -> NDArray[np.float64]:
    return np.concatenate(([initial], equity[:-1]))


@njit
def _add_changes(
    equity: NDArray[np.float64],
    lows: NDArray[np.float64],
    initial: float,
    size: float,
    returns: NDArray[np.float64],
    low_returns: NDArray[np.float64],
) -> None:
    """Add `size` times the relative changes over each day's start; zero on the days after a total loss."""
    start = initial
    for day in range(equity.size):
        if start > 0:
            returns[day] += size * ((equity[day] - start) / start)
            low_returns[day] += size * ((lows[day] - start) / start)
        start = equity[day]


@njit
def _deepest(returns: NDArray[np.float64], low_returns: NDArray[np.float64], size: float) -> float:
    equity = peak = 1.0
    deepest = 0.0
    for day in range(returns.size):
        low = equity * (1.0 + low_returns[day] * size)
        deepest = max(deepest, (peak - low) / peak)
        equity *= 1.0 + returns[day] * size
        peak = max(peak, equity)
    return deepest
