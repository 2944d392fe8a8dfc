"""The windows of a walk-forward as JSON: the days of each search, its choice, and what the choice made afterwards."""

from collections.abc import Sequence

from optimizer.bars.preparation import DAY_SECONDS
from optimizer.level.spec import Level
from optimizer.level.walk_forward import last_search, out_of_sample, window_level
from optimizer.runs.run_record import AttemptRow, WindowRow

RULE = (
    "Each window trades the best feasible trial of a search on the days before it; without one it holds cash. A "
    "position is closed at the end of a window and none is open at the start of the next, so no trade straddles a "
    "border. All windows together are validation. The last search reads the whole range; its winner is traded next."
)


def windows_json(level: Level, attempt: AttemptRow) -> dict[str, object]:
    """Return the windows of a judged attempt; `level` as the attempt searched it."""
    split = level.split
    return {
        "level": level.name,
        "attempt": attempt.number,
        "anchored": split.anchored,
        "embargo_days": split.embargo_days,
        "rule": RULE,
        "windows": [_window_json(level, each) for each in attempt.windows],
        "last_search": {
            "trials": window_level(level, last_search(level)).trials,
            "inherited": attempt.inherited_reason,
            "depends_until": attempt.until.isoformat() if attempt.until else None,
        },
    }


def _window_json(level: Level, row: WindowRow) -> dict[str, object]:
    searched = window_level(level, row.number).datasets
    judged = [out_of_sample(level, each, row.number) for each in level.datasets]
    return {
        "window": row.number,
        "datasets": [
            {"dataset": each.dataset, "train": str(each.window), "out_of_sample": str(days)}
            for each, days in zip(searched, judged, strict=True)
        ],
        "first_day": min(days.start for days in judged).date().isoformat(),
        "end": max(days.end for days in judged).date().isoformat(),
        "trials": row.finished,
        "reused": row.reused,
        "inherited": row.inherited_reason,
        "depends_until": row.until.isoformat(),
        "trial": row.trial,
        "parameters": row.parameters,
        "size": row.size if row.trial is not None else None,
        "train": row.train,
        "validation": row.validation,
    }


def windows_by_day(level: Level) -> dict[int, int]:
    """Return the window of each out-of-sample day since 1970; of datasets of different years the earlier window."""
    found: dict[int, int] = {}
    for number in range(1, last_search(level)):
        for dataset in level.datasets:
            days = out_of_sample(level, dataset, number)
            for day in range(days.start_seconds // DAY_SECONDS, days.end_seconds // DAY_SECONDS):
                found.setdefault(day, number)
    return found


def window_starts(days: Sequence[int], windows: Sequence[float | str]) -> list[int]:
    """Return the first day of each window; `windows`: the window of each day, 0 outside of all."""
    first: dict[float | str, int] = {}
    for day, window in zip(days, windows, strict=False):
        if window:
            first.setdefault(window, day)
    return sorted(first.values())
