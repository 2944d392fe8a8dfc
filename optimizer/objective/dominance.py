"""Pareto dominance between points, and the rule that orders the points of a front.

The front holds the feasible complete trials that no other such trial dominates: better in one objective and not worse
in any. Each objective is scaled to 0..1 over the front. Trials are ordered by the Euclidean distance from the point
that is best in every objective, nearest first, and by number if equal.
"""

import math
from collections.abc import Sequence

FRONT_RULE = (
    "trials of the Pareto front on train, nearest to the best value of every objective first, each objective scaled to "
    "0..1 over the front; the ten nearest are evaluated on validation, and the same rule selects the winner there"
)
Point = Sequence[float]


def dominates(one: Point, other: Point) -> bool:
    """Return whether a point is better than another in one objective and not worse in any; all are maximised."""
    pairs = list(zip(one, other, strict=True))
    return all(a >= b for a, b in pairs) and any(a > b for a, b in pairs)


def front_of(points: Sequence[Point]) -> list[int]:
    """Return the indices of the points that no other dominates, in order."""
    front: list[int] = []
    for place, point in enumerate(points):
        if not any(dominates(points[other], point) for other in front):
            front = [other for other in front if not dominates(point, points[other])] + [place]
    return front


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
