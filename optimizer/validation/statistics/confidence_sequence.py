"""Confidence sequence of a mean: limits that hold at all times together, so that looking every day costs nothing.

The limits come from betting. Against a candidate mean m, a gambler bets the fraction l of a capital of 1 on each value
x: the capital is the product of 1 + l (x - m). If the mean given the past is at most m and no value is below -b, the
capital is a non-negative supermartingale for 0 <= l <= 1 / (b + m), so by Ville's inequality it ever reaches 1 / alpha
with a probability of at most alpha. All candidates against which it did are rejected. The upper limit bets on the fall.

Source: I. Waudby-Smith and A. Ramdas, Estimating means of bounded random variables by betting (2024), J. Royal
Statistical Society B 86:1-27, the grid Kelly bets of its section 5; J. Ville, Étude critique de la notion de collectif
(1939). A bet of mean / variance is that of J. L. Kelly (1956), Bell System Technical Journal 35:917-926.

Assumptions: each value lies in [-b, b], for a bound b that was set before the first value; larger values count as b.
The mean of a value given all earlier values is the same for all (for the rejection of m = 0 alone: never above 0).
Neither a distribution nor a variance is assumed, nor independence: tails and clusters of volatility change the power
only.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
BETS = (1.0, 1.5, 2.0, 3.0, 4.0)
"""Bets, each optimal for one annualised Sharpe ratio; the capital is shared among them equally."""
LARGEST_SHARE = 0.9
"""Share of the largest valid bet that is used at most, so that no value takes the whole capital."""
RANGE, STEP = 10.0, 0.02
"""Largest candidate mean and the distance of two, as annualised Sharpe ratios at the reference deviation."""
DAYS_A_YEAR = 365


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """State of a confidence sequence after some values."""

    lower: float | None
    """All means up to this one are rejected; None if no candidate is."""
    upper: float | None
    """All means from this one on are rejected; None if no candidate is."""
    e_value: float
    """Capital of the bets against a mean of zero or less (e-value); the hypothesis is rejected at 1 / alpha."""
    best_e_value: float
    """Largest capital so far; its inverse is an anytime-valid p-value."""


class ConfidenceSequence:
    """Lower and upper confidence limits of a mean, updated value by value; each limit errs with probability alpha."""

    def __init__(self, *, bound: float, deviation: float, alpha_lower: float, alpha_upper: float) -> None:
        """`deviation`: reference standard deviation of a value, which sets the size of the bets, not their validity."""
        unit = deviation / math.sqrt(DAYS_A_YEAR)
        if not 0 < RANGE * unit < bound:
            raise ValueError(f"bound {bound:g} must exceed {RANGE * unit:g}, and the deviation must be positive")
        count = round(RANGE / STEP)
        self._bound = bound
        self._means: Floats = np.arange(-count, count + 1, dtype=np.float64) * (STEP * unit)
        self._zero = count
        self._above = _bets(bound, deviation, self._means)
        self._below = _bets(bound, deviation, -self._means)
        self._rising, self._falling = np.zeros_like(self._above), np.zeros_like(self._below)
        self._lower_log, self._upper_log = -math.log(alpha_lower), -math.log(alpha_upper)
        self._lower: float | None = None
        self._upper: float | None = None
        self._best = 0.0

    def add(self, value: float) -> Limits:
        """Add a value and return the limits; a limit never retreats."""
        away = min(max(value, -self._bound), self._bound) - self._means
        self._rising += np.log1p(self._above * away)
        self._falling += np.log1p(-self._below * away)
        rising, falling = _shared(self._rising), _shared(self._falling)
        if (low := self._means[rising >= self._lower_log]).size:
            self._lower = max(float(low[-1]), -math.inf if self._lower is None else self._lower)
        if (high := self._means[falling >= self._upper_log]).size:
            self._upper = min(float(high[0]), math.inf if self._upper is None else self._upper)
        e_value = float(rising[self._zero])
        self._best = max(self._best, e_value)
        return Limits(
            lower=self._lower,
            upper=self._upper,
            e_value=math.exp(min(e_value, 700.0)),
            best_e_value=math.exp(min(self._best, 700.0)),
        )


def log_capital(values: Floats, *, mean: float, bound: float, deviation: float, bets: Sequence[float] = BETS) -> Floats:
    """Return the logarithm of the capital against a mean after each value.

    `values`: shape (..., n_values); each row is one sequence.
    """
    away = np.clip(values, -bound, bound) - mean
    fractions = _bets(bound, deviation, np.array([mean]), bets)[:, 0]
    return _shared(np.stack([np.cumsum(np.log1p(each * away), axis=-1) for each in fractions]))


def _bets(bound: float, deviation: float, means: Floats, bets: Sequence[float] = BETS) -> Floats:
    """Return each bet against each mean, shape (n_bets, n_means): Kelly's for a Sharpe ratio, if it is valid."""
    kelly = np.array(bets) / math.sqrt(DAYS_A_YEAR) / deviation
    largest: Floats = LARGEST_SHARE / (bound + means)
    return np.minimum(kelly[:, np.newaxis], largest[np.newaxis, :])


def _shared(logs: Floats) -> Floats:
    """Return the logarithm of the mean capital over the bets, the first axis."""
    top = logs.max(axis=0)
    shared: Floats = top + np.log(np.mean(np.exp(logs - top), axis=0))
    return shared
