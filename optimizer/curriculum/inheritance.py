"""First points of a search: choices of earlier searches, each with its neighbours, or points without optional rules.

A level with many optional rules, such as filters, has few random points without any of them, and its search would
hardly ever meet the plain strategy. So a search that inherits nothing begins with the plain strategy.
"""

import math
from collections.abc import Mapping, Sequence
from hashlib import blake2b

from optimizer.level.spec import Bounds, Level, Parameters
from optimizer.objective.trial_result import rounded
from optimizer.strategies.parameter_ranges import around
from optimizer.strategies.protocol import FloatParameter, Parameter, completed, load

PLAIN_POINTS = 10
"""First trials without optional rules in a search that inherits nothing: all those that the sampler draws at random."""


def first_points(level: Level, winner: Mapping[str, float], seed: int) -> tuple[Parameters, ...]:
    """Return the parameters of a level's first trials: the winner, clipped to the level's ranges, and its neighbours.

    A parameter that the winner left at its default, such as a disabled filter, starts from its default. Empty if the
    winner's strategy shares no parameter with this one.
    """
    strategy = load(level.strategy)
    if not winner.keys() & level.ranges.keys():
        return ()
    kinds, centre = {parameter.name: parameter for parameter in strategy.parameters}, completed(strategy, winner)
    box = around(level, centre)
    inside = {name: _inside(kinds[name], bounds, centre[name]) for name, bounds in level.ranges.items()}
    units = [_units(seed, level.name, number, len(box)) for number in range(1, level.inherit.neighbours + 1)]
    neighbours = [
        {name: _grid_value(kinds[name], bounds, unit) for (name, bounds), unit in zip(box.items(), point, strict=True)}
        for point in units
    ]
    return inside, *neighbours


def starting_points(
    level: Level, attempt: int, choices: Sequence[Mapping[str, float] | None], seed: int
) -> tuple[Parameters, ...]:
    """Return the first points of an attempt's search, those around each known choice in order; equal ones count once.

    Without a choice, points whose optional rules are off. A retry has none, because it reuses the trials of the first
    attempt.
    """
    if attempt > 1:
        return ()
    points: list[Parameters] = []
    for choice in choices:
        if choice is not None:
            points += [point for point in first_points(level, choice, seed) if point not in points]
    return tuple(points) or plain_points(level)


def plain_points(level: Level) -> tuple[Parameters, ...]:
    """Return points in which every optional rule is off; the sampler draws their other parameters.

    A rule is off at its default. It stays searched if the level's range does not contain that. Empty if no range of the
    level has a rule that can be off.
    """
    off = {
        parameter.name: parameter.default
        for parameter in load(level.strategy).parameters
        if parameter.fixed and _contains(level.ranges.get(parameter.name), parameter.default)
    }
    return (off,) * min(PLAIN_POINTS, level.trials // 2) if off else ()


def _contains(bounds: Bounds | None, value: float) -> bool:
    return bounds is not None and bounds[0] <= value <= bounds[1]


def _units(seed: int, level: str, number: int, dimensions: int) -> list[float]:
    """Return point `number` of an additive recurrence in [0, 1), shifted by the seed; low discrepancy at any length.

    Source: M. Roberts, The Unreasonable Effectiveness of Quasirandom Sequences (2018): the R_d sequence, whose steps
    are powers of the root of x**(d + 1) = x + 1.
    """
    root = 2.0
    for _ in range(60):
        root = (1 + root) ** (1 / (dimensions + 1))
    return [
        (_shift(seed, level, dimension) + number * root ** -(dimension + 1)) % 1.0 for dimension in range(dimensions)
    ]


def _shift(seed: int, level: str, dimension: int) -> float:
    digest = blake2b(f"{seed}:{level}:{dimension}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") / 2**32


def _grid_value(parameter: Parameter, bounds: Bounds, unit: float) -> float:
    low, high = bounds
    if isinstance(parameter, FloatParameter):
        return _inside(parameter, bounds, rounded(low + unit * (high - low)))
    return int(low) + math.floor(unit * (high - low + 1))


def _inside(parameter: Parameter, bounds: Bounds, value: float) -> float:
    value = min(max(value, bounds[0]), bounds[1])
    return value if isinstance(parameter, FloatParameter) else round(value)
