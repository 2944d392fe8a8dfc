"""Similarity analysis: compares a level's parameters with those of the previous level."""

from collections.abc import Mapping, Sequence

from optuna.trial import FrozenTrial

from optimizer.level.spec import Bounds, Level
from optimizer.strategies.protocol import load
from optimizer.validation.selection import ranked

DECILE = 0.1
LEAST = 2
"""Minimum number of trials in the best tenth."""


def similarity(
    level: Level,
    winner: Mapping[str, float],
    trials: Sequence[FrozenTrial],
    earlier: Level,
    earlier_winner: Mapping[str, float],
    earlier_trials: Sequence[FrozenTrial],
) -> dict[str, object]:
    """Return by parameter both winners' values, their distance, and the overlap of both searches' best tenths.

    The distance is a fraction of the range that the levels searched. The overlap is the intersection over the union of
    the two ranges of the best tenth, 1 if both are the same single value.
    """
    names = [
        each.name for each in load(level.strategy).parameters if each.name in winner and each.name in earlier_winner
    ]
    searched = [name for name in names if _width(level, earlier, name) > 0]
    best, earlier_best = _decile(trials), _decile(earlier_trials)
    rows = {
        name: _row(
            winner[name],
            earlier_winner[name],
            _width(level, earlier, name),
            _range(best, name),
            _range(earlier_best, name),
        )
        for name in searched
    }
    distances = [float(str(row["distance"])) for row in rows.values()]
    return {
        "level": level.name,
        "compared_with": earlier.name,
        "trials_in_best_tenth": {level.name: len(best), earlier.name: len(earlier_best)},
        "parameters": rows,
        "mean_distance": sum(distances) / len(distances) if distances else None,
        "widest_apart": max(rows, key=lambda name: float(str(rows[name]["distance"])), default=None),
    }


def _row(
    value: float, earlier: float, width: float, best: Bounds | None, earlier_best: Bounds | None
) -> dict[str, object]:
    return {
        "value": value,
        "earlier_value": earlier,
        "distance": abs(value - earlier) / width,
        "best_tenth": best,
        "earlier_best_tenth": earlier_best,
        "overlap": overlap(best, earlier_best) if best and earlier_best else None,
    }


def overlap(one: Bounds, other: Bounds) -> float:
    """Return the intersection over the union of two ranges."""
    shared = min(one[1], other[1]) - max(one[0], other[0])
    covered = max(one[1], other[1]) - min(one[0], other[0])
    if covered == 0:
        return 1.0
    return max(0.0, shared) / covered


def _decile(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    feasible = ranked(trials)
    return feasible[: max(LEAST, round(DECILE * len(feasible)))]


def _range(trials: Sequence[FrozenTrial], name: str) -> Bounds | None:
    values = [trial.params[name] for trial in trials if name in trial.params]
    return (min(values), max(values)) if values else None


def _width(level: Level, earlier: Level, name: str) -> float:
    """Return the width of both levels' ranges together; zero if neither searches the parameter."""
    found = [each.ranges[name] for each in (level, earlier) if name in each.ranges]
    return max((high for _, high in found), default=0.0) - min((low for low, _ in found), default=0.0)
