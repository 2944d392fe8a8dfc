"""A check compares one figure of a run with a bound, and says what would change its result."""

import math
from collections.abc import Callable
from enum import StrEnum

from optimizer.validation.stored_model import StoredModel

DAYS_A_MONTH = 365.25 / 12
LONGEST_MONTHS = 120
"""Months beyond which a forecast is only called long."""


class Axis(StrEnum):
    """The question that a check answers part of."""

    MANDATE = "mandate"
    """Whether the result is what the curriculum asks for."""
    EVIDENCE = "evidence"
    """Whether there is skill."""
    BLOCKING = "blocking"
    """Whether something rules out deployment whatever the figures are."""
    DIAGNOSTIC = "diagnostic"
    """A warning; it decides nothing."""


class Check(StoredModel):
    """One check with its result."""

    name: str
    axis: Axis
    met: bool | None
    """None if unknown."""
    found: str
    """Message: the statistic, its value and the required bound."""
    value: float | None = None
    bound: float | None = None
    would_change: str = ""
    """How far a missed check is from its bound, and what would change it; empty if met."""


def at_least(name: str, value: float | None, bound: float, what: str, axis: Axis = Axis.DIAGNOSTIC) -> Check:
    """Return a check of a lower limit; unknown without a value."""
    return _compared(name, value, bound, f"{what}: {{}}, required >= {bound:g}", axis, lambda found: found >= bound)


def above(name: str, value: float | None, bound: float, what: str, axis: Axis = Axis.DIAGNOSTIC) -> Check:
    """Return a check of a lower limit that is itself not enough; unknown without a value."""
    return _compared(name, value, bound, f"{what}: {{}}, required > {bound:g}", axis, lambda found: found > bound)


def at_most(name: str, value: float | None, bound: float, what: str, axis: Axis = Axis.DIAGNOSTIC) -> Check:
    """Return a check of an upper limit; unknown without a value."""
    return _compared(name, value, bound, f"{what}: {{}}, required <= {bound:g}", axis, lambda found: found <= bound)


def months_of(days: float) -> str:
    """Return further days in words, such as `about 7 more months`."""
    months = math.ceil(days / DAYS_A_MONTH) if math.isfinite(days) else LONGEST_MONTHS + 1
    if months > LONGEST_MONTHS:
        return f"more than {LONGEST_MONTHS // 12} more years"
    return f"about {months} more month{'' if months == 1 else 's'}"


def _compared(
    name: str, value: float | None, bound: float, said: str, axis: Axis, is_met: Callable[[float], bool]
) -> Check:
    met = None if value is None else is_met(value)
    return Check(
        name=name,
        axis=axis,
        met=met,
        found=said.format(figure_of(value)),
        value=value,
        bound=bound,
        would_change=f"misses its bound by {figure_of(abs(value - bound))}" if value is not None and not met else "",
    )


def figure_of(value: float | None) -> str:
    """Return a value with three digits."""
    return "unknown" if value is None else f"{value:.3g}"


def known(value: float) -> float | None:
    """Return a value, or None for NaN."""
    return None if math.isnan(value) else value
