"""Search ranges: as written, those of another strategy, widened on a retry, or narrowed around a winner."""

import math
from collections.abc import Mapping
from enum import StrEnum

from optimizer.level.spec import Bounds, Level
from optimizer.strategies.protocol import CategoricalParameter, FloatParameter, Parameter, Strategy, check_names, load


class RangeEnd(StrEnum):
    """Ends of a range."""

    LOWER = "lower"
    UPPER = "upper"
    BOTH = "both"


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


def widened(level: Level, ends: Mapping[str, RangeEnd]) -> dict[str, Bounds]:
    """Return the ranges of the next retry: those of `ends` wider at that end, within the strategy's hard bounds.

    At both ends, a range becomes `retry.range_factor` times as wide with the same centre; one end alone moves as far as
    it does then. No end moves inwards.
    """
    by_name, factor = _parameters(level), level.retry.range_factor
    return {
        name: _widen(by_name[name], bounds, ends[name], factor) if name in ends else bounds
        for name, bounds in level.ranges.items()
    }


def widest(level: Level) -> dict[str, Bounds]:
    """Return ranges that contain those of every attempt; they set the warm-up, so all attempts have the same bars.

    They are the ranges after all retries if each widens every range at both ends.
    """
    if level.reachable:
        return level.reachable
    for _ in range(level.retries):
        level = level.model_copy(update={"ranges": widened(level, every_end(level))})
    return level.ranges


def every_end(level: Level) -> dict[str, RangeEnd]:
    """Return both ends of every range."""
    return dict.fromkeys(level.ranges, RangeEnd.BOTH)


def at_the_edge(level: Level, values: Mapping[str, float]) -> dict[str, RangeEnd]:
    """Return the end of its range at which each value lies; a better value may lie beyond.

    Values that lie at no end, and unordered choices, are left out.
    """
    by_name = _parameters(level)
    found = {
        name: _end(bounds, values[name], level.retry.edge)
        for name, bounds in level.ranges.items()
        if name in values and not isinstance(by_name[name], CategoricalParameter)
    }
    return {name: end for name, end in found.items() if end}


def around(level: Level, centre: Mapping[str, float]) -> dict[str, Bounds]:
    """Return a part of each range to either side of a point, or the full range if the point has no value."""
    by_name = _parameters(level)
    return {
        name: _near(by_name[name], bounds, centre[name], level.inherit.reach) if name in centre else bounds
        for name, bounds in level.ranges.items()
    }


def _parameters(level: Level) -> dict[str, Parameter]:
    strategy = load(level.strategy)
    check_names(strategy, level.ranges)
    return {parameter.name: parameter for parameter in strategy.parameters}


def _end(bounds: Bounds, value: float, edge: float) -> RangeEnd | None:
    low, high = bounds
    if low == high:
        return None
    near = edge * (high - low)
    if value - low <= near:
        return RangeEnd.LOWER
    return RangeEnd.UPPER if high - value <= near else None


def _widen(parameter: Parameter, bounds: Bounds, end: RangeEnd, factor: float) -> Bounds:
    low, high = bounds
    more = (high - low) * (factor - 1) / 2
    wider = _outward(parameter, max(low - more, parameter.low), min(high + more, parameter.high))
    return low if end is RangeEnd.UPPER else wider[0], high if end is RangeEnd.LOWER else wider[1]


def _near(parameter: Parameter, bounds: Bounds, value: float, share: float) -> Bounds:
    low, high = bounds
    value, reach = min(max(value, low), high), share * (high - low)
    return _outward(parameter, max(low, value - reach), min(high, value + reach))


def _outward(parameter: Parameter, low: float, high: float) -> Bounds:
    if isinstance(parameter, FloatParameter):
        return low, high
    return math.floor(low), math.ceil(high)
