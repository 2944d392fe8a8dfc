"""Pareto front of a search with several objectives, and the rule that orders its trials.

The front holds the feasible complete trials that no other such trial dominates: better in one objective and not worse
in any. Each objective is scaled to 0..1 over the front; trials are ordered by the Euclidean distance from the point that
is best in every objective, nearest first, and by number if equal.
"""

import math
from collections.abc import Sequence

from optuna.trial import FrozenTrial, TrialState

Point = Sequence[float]


def dominates(one: Point, other: Point) -> bool:
    """Return whether a point is better than another in one objective and not worse in any; all are maximised."""
    pairs = list(zip(one, other, strict=True))
    return all(a >= b for a, b in pairs) and any(a > b for a, b in pairs)


def front_of(points: Sequence[Point]) -> list[int]:
    """Return the indices of the points that no other dominates, in order."""
    return [
        place for place, point in enumerate(points) if not any(dominates(other, point) for other in points)
    ]


def by_distance(points: Sequence[Point]) -> list[int]:
    """Return the indices of the points, nearest to the best value of every objective first; the earlier of equals."""
    if not points:
        return []
    lows, highs = [min(axis) for axis in zip(*points, strict=True)], [max(axis) for axis in zip(*points, strict=True)]

    def distance(point: Point) -> float:
        scaled = (
            (high - value) / (high - low) if high > low else 0.0
            for value, low, high in zip(point, lows, highs, strict=True)
        )
        return math.fsum(each * each for each in scaled)

    return sorted(range(len(points)), key=lambda place: (distance(points[place]), place))


def pareto_front(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the trials of the Pareto front, in the order of the rule; of trials with equal parameters the earliest."""
    feasible = [trial for trial in trials if trial.state is TrialState.COMPLETE and trial.values and is_feasible(trial)]
    distinct = {tuple(sorted(trial.params.items())): trial for trial in reversed(feasible)}
    earliest = sorted(distinct.values(), key=lambda trial: trial.number)
    front = [earliest[place] for place in front_of([trial.values for trial in earliest])]
    return [front[place] for place in by_distance([trial.values for trial in front])]


def is_feasible(trial: FrozenTrial) -> bool:
    """Return whether the trial meets all constraints."""
    return all(value <= 0 for value in trial.constraints.values())
