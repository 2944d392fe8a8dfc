"""Search ranges: as written, widened on a retry, or narrowed around a winner."""

import math
from collections.abc import Mapping

from optimizer.level.spec import Bounds, Level
from optimizer.strategies.protocol import FloatParameter, Parameter, check_names, load

WIDENING = 1.5
"""Factor by which a retry multiplies the width of every range, centre unchanged."""
QUARTER = 0.25
"""Share of a range kept to either side of an inherited value."""


def widened(level: Level) -> dict[str, Bounds]:
    """Return the ranges of the next retry: wider, within the strategy's hard bounds."""
    by_name = _parameters(level)
    return {name: _widen(by_name[name], *bounds) for name, bounds in level.ranges.items()}


def widest(level: Level) -> dict[str, Bounds]:
    """Return the ranges after all retries; they set the warm-up, so all attempts are judged over the same bars."""
    for _ in range(level.retries):
        level = level.model_copy(update={"ranges": widened(level)})
    return level.ranges


def around(level: Level, centre: Mapping[str, float]) -> dict[str, Bounds]:
    """Return a quarter of each range to either side of a point, or the full range if the point has no value."""
    by_name = _parameters(level)
    return {
        name: _near(by_name[name], bounds, centre[name]) if name in centre else bounds
        for name, bounds in level.ranges.items()
    }


def _parameters(level: Level) -> dict[str, Parameter]:
    strategy = load(level.strategy)
    check_names(strategy, level.ranges)
    return {parameter.name: parameter for parameter in strategy.parameters}


def _widen(parameter: Parameter, low: float, high: float) -> Bounds:
    more = (high - low) * (WIDENING - 1) / 2
    return _outward(parameter, max(low - more, parameter.low), min(high + more, parameter.high))


def _near(parameter: Parameter, bounds: Bounds, value: float) -> Bounds:
    low, high = bounds
    value, reach = min(max(value, low), high), QUARTER * (high - low)
    return _outward(parameter, max(low, value - reach), min(high, value + reach))


def _outward(parameter: Parameter, low: float, high: float) -> Bounds:
    if isinstance(parameter, FloatParameter):
        return low, high
    return math.floor(low), math.ceil(high)
