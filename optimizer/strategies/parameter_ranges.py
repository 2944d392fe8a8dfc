"""Search ranges: as written, those of another strategy, widened on a retry, or narrowed around a winner."""

import math
from collections.abc import Mapping

from optimizer.level.spec import Bounds, Level
from optimizer.strategies.protocol import FloatParameter, Parameter, Strategy, check_names, load

WIDENING = 1.5
"""Factor by which a retry multiplies the width of every range, centre unchanged."""
QUARTER = 0.25
"""Share of a range kept to either side of an inherited value."""


def with_strategy(level: Level, name: str) -> Level:
    """Return the level with another strategy; unchanged if it is the level's own.

    The strategy's own search ranges replace those of the level, except the ranges of optional rules, such as filters:
    a rule that is off by default in both strategies keeps the range that the level gives it.

    Raises:
        SettingsError: there is no such strategy.
        StrategyNotImported: its module raises.
    """
    if name == level.strategy:
        return level
    strategy, kept = load(name), kept_ranges(level, name)
    searched = {each.name: each.search or (each.low, each.high) for each in strategy.parameters if not each.fixed}
    ranges = {each.name: (searched | kept)[each.name] for each in strategy.parameters if each.name in searched | kept}
    return level.model_copy(update={"strategy": name, "ranges": ranges})


def kept_ranges(level: Level, name: str) -> dict[str, Bounds]:
    """Return the ranges of a level that stay with another strategy: those of rules that are optional in both."""
    optional = _optional(load(level.strategy)) & _optional(load(name))
    return {rule: bounds for rule, bounds in level.ranges.items() if rule in optional}


def _optional(strategy: Strategy) -> set[str]:
    return {parameter.name for parameter in strategy.parameters if parameter.fixed}


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
