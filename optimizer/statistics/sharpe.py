"""How much a Sharpe ratio says, given how long it was watched and out of how many it was chosen.

Sharpe ratios here are those of one period (a day, a month), never annualised: `per_period` turns one round.
Kurtosis is the plain one, 3 for the normal distribution.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

EULER_GAMMA = 0.5772156649015329
NORMAL = NormalDist()


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """What is known of a series of returns."""

    sharpe: float
    """Mean over sample deviation, a period; NaN where returns do not vary."""
    periods: int
    skewness: float = 0.0
    kurtosis: float = 3.0

    @classmethod
    def of(cls, returns: NDArray[np.float64]) -> "Moments":
        """Of a series; skewness and kurtosis are the population's, as the papers below have them."""
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
        """Variance of the Sharpe ratio's estimate times the number of periods.

        Source: E. Mertens, Comments on variance of the IID estimator in Lo (2002); J. D. Opdyke, Comparing Sharpe
        Ratios: So Where Are the p-Values? (2007), J. of Asset Management 8:308-336, whose general form is the same.
        """
        return 1.0 - self.skewness * self.sharpe + (self.kurtosis - 1.0) / 4.0 * self.sharpe**2


def per_period(a_year: float, periods_a_year: float) -> float:
    """A yearly Sharpe ratio as that of one period."""
    return a_year / math.sqrt(periods_a_year)


def lo_standard_error(sharpe: float, periods: int) -> float:
    """Standard error of a Sharpe ratio of independent normal returns.

    Source: A. W. Lo, The Statistics of Sharpe Ratios (2002), Financial Analysts Journal 58:36-52, eq. (9).
    """
    return math.sqrt((1.0 + sharpe**2 / 2.0) / periods)


def mertens_interval(moments: Moments, confidence: float = 0.95) -> tuple[float, float]:
    """Interval of a Sharpe ratio of independent returns of any shape; NaN without one. Source: `Moments.spread`."""
    half = NORMAL.inv_cdf(0.5 + confidence / 2) * math.sqrt(max(moments.spread, 0.0) / max(moments.periods, 1))
    return moments.sharpe - half, moments.sharpe + half


def probabilistic_sharpe(moments: Moments, benchmark: float = 0.0) -> float:
    """PSR: how likely the true Sharpe ratio is above `benchmark`; NaN without a Sharpe ratio.

    Source: D. H. Bailey and M. Lopez de Prado, The Sharpe Ratio Efficient Frontier (2012), J. of Risk 15:3-44,
    eq. (9).
    """
    if math.isnan(moments.sharpe) or moments.spread <= 0:
        return math.nan
    return NORMAL.cdf((moments.sharpe - benchmark) * math.sqrt((moments.periods - 1) / moments.spread))


def minimum_track_record(moments: Moments, benchmark: float = 0.0, confidence: float = 0.95) -> float:
    """MinTRL: periods after which PSR reaches `confidence`; infinite where the ratio is not above the benchmark.

    Source: as `probabilistic_sharpe`, eq. (11).
    """
    if not moments.sharpe > benchmark:
        return math.inf
    return 1.0 + moments.spread * (NORMAL.inv_cdf(confidence) / (moments.sharpe - benchmark)) ** 2


def expected_maximum(trials: float) -> float:
    """Highest of that many independent standard normal draws, as expected; 0 for a single one.

    Source: D. H. Bailey and M. Lopez de Prado, The Deflated Sharpe Ratio (2014), J. of Portfolio Management
    40:94-107, eq. (1) of the appendix.
    """
    if trials <= 1:
        return 0.0
    upper = NORMAL.inv_cdf(1.0 - 1.0 / trials)
    return (1.0 - EULER_GAMMA) * upper + EULER_GAMMA * NORMAL.inv_cdf(1.0 - 1.0 / (trials * math.e))


def deflated_benchmark(variance: float, trials: float) -> float:
    """SR0: the best Sharpe ratio that luck alone finds in so many trials whose ratios vary by `variance`."""
    return math.sqrt(variance) * expected_maximum(trials)


def deflated_sharpe(moments: Moments, variance: float, trials: float) -> float:
    """DSR: how likely the winner of so many trials has a Sharpe ratio above what luck alone finds.

    `variance`: of the trials' Sharpe ratios. Source: as `expected_maximum`, eq. (2).
    """
    return probabilistic_sharpe(moments, deflated_benchmark(variance, trials))


def effective_trials(returns: NDArray[np.float64]) -> float:
    """Independent trials that as many correlated ones, shape (n_days, n_trials), amount to.

    With their mean correlation rho: rho + (1 - rho) * n_trials. Trials whose returns do not vary, as those without
    a trade, are left out: they tried nothing.
    Source: as `expected_maximum`, appendix A.3.
    """
    moving = returns[:, returns.std(axis=0) > 0].astype(np.float64)
    trials = moving.shape[1]
    if trials < 2:
        return float(trials)
    scaled = (moving - moving.mean(axis=0)) / moving.std(axis=0)
    # The mean of all pairs' correlations, without the matrix of them: the sum of all is that of the squared row sums.
    every = float(np.mean(scaled.sum(axis=1) ** 2))
    correlation = min(max((every - trials) / (trials * (trials - 1)), 0.0), 1.0)
    return float(correlation + (1.0 - correlation) * trials)
