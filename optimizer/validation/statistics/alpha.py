"""Jensen's alpha of an account's returns against a benchmark, with a t-statistic for autocorrelated returns.

Regression: returns = alpha + beta * benchmark + error. Alpha is the mean return that the benchmark does not explain, so
a drift of the market counts as no skill, whatever share of it the account holds.
Sources: M. C. Jensen, The Performance of Mutual Funds in the Period 1945-1964 (1968), J. of Finance 23:389-416;
J. L. Treynor and F. Black, How to Use Security Analysis to Improve Portfolio Selection (1973), J. of Business 46:66-86,
whose appraisal ratio alpha / error is the t-statistic over the square root of the number of returns.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

Floats = NDArray[np.float64]
LEAST_DAYS = 3
"""Fewest returns of a regression with two coefficients and an error."""
ROUNDING = 1e-12
"""Share of the spread of a series below which another one counts as its exact multiple."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alpha:
    """Alpha of a return series; per period, not annualised."""

    alpha: float
    beta: float
    """0 if the benchmark is constant."""
    standard_error: float
    t: float
    """Alpha over its standard error; 0 if the account's returns are constant or follow the benchmark exactly."""
    lags: int
    """Lags of the Newey-West estimator."""
    periods: int
    coefficients: int
    """Number of estimated coefficients, 2; 1 with a constant benchmark."""

    @property
    def p(self) -> float:
        """One-sided p-value of t by Student's t distribution: its probability if alpha is 0."""
        return upper_tail(self.t, self.periods - self.coefficients)


def newey_west_lags(periods: int) -> int:
    """Return the number of lags, floor(4 (n / 100)^(2/9)): 5 for a year of days, 7 for four years.

    Source: W. K. Newey and K. D. West, Automatic Lag Selection in Covariance Matrix Estimation (1994), Review of
    Economic Studies 61:631-653, their constant for the Bartlett kernel.
    """
    return min(int(4.0 * (periods / 100.0) ** (2.0 / 9.0)), max(periods - 1, 0))


def alpha_of(returns: Floats, benchmark: Floats) -> Alpha:
    """Return the alpha of daily returns; both arrays of shape (n_days,), on the same days.

    The standard error is that of Newey and West with the Bartlett kernel and the factor n / (n - k) for k coefficients.
    An account without a trade has alpha 0 and t 0: cash is no evidence. So has one with fewer than three returns.
    Source: W. K. Newey and K. D. West, A Simple, Positive Semi-Definite, Heteroskedasticity and Autocorrelation
    Consistent Covariance Matrix (1987), Econometrica 55:703-708.
    """
    periods = len(returns)
    explains = periods > 0 and float(np.ptp(benchmark)) > 0
    columns = [np.ones(periods), benchmark - benchmark.mean()] if explains else [np.ones(periods)]
    design, lags = np.column_stack(columns), newey_west_lags(periods)
    count = design.shape[1]
    if periods < LEAST_DAYS or np.ptp(returns) == 0:
        constant = float(returns.mean()) if periods else 0.0
        return Alpha(
            alpha=constant, beta=0.0, standard_error=0.0, t=0.0, lags=lags, periods=periods, coefficients=count
        )
    # The centred regressors are orthogonal: the coefficients follow without a matrix inverse.
    slopes = design.T @ returns / (design**2).sum(axis=0)
    errors = returns - design @ slopes
    beta = float(slopes[1]) if explains else 0.0
    alpha = float(slopes[0]) - beta * float(benchmark.mean() if explains else 0.0)
    if float(np.abs(errors).max()) <= ROUNDING * float(np.abs(returns).max()):
        return Alpha(alpha=0.0, beta=beta, standard_error=0.0, t=0.0, lags=lags, periods=periods, coefficients=count)
    error = _standard_error(design, errors, benchmark.mean() if explains else 0.0, lags)
    return Alpha(
        alpha=alpha,
        beta=beta,
        standard_error=error,
        t=alpha / error if error > 0 else 0.0,
        lags=lags,
        periods=periods,
        coefficients=count,
    )


def upper_tail(t: float, degrees: int) -> float:
    """Return the probability that Student's t exceeds `t`; 1 without degrees of freedom."""
    return float(stdtr(degrees, -t)) if degrees > 0 else 1.0


def _standard_error(design: Floats, errors: Floats, centre: float, lags: int) -> float:
    """Return the standard error of the intercept at benchmark 0; the regressors are centred at `centre`."""
    periods, count = design.shape
    scale = 1.0 / (design**2).sum(axis=0)
    # Alpha is a linear combination of the centred coefficients, so its influence is one number per period.
    weights = np.array([1.0, -centre])[:count] * scale
    influence = (design @ weights) * errors
    variance = float(influence @ influence)
    for lag in range(1, lags + 1):
        variance += 2.0 * (1.0 - lag / (lags + 1.0)) * float(influence[lag:] @ influence[:-lag])
    return math.sqrt(max(variance, 0.0) * periods / (periods - count))
