"""Parzen densities: draws from mixtures of truncated normal distributions, and their densities, in compiled loops.

Bits are part of the contract: operations and their order are the same for every caller.
"""

import math

import numpy as np
from numpy.typing import NDArray

from optimizer.compilation.jit import inlined, njit

NEGLIGIBLE = 1e-18
"""Share of the prior's density below which a kernel does not change the sum."""
STEEPEST = 200.0
"""Upper bound of a kernel's density on one axis over the prior's; no kernel is below 1 % of the range wide.
"""
ESTIMATED = 8
"""One of so many kernels estimates the order of the candidates."""
BEHIND = 1e-9
"""Difference of log densities above their rounding error."""


Array = NDArray[np.float64]


@inlined
def _below(z: float) -> float:
    """Return the standard normal probability below z, exact in the left tail."""
    return 0.5 * math.erfc(-z / math.sqrt(2.0))


@inlined
def _mass(a: float, b: float) -> float:
    """Return the standard normal probability between a and b, computed in the tail without cancellation."""
    if a > 0:
        return _below(-a) - _below(-b)
    if b <= 0:
        return _below(b) - _below(a)
    return 1.0 - _below(a) - _below(-b)


@inlined
def _quantile(p: float) -> float:
    """Return the standard normal quantile of p, for p up to 0.5.

    Newton's method on the logarithm, which is concave: from a lower bound the steps converge without overshooting.
    """
    if p <= 0.0:
        return -40.0
    target = math.log(p)
    z = -math.sqrt(-2.0 * math.log(2.0 * p)) if p < 0.5 else 0.0
    for _ in range(60):
        below = _below(z)
        step = (math.log(below) - target) * below * math.sqrt(2.0 * math.pi) * math.exp(0.5 * z * z)
        z -= step
        if abs(step) <= 1e-14 * abs(z):
            break
    return z


@inlined
def _truncated(q: float, a: float, b: float) -> float:
    """Return the q-quantile of the standard normal distribution truncated to [a, b]."""
    mass = _mass(a, b)
    if a >= 0:
        return -_quantile(_below(-b) + (1.0 - q) * mass)
    p = _below(a) + q * mass
    return _quantile(p) if p <= 0.5 else -_quantile(1.0 - p)


@njit
def draw(out: Array, quantiles: Array, centres: Array, widths: Array, lows: Array, highs: Array) -> None:
    """Write the quantiles of normal distributions truncated to the support of each axis."""
    for axis in range(out.shape[0]):
        for place in range(out.shape[1]):
            centre, width = centres[axis, place], widths[axis, place]
            z = _truncated(quantiles[axis, place], (lows[axis] - centre) / width, (highs[axis] - centre) / width)
            out[axis, place] = min(max(z * width + centre, lows[axis]), highs[axis])


@njit
def density(
    out: Array, left: Array, right: Array, centres: Array, widths: Array, weights: Array, supports: Array
) -> None:
    """Sum the density of all kernels at each candidate; arrays have the candidate or kernel axis first.

    The last kernel is the prior, which is nowhere small; the others are computed relative to it. Axes without a step
    come first: they are cheap, and most kernels are negligible on one of them.
    """
    count, axes = centres.shape
    shares, priors = np.empty((count, axes)), np.empty(axes)
    _fill_shares(shares, centres, widths, supports)
    for place in range(out.shape[0]):
        product = _prior(priors, left, right, centres, widths, shares, place)
        total = weights[count - 1]
        for kernel in range(count - 1):
            total += weights[kernel] * _ratio(left, right, centres, widths, shares, priors, place, kernel)
        out[place] = total * product


@njit
def rival_density(
    out: Array,
    log_good: Array,
    left: Array,
    right: Array,
    centres: Array,
    widths: Array,
    weights: Array,
    supports: Array,
) -> None:
    """Write the density of each candidate whose ratio of good to other trials may be the highest; infinity for others.

    Densities are those of `density`, bit for bit. A sum over kernels only grows, so it ends once the candidate is
    behind the best one so far. A part of the kernels estimates which candidate to begin with.
    """
    count, axes = centres.shape
    shares, priors = np.empty((count, axes)), np.empty(axes)
    _fill_shares(shares, centres, widths, supports)
    hopes = np.empty(out.shape[0])
    for place in range(out.shape[0]):
        product = _prior(priors, left, right, centres, widths, shares, place)
        total = weights[count - 1]
        for kernel in range(0, count - 1, ESTIMATED):
            ratio = _ratio(left, right, centres, widths, shares, priors, place, kernel)
            total += ESTIMATED * weights[kernel] * ratio
        hopes[place] = log_good[place] - math.log(total * product)
    out[:] = math.inf
    best = -math.inf
    for _ in range(out.shape[0]):
        place = int(np.argmax(hopes))
        hopes[place] = -math.inf
        product = _prior(priors, left, right, centres, widths, shares, place)
        limit = math.exp(log_good[place] - best + BEHIND) / product if best > -math.inf else math.inf
        total = weights[count - 1]
        for kernel in range(count - 1):
            total += weights[kernel] * _ratio(left, right, centres, widths, shares, priors, place, kernel)
            if total > limit:
                break
        out[place] = math.inf if total > limit else total * product
        best = max(best, log_good[place] - math.log(out[place]))


@inlined
def _fill_shares(shares: Array, centres: Array, widths: Array, supports: Array) -> None:
    """Write the probability of each kernel inside the support of each axis."""
    for kernel in range(shares.shape[0]):
        for axis in range(shares.shape[1]):
            centre, width = centres[kernel, axis], widths[kernel, axis]
            shares[kernel, axis] = _mass((supports[0, axis] - centre) / width, (supports[1, axis] - centre) / width)


@inlined
def _prior(priors: Array, left: Array, right: Array, centres: Array, widths: Array, shares: Array, place: int) -> float:
    """Write the prior's density of a candidate on each axis and return their product."""
    product = 1.0
    for axis in range(len(priors)):
        priors[axis] = _factor(left, right, centres, widths, shares, axis, place, len(shares) - 1)
        product *= priors[axis]
    return product


@inlined
def _ratio(
    left: Array, right: Array, centres: Array, widths: Array, shares: Array, priors: Array, place: int, kernel: int
) -> float:
    """Return a kernel's density over the prior's; 0 once the remaining axes cannot make it significant."""
    ratio = 1.0
    least = NEGLIGIBLE / STEEPEST ** len(priors)
    for axis in range(len(priors)):
        ratio *= _factor(left, right, centres, widths, shares, axis, place, kernel) / priors[axis]
        least *= STEEPEST
        if ratio < least:
            return 0.0
    return ratio


@inlined
def _factor(
    left: Array, right: Array, centres: Array, widths: Array, shares: Array, axis: int, place: int, kernel: int
) -> float:
    """Return a kernel's probability between left and right on one axis, or its density if both are equal."""
    centre, width = float(centres[kernel, axis]), float(widths[kernel, axis])
    a, b = (float(left[place, axis]) - centre) / width, (float(right[place, axis]) - centre) / width
    if a < b:
        return _mass(a, b) / float(shares[kernel, axis])
    return math.exp(-0.5 * a * a) / (math.sqrt(2.0 * math.pi) * width * float(shares[kernel, axis]))
