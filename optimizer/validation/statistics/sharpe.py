"""Sharpe ratio inference: PSR, minimum track record length, and deflation by the number of trials (DSR).

Sharpe ratios in this module are per period (a day, a month), never annualised; `per_period` converts annualised ones.
Kurtosis is not excess kurtosis: it is 3 for the normal distribution.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

EULER_GAMMA = 0.5772156649015329
NORMAL = NormalDist()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReturnMoments:
    """Moments of a return series."""

    sharpe: float
    """Mean over sample deviation per period; NaN for constant returns."""
    periods: int
    skewness: float = 0.0
    kurtosis: float = 3.0

    @classmethod
    def of(cls, returns: NDArray[np.float64]) -> "ReturnMoments":
        """Compute the moments of a series; population skewness and kurtosis, as in the papers cited below."""
        if len(returns) < 2 or returns.min() == returns.max():
            return cls(sharpe=math.nan, periods=len(returns), skewness=math.nan, kurtosis=math.nan)
        away = returns - returns.mean()
        variance = float(np.mean(away**2))
        return cls(
            sharpe=float(returns.mean() / returns.std(ddof=1)),
            periods=len(returns),
            skewness=float(np.mean(away**3)) / variance**1.5,
            kurtosis=float(np.mean(away**4)) / variance**2,
        )

    @property
    def spread(self) -> float:
        """Variance of the Sharpe ratio estimate times the number of periods.

        Source: E. Mertens, Comments on variance of the IID estimator in Lo (2002); J. D. Opdyke, Comparing Sharpe
        Ratios: So Where Are the p-Values? (2007), J. of Asset Management 8:308-336, whose general form is the same.
        """
        return 1.0 - self.skewness * self.sharpe + (self.kurtosis - 1.0) / 4.0 * self.sharpe**2


def per_period(a_year: float, periods_a_year: float) -> float:
    """Convert an annualised Sharpe ratio to one period."""
    return a_year / math.sqrt(periods_a_year)


def probabilistic_sharpe(moments: ReturnMoments, benchmark: float = 0.0) -> float:
    """Return the probabilistic Sharpe ratio (PSR): probability that the true Sharpe ratio exceeds `benchmark`.

    NaN without a Sharpe ratio.
    Source: D. H. Bailey and M. Lopez de Prado, The Sharpe Ratio Efficient Frontier (2012), J. of Risk 15:3-44, eq. (9).
    """
    if math.isnan(moments.sharpe) or moments.spread <= 0:
        return math.nan
    return NORMAL.cdf((moments.sharpe - benchmark) * math.sqrt((moments.periods - 1) / moments.spread))


def minimum_track_record(moments: ReturnMoments, benchmark: float = 0.0, confidence: float = 0.95) -> float:
    """Return the minimum track record length (MinTRL): number of periods at which PSR reaches `confidence`.

    Infinite if the ratio is not above the benchmark.
    Source: as `probabilistic_sharpe`, eq. (11).
    """
    if not moments.sharpe > benchmark:
        return math.inf
    return 1.0 + moments.spread * (NORMAL.inv_cdf(confidence) / (moments.sharpe - benchmark)) ** 2


def expected_maximum(trials: float) -> float:
    """Return the expected maximum of `trials` independent standard normal draws; 0 for a single draw.

    Source: D. H. Bailey and M. Lopez de Prado, The Deflated Sharpe Ratio (2014), J. of Portfolio Management 40:94-107,
    eq. (1) of the appendix.
    """
    if trials <= 1:
        return 0.0
    upper = NORMAL.inv_cdf(1.0 - 1.0 / trials)
    return (1.0 - EULER_GAMMA) * upper + EULER_GAMMA * NORMAL.inv_cdf(1.0 - 1.0 / (trials * math.e))


def deflated_benchmark(variance: float, trials: float) -> float:
    """Return SR0: the expected maximum Sharpe ratio of trials without skill whose ratios have this variance."""
    return math.sqrt(variance) * expected_maximum(trials)


def deflated_sharpe(moments: ReturnMoments, variance: float, trials: float) -> float:
    """Return the deflated Sharpe ratio (DSR): probability that the true Sharpe ratio of the best trial exceeds SR0.

    `variance`: of the trials' Sharpe ratios. Source: as `expected_maximum`, eq. (2).
    """
    return probabilistic_sharpe(moments, deflated_benchmark(variance, trials))


def effective_trials(returns: NDArray[np.float64]) -> float:
    """Return the effective number of independent trials among correlated ones, shape (n_days, n_trials).

    With the mean correlation rho it is rho + (1 - rho) * n_trials. Trials with constant returns, such as those without
    a trade, are excluded.
    Source: as `expected_maximum`, appendix A.3.
    """
    moving = returns[:, returns.std(axis=0) > 0].astype(np.float64)
    trials = moving.shape[1]
    if trials < 2:
        return float(trials)
    scaled = (moving - moving.mean(axis=0)) / moving.std(axis=0)
    # Mean pairwise correlation without the correlation matrix: the sum of all pairs follows from the squared row sums.
    every = float(np.mean(scaled.sum(axis=1) ** 2))
    correlation = min(max((every - trials) / (trials * (trials - 1)), 0.0), 1.0)
    return float(correlation + (1.0 - correlation) * trials)
