"""Stationary bootstrap: resamples a time series in blocks of random length.

The blocks preserve the dependence between neighbouring days.
Source: D. N. Politis and J. P. Romano, The Stationary Bootstrap (1994), JASA 89:1303-1313.
"""

import math
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
BATCH = 1_000
"""Number of resamples per batch, to limit memory."""

Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""Function from resampled returns, shape (n_days, n_resamples), to one number per resample."""


def block_length(returns: NDArray[np.float64]) -> float:
    """Return the optimal mean block length of a series; at least 1.

    Source: D. N. Politis and H. White, Automatic Block-Length Selection for the Dependent Bootstrap (2004), Econometric
    Reviews 23:53-70, with the correction of A. Patton, D. N. Politis and H. White (2009), Econometric Reviews
    28:372-375: b = (2 G^2 / D)^(1/3) n^(1/3) with D = 2 g(0)^2.
    """
    count = len(returns)
    if count < 3 or returns.min() == returns.max():
        return 1.0
    insignificant = max(5, int(math.log10(count)))
    most = min(math.ceil(math.sqrt(count)) + insignificant, count - 2)
    autocovariances = _autocovariances(returns, most)
    lags = _significant_lags(returns, autocovariances, insignificant, most)
    weights = np.minimum(1.0, 2.0 * (1.0 - np.arange(1, lags + 1) / lags))
    spectrum = autocovariances[0] + 2.0 * np.sum(weights * autocovariances[1 : lags + 1])
    slope = 2.0 * np.sum(weights * np.arange(1, lags + 1) * autocovariances[1 : lags + 1])
    if spectrum == 0:
        return 1.0
    best = ((slope / spectrum) ** 2 * count) ** (1 / 3)
    return float(max(1.0, min(best, math.ceil(min(3 * math.sqrt(count), count / 3)))))


def _autocovariances(returns: NDArray[np.float64], most: int) -> NDArray[np.float64]:
    away = returns - returns.mean()
    return np.array([away[lag:] @ away[: len(away) - lag] for lag in range(most + 1)]) / len(away)


def _significant_lags(
    returns: NDArray[np.float64], autocovariances: NDArray[np.float64], insignificant: int, most: int
) -> int:
    """Return twice the lag from which `insignificant` consecutive autocorrelations are insignificant.

    The lag itself counts, as in Patton's program; the paper's text gives one lag less.
    """
    count = len(returns)
    small = np.abs(autocovariances / autocovariances[0]) < 2 * math.sqrt(math.log10(count) / count)
    for lag in range(1, most - insignificant + 2):
        if small[lag : lag + insignificant].all():
            return min(2 * lag, most)
    return most


def resampled_days(days: int, block: float, seed: int, resamples: int = RESAMPLES) -> Iterator[NDArray[np.int64]]:
    """Yield batches of resampled histories as indices into the series, shape (n_days, n_in_batch).

    Each index follows the previous one, wrapping at the end; with probability 1 / `block` it is drawn at random.
    """
    random = np.random.default_rng(seed)
    for start in range(0, resamples, BATCH):
        count = min(BATCH, resamples - start)
        anywhere = random.integers(0, days, size=(days, count))
        jumps = random.random((days, count), dtype=np.float32) < 1.0 / block
        jumps[0] = True
        yield _follow(anywhere, jumps, days)


def _follow(anywhere: NDArray[np.int64], jumps: NDArray[np.bool_], days: int) -> NDArray[np.int64]:
    place = anywhere[0]
    for day in range(1, days):
        place = np.where(jumps[day], anywhere[day], place + 1)
        place[place == days] = 0
        anywhere[day] = place
    return anywhere


def interval(
    returns: NDArray[np.float64],
    statistic: Statistic,
    seed: int,
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    block: float | None = None,
) -> tuple[float, float]:
    """Return the bootstrap confidence interval of a statistic; NaN if fewer than half of the resamples have a value.

    `block`: mean block length; default is `block_length` of the returns.
    """
    if len(returns) < 2:
        return math.nan, math.nan
    chosen = block_length(returns) if block is None else block
    batches = resampled_days(len(returns), chosen, seed, resamples)
    values = np.concatenate([statistic(returns[places]) for places in batches])
    values = values[~np.isnan(values)]
    if len(values) < resamples / 2:
        return math.nan, math.nan
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def central_interval(values: NDArray[np.float64], confidence: float = 0.95) -> tuple[float, float]:
    """Return the central interval of the resampled values of a statistic; NaN if fewer than half are defined.

    Its limits are resampled values: infinity, as of a profit factor without a loss, cannot be interpolated.
    """
    defined = np.sort(values[~np.isnan(values)])
    if len(defined) < len(values) / 2 or not len(defined):
        return math.nan, math.nan
    low, high = (
        defined[round(quantile * (len(defined) - 1))] for quantile in ((1 - confidence) / 2, (1 + confidence) / 2)
    )
    return float(low), float(high)


def intrabar_drawdowns(returns: NDArray[np.float64], low_returns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the maximum intrabar drawdown of each history, as `Portfolio.max_drawdown_intrabar`.

    `returns` and `low_returns`: of shape (n_days, n_histories).
    """
    ends = np.cumprod(1.0 + returns, axis=0)
    starts = np.concatenate([np.ones((1, returns.shape[1])), ends[:-1]])
    peaks = np.maximum.accumulate(starts, axis=0)
    fallen: NDArray[np.float64] = np.maximum(0.0, ((peaks - starts * (1.0 + low_returns)) / peaks).max(axis=0))
    return fallen


def sharpe_ratios(returns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return mean over sample deviation of each column; NaN for a constant column."""
    deviation = returns.std(axis=0, ddof=1)
    ratios: NDArray[np.float64] = np.full(len(deviation), np.nan)
    np.divide(returns.mean(axis=0), deviation, out=ratios, where=deviation > 0)
    return ratios
