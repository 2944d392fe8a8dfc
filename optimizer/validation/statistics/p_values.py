"""P-values: by Monte Carlo, combined, and the number of further days that would change them."""

import math
from collections.abc import Sequence

from scipy.special import chdtrc, chdtri, ndtri


def monte_carlo_p(value: float, null_values: Sequence[float]) -> float:
    """Return (1 + number of null values >= `value`) / (1 + number of null values); never 0, and 1 without any.

    Sources: A. C. Davison and D. V. Hinkley, Bootstrap Methods and their Application (1997), section 4.2; B. Phipson
    and G. K. Smyth, Permutation P-values Should Never Be Zero (2010), Statistical Applications in Genetics and
    Molecular Biology 9:39.
    """
    return (1 + sum(null >= value for null in null_values)) / (1 + len(null_values))


def fisher(p_values: Sequence[float]) -> float:
    """Return the combined p-value of independent ones: -2 times the sum of their logarithms is chi-squared.

    Source: R. A. Fisher, Statistical Methods for Research Workers, 4th edition (1932), section 21.1.
    """
    if not p_values:
        return 1.0
    statistic = -2.0 * sum(math.log(max(p, 5e-324)) for p in p_values)
    return float(chdtrc(2 * len(p_values), statistic))


def needed_p(others: Sequence[float], bound: float) -> float:
    """Return the p-value at which `fisher` of it and `others` equals `bound`; may exceed 1 if any value is enough."""
    statistic = float(chdtri(2 * (len(others) + 1), bound))
    return math.exp(-statistic / 2.0 - sum(math.log(max(p, 5e-324)) for p in others))


def further_days(t: float, days: int, pace: float, p: float) -> float:
    """Return the number of further days after which a t-statistic reaches the one-sided `p`; 0 if it does so now.

    `pace`: t-statistic per square root of a day that is expected of further days. The statistic of n days plus m
    further ones is (t sqrt(n) + pace m) / sqrt(n + m), so the root of a quadratic equation is returned; infinite if
    none is.
    """
    if p >= 1.0:
        return 0.0
    needed = -float(ndtri(p))
    if days and t >= needed:
        return 0.0
    if pace <= 0:
        return math.inf
    constant = t * math.sqrt(days) - pace * days
    discriminant = needed**2 - 4.0 * pace * constant
    if discriminant < 0:  # it is reached by any number of days
        return 0.0
    root = (needed + math.sqrt(discriminant)) / (2.0 * pace)
    return max(0.0, root**2 - days) if root > 0 else 0.0
