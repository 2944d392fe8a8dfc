"""Sensitivity analysis: Sharpe ratio of neighbouring parameters, and parameters at the edge of their range."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from optimizer.bars.preparation import Prepared
from optimizer.level.spec import Level, Part
from optimizer.objective.choices import Choice, evaluate_choices
from optimizer.objective.objective import repair
from optimizer.objective.trial_result import finite_or_none
from optimizer.strategies.protocol import CategoricalParameter, FloatParameter, Parameter, load

STEPS = (-0.20, -0.10, -0.05, 0.05, 0.10, 0.20)
"""Relative changes applied to each parameter, the others unchanged."""
EDGE = 0.02
"""Distance from an end of the range, as a share of it, within which a value lies at the edge."""
STABLE = 0.7
"""Minimum share of the winner's Sharpe ratio that the median neighbour retains to count as stable."""


def stability(
    level: Level, prepared: Sequence[Prepared], winner: Mapping[str, float], choices: Sequence[Choice]
) -> dict[str, object]:
    """Return the Sharpe ratios of the winner and its neighbours on validation, and the parameters at the edge.

    `choices`: what trades validation. A neighbour changes the parameter in the choice of every window; the size stays.
    """
    centre = _sharpe(level, prepared, choices)
    moves = _neighbours(level, winner)
    found = [_sharpe(level, prepared, _all_moved(level, choices, name, step)) for name, step, _ in moves]
    rows = [
        {"parameter": name, "step": step, "parameters": moved, "sharpe": finite_or_none(sharpe)}
        for (name, step, moved), sharpe in zip(moves, found, strict=True)
    ]
    median, worst = (float(np.median(found)), min(found)) if found and not np.isnan(found).any() else (math.nan,) * 2
    kept = median / centre if centre > 0 else math.nan
    return {
        "part": Part.VALIDATION,
        "sharpe": finite_or_none(centre),
        "neighbours": rows,
        "median_kept": finite_or_none(kept),
        "worst_kept": finite_or_none(worst / centre if centre > 0 else math.nan),
        "stable": kept >= STABLE,
        "at_the_edge": at_the_edge(level, winner),
    }


def at_the_edge(level: Level, winner: Mapping[str, float]) -> list[str]:
    """Return parameters whose value lies at an end of the searched range; a better value may lie beyond."""
    return [
        name
        for name, (low, high) in level.ranges.items()
        if high > low and min(winner[name] - low, high - winner[name]) <= EDGE * (high - low)
    ]


def _neighbours(level: Level, winner: Mapping[str, float]) -> list[tuple[str, float, dict[str, float]]]:
    """Return each searched parameter changed by each step, within hard bounds; omits results equal to the winner."""
    kinds = {parameter.name: parameter for parameter in load(level.strategy).parameters}
    searched = [
        name
        for name, (low, high) in level.ranges.items()
        if high > low and not isinstance(kinds[name], CategoricalParameter)
    ]
    moved = [(name, step, _with_moved(level, winner, name, step)) for name in searched for step in STEPS]
    return [(name, step, each) for name, step, each in moved if each != dict(winner)]


def _all_moved(level: Level, choices: Sequence[Choice], name: str, step: float) -> list[Choice]:
    return [
        each if each.parameters is None else replace(each, parameters=_with_moved(level, each.parameters, name, step))
        for each in choices
    ]


def _with_moved(level: Level, parameters: Mapping[str, float], name: str, step: float) -> dict[str, float]:
    (kind,) = (each for each in load(level.strategy).parameters if each.name == name)
    return repair(level, {**parameters, name: _moved(kind, parameters[name], step)})


def _moved(parameter: Parameter, value: float, step: float) -> float:
    moved = value * (1 + step)
    if not isinstance(parameter, FloatParameter):
        moved = round(moved)
    return min(max(moved, parameter.low), parameter.high)


def _sharpe(level: Level, prepared: Sequence[Prepared], choices: Sequence[Choice]) -> float:
    return evaluate_choices(level, prepared, choices, Part.VALIDATION).metrics["sharpe"]
