"""P-values: by Monte Carlo, combined, and the number of further days that would change them."""

import math
from collections.abc import Sequence

from scipy.special import chdtrc, chdtri, stdtrit


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


def days_needed(t: float, days: int, p: float) -> float:
    """Return the number of days at which a t-statistic reaches the one-sided `p` if it grows as now.

    A t-statistic of a constant mean grows with the square root of the number of days. Infinite if it is not positive.
    """
    if p >= 1.0:
        return float(days)
    needed = -float(stdtrit(max(days - 2, 1), p))
    if needed <= 0:
        return float(days)
    return days * (needed / t) ** 2 if t > 0 else math.inf
