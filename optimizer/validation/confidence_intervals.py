"""Bootstrap confidence intervals (95 %) of the gate's metrics, by resampling days and trades."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from optimizer.backtest.result import BacktestRun
from optimizer.objective.metrics import DAYS_A_YEAR
from optimizer.objective.portfolio import Portfolio, portfolio
from optimizer.validation.gate import UNKNOWN, Interval
from optimizer.validation.statistics.bootstrap import block_length, resampled_days, sharpe_ratios

RESAMPLES = 2_000
QUANTILES = (0.025, 0.975)
MAX_DRAWN = 2_000_000
"""Maximum number of resampled trades in memory."""
Floats = NDArray[np.float64]


def intervals(runs: Sequence[BacktestRun], figures: Mapping[str, float], seed: int) -> dict[str, Interval]:
    """Return 95 % intervals of win rate, Sharpe ratio, intrabar drawdown and profit factor, by metric; NaN if unknown.

    Days are resampled in blocks to keep their dependence (stationary bootstrap); trades are resampled one by one. The
    win rate's interval is Wilson's.
    """
    account, net = portfolio(runs), np.concatenate([run.trades["net"] for run in runs])
    sharpe, drawdown = _of_days(account, seed)
    return {
        "win_rate": (figures["win_rate_low"], figures["win_rate_high"]),
        "sharpe": sharpe,
        "max_drawdown_intrabar": drawdown,
        "profit_factor": _of_trades(net, seed),
    }


def _of_days(account: Portfolio, seed: int) -> tuple[Interval, Interval]:
    if len(account.days) < 2:
        return UNKNOWN, UNKNOWN
    block = block_length(account.returns)
    batches = list(resampled_days(len(account.days), block, seed, RESAMPLES))
    sharpes = [sharpe_ratios(account.returns[days]) * np.sqrt(DAYS_A_YEAR) for days in batches]
    return _middle(np.concatenate(sharpes)), _middle(np.concatenate([_drawdowns(account, days) for days in batches]))


def _drawdowns(account: Portfolio, days: NDArray[np.int64]) -> Floats:
    """Return the maximum intrabar drawdown of each resampled history; `days` of shape (n_days, n_histories)."""
    ends = np.cumprod(1.0 + account.returns[days], axis=0)
    starts = np.concatenate([np.ones((1, days.shape[1])), ends[:-1]])
    peaks = np.maximum.accumulate(starts, axis=0)
    lows = starts * (1.0 + account.low_returns[days])
    fallen: Floats = np.maximum(0.0, ((peaks - lows) / peaks).max(axis=0))
    return fallen


def _of_trades(net: Floats, seed: int) -> Interval:
    if not len(net):
        return UNKNOWN
    random, rows = np.random.default_rng(seed), max(1, MAX_DRAWN // len(net))
    sizes = [min(rows, RESAMPLES - start) for start in range(0, RESAMPLES, rows)]
    drawn = [net[random.integers(0, len(net), size=(size, len(net)))] for size in sizes]
    return _middle(np.concatenate([_profit_factors(each) for each in drawn]))


def _profit_factors(net: Floats) -> Floats:
    """Return the profit factor of each row; infinite without a loss, NaN without gain and loss."""
    profit, loss = np.maximum(net, 0.0).sum(axis=1), np.maximum(-net, 0.0).sum(axis=1)
    ratios: Floats = np.where(profit > 0, np.inf, np.nan)
    np.divide(profit, loss, out=ratios, where=loss > 0)
    return ratios


def _middle(values: Floats) -> Interval:
    """Return the central 95 % of the values; NaN if fewer than half are defined."""
    values = np.sort(values[~np.isnan(values)])
    if len(values) < RESAMPLES / 2:
        return UNKNOWN
    # Take existing values instead of interpolating: infinity cannot be interpolated.
    low, high = (values[round(quantile * (len(values) - 1))] for quantile in QUANTILES)
    return float(low), float(high)
