"""Inheritance: first points of a search around choices of earlier searches, each with eight neighbours."""

import math
from collections.abc import Mapping, Sequence
from hashlib import blake2b

from optimizer.level.spec import Bounds, Level, Parameters
from optimizer.objective.trial_result import rounded
from optimizer.strategies.parameter_ranges import around
from optimizer.strategies.protocol import FloatParameter, Parameter, completed, load

NEIGHBOURS = 8
"""Number of quasi-random points around an inherited winner."""


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
    units = [_units(seed, level.name, number, len(box)) for number in range(1, NEIGHBOURS + 1)]
    neighbours = [
        {name: _grid_value(kinds[name], bounds, unit) for (name, bounds), unit in zip(box.items(), point, strict=True)}
        for point in units
    ]
    return inside, *neighbours


def starting_points(
    level: Level, attempt: int, choices: Sequence[Mapping[str, float] | None], seed: int
) -> tuple[Parameters, ...]:
    """Return the first points of an attempt's search, those around each known choice in order; equal ones count once.

    A retry has none, because it reuses the trials of the first attempt.
    """
    points: list[Parameters] = []
    for choice in choices if attempt == 1 else ():
        if choice is not None:
            points += [point for point in first_points(level, choice, seed) if point not in points]
    return tuple(points)


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
