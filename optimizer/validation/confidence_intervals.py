"""Bootstrap confidence intervals (95 %) of the gate's metrics, by resampling days and trades."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from optimizer.backtest.result import BacktestRun
from optimizer.objective.metrics import DAYS_A_YEAR
from optimizer.objective.portfolio import Portfolio, portfolio
from optimizer.validation.gate import UNKNOWN, Interval
from optimizer.validation.statistics.bootstrap import (
    block_length,
    central_interval,
    intrabar_drawdowns,
    resampled_days,
    sharpe_ratios,
)

RESAMPLES = 2_000
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
    drawdowns = [intrabar_drawdowns(account.returns[days], account.low_returns[days]) for days in batches]
    return central_interval(np.concatenate(sharpes)), central_interval(np.concatenate(drawdowns))


def _of_trades(net: Floats, seed: int) -> Interval:
    if not len(net):
        return UNKNOWN
    random, rows = np.random.default_rng(seed), max(1, MAX_DRAWN // len(net))
    sizes = [min(rows, RESAMPLES - start) for start in range(0, RESAMPLES, rows)]
    drawn = [net[random.integers(0, len(net), size=(size, len(net)))] for size in sizes]
    return central_interval(np.concatenate([_profit_factors(each) for each in drawn]))


def _profit_factors(net: Floats) -> Floats:
    """Return the profit factor of each row; infinite without a loss, NaN without gain and loss."""
    profit, loss = np.maximum(net, 0.0).sum(axis=1), np.maximum(-net, 0.0).sum(axis=1)
    ratios: Floats = np.where(profit > 0, np.inf, np.nan)
    np.divide(profit, loss, out=ratios, where=loss > 0)
    return ratios
