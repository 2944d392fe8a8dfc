"""Differences between the metrics of two accounts on their common days, with paired bootstrap intervals.

Both accounts are resampled with the same days, so what moves both markets alike cancels out of the difference. The
source of the pairing is O. Ledoit and M. Wolf, Robust Performance Hypothesis Testing with the Sharpe Ratio (2008), J.
of Empirical Finance 15:850-859; that of the resampling is `bootstrap`. The intervals are percentile intervals.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from optimizer.objective.metrics import DAYS_A_YEAR
from optimizer.objective.portfolio import Portfolio
from optimizer.validation.statistics.bootstrap import (
    block_length,
    central_interval,
    intrabar_drawdowns,
    resampled_days,
    sharpe_ratios,
)

RESAMPLES = 2_000
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedDifference:
    """Difference of one metric: the second account minus the first, on the common days."""

    value: float
    """NaN if a metric is undefined."""
    low: float
    """Lower limit of the 95 % interval; NaN if fewer than half of the resamples have a value."""
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedDifferences:
    """Differences of all daily metrics of two accounts."""

    days: int
    """Number of common days."""
    first_day: int
    """In days since 1970-01-01 UTC."""
    last_day: int
    by_metric: dict[str, PairedDifference]


def paired_differences(
    one: Portfolio, other: Portfolio, seed: int, resamples: int = RESAMPLES
) -> PairedDifferences | None:
    """Return the differences on the common days of two accounts; None if they have fewer than two.

    The mean block length is the longer one of both series (see `block_length`). The same seed gives the same interval,
    and exchanging the accounts changes its sign.
    """
    first, second = _on_common_days(one, other)
    if len(first.days) < 2:
        return None
    block = max(block_length(first.returns), block_length(second.returns))
    whole = np.arange(len(first.days))[:, None]
    found = _differences(first, second, whole)
    batches = [_differences(first, second, days) for days in resampled_days(len(first.days), block, seed, resamples)]
    drawn = {name: np.concatenate([batch[name] for batch in batches]) for name in found}
    limits = {name: central_interval(values) for name, values in drawn.items()}
    return PairedDifferences(
        days=len(first.days),
        first_day=int(first.days[0]),
        last_day=int(first.days[-1]),
        by_metric={
            name: PairedDifference(value=float(value[0]), low=limits[name][0], high=limits[name][1])
            for name, value in found.items()
        },
    )


def daily_metrics(returns: Floats, low_returns: Floats) -> dict[str, Floats]:
    """Return the metrics that depend on days alone, by name as in `optimizer.objective.metrics`, one value per column.

    `returns` and `low_returns`: of shape (n_days, n_histories).
    """
    ends: Floats = np.cumprod(1.0 + returns, axis=0, dtype=np.float64)
    intrabar = intrabar_drawdowns(returns, low_returns)
    growth = _growth(ends[-1], len(ends))
    downside = np.sqrt(np.mean(np.minimum(returns, 0.0) ** 2, axis=0))
    return {
        "sharpe": sharpe_ratios(returns) * math.sqrt(DAYS_A_YEAR),
        "sortino": _ratio(returns.mean(axis=0), downside) * math.sqrt(DAYS_A_YEAR),
        "cagr": growth,
        "max_drawdown": _close_drawdowns(ends),
        "max_drawdown_intrabar": intrabar,
        "calmar": _ratio(growth, intrabar),
    }


def _on_common_days(one: Portfolio, other: Portfolio) -> tuple[Portfolio, Portfolio]:
    days, first, second = np.intersect1d(one.days, other.days, assume_unique=True, return_indices=True)
    return (
        Portfolio(days=days, returns=one.returns[first], low_returns=one.low_returns[first]),
        Portfolio(days=days, returns=other.returns[second], low_returns=other.low_returns[second]),
    )


def _differences(one: Portfolio, other: Portfolio, days: NDArray[np.int64]) -> dict[str, Floats]:
    first, second = (daily_metrics(each.returns[days], each.low_returns[days]) for each in (one, other))
    return {name: second[name] - first[name] for name in first}


def _growth(ends: Floats, days: int) -> Floats:
    """Return the compound annual growth rate; -1 after a total loss."""
    with np.errstate(over="ignore"):
        grown = np.expm1(np.log(np.where(ends > 0, ends, 1.0)) * DAYS_A_YEAR / days)
    rates: Floats = np.where(ends > 0, grown, -1.0)
    return rates


def _close_drawdowns(ends: Floats) -> Floats:
    peaks = np.maximum.accumulate(np.maximum(ends, 1.0), axis=0)
    fallen: Floats = np.maximum(0.0, ((peaks - ends) / peaks).max(axis=0))
    return fallen


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    ratios: Floats = np.full(len(denominator), np.nan)
    np.divide(numerator, denominator, out=ratios, where=denominator > 0)
    return ratios
