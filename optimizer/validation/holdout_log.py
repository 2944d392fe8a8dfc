"""Holdout log: records each read of validation, test or the holdout period before it happens; append-only.

Each entry names the days that were read, so the number of looks at each day can be counted: every further look makes a
day less of a test.

A run killed between the log entry and the read reads again after it resumes; the entry is not repeated.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import date, datetime
from itertools import pairwise
from pathlib import Path

from pydantic import JsonValue

from optimizer.level.spec import Level, Part
from optimizer.level.walk_forward import out_of_sample
from tradeschool.atomic_files import append_line
from tradeschool.errors import StoreUnwritable
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.windows import Window

LOG_NAME = "holdout_log.jsonl"
HOLDOUT = "holdout"
"""Part name of the holdout period, which belongs to no level and is opened once at the end of a run."""

Line = dict[str, object]
Days = Sequence[tuple[str, date, date]]
"""Ranges of days: market, first day and day after the last one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LookedAt:
    """Days of one market that were looked at equally often."""

    market: str
    start: date
    end: date
    """Day after the last one."""
    parts: tuple[str, ...]
    looks: int
    """Entries of the log that read these days."""
    parameter_sets: int
    """Trials evaluated on these days, over all entries."""

    def to_json(self) -> dict[str, JsonValue]:
        """Return the fields for a file."""
        return {**asdict(self), "start": str(self.start), "end": str(self.end), "parts": [*self.parts]}


def log_access(
    folder: Path,
    part: str,
    *,
    level: str | None,
    attempt: int | None,
    trials: Sequence[int],
    now: datetime,
    window: int | None = None,
    days: Days = (),
) -> bool:
    """Append an entry for a part and the trials evaluated on it; return False if it is already logged.

    `window`: the window of a walk-forward whose out-of-sample days are read, and whose search has these trials.
    `days`: the market, first day and day after the last one of each range that is read.

    Raises:
        StoreUnwritable: the entry cannot be written; the part must not be read then.
    """
    what: Line = {"level": level, "attempt": attempt, "part": part, "trials": list(trials)}
    if window is not None:
        what["window"] = window
    if days:
        what["days"] = [[market, start.isoformat(), end.isoformat()] for market, start, end in dict.fromkeys(days)]
    if any({name: line.get(name) for name in what} == what for line in read_holdout_log(folder)):
        return False
    append_line(folder / LOG_NAME, json.dumps({"time": now.isoformat(), **what}))
    return True


def read_holdout_log(folder: Path) -> list[Line]:
    """Return all complete log entries in order; skips an entry truncated by a full disk."""
    try:
        text = (folder / LOG_NAME).read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StoreUnwritable(
            f"cannot read {folder / LOG_NAME}: {error.strerror or error}; check its permissions"
        ) from error
    return [line for each in text.splitlines() if (line := _parsed(each)) is not None]


def part_days(level: Level, part: Part) -> Days:
    """Return the days of a part of a level, for `log_access`."""
    return window_days([(each.source, level.window(each, part)) for each in level.datasets])


def out_of_sample_days(level: Level, number: int) -> Days:
    """Return the out-of-sample days of a window of a walk-forward, for `log_access`."""
    return window_days([(each.source, out_of_sample(level, each, number)) for each in level.datasets])


def window_days(windows: Sequence[tuple[Dataset, Window]]) -> Days:
    """Return the days of datasets and windows, for `log_access`."""
    return [(dataset.instrument.full_name, window.start.date(), window.end.date()) for dataset, window in windows]


def holdout_days(level: Level) -> Days:
    """Return the days of a level's holdout period, for `log_access`."""
    period = level.holdout
    return [(each.source.instrument.full_name, period.start, period.end) for each in level.datasets]


def looked_at(lines: Sequence[Mapping[str, object]]) -> list[LookedAt]:
    """Count the looks at each day of each market; adjacent days with the same entries are one range."""
    reads: dict[str, list[tuple[date, date, int]]] = {}
    for number, line in enumerate(lines):
        for market, start, end in _days_of(line):
            reads.setdefault(market, []).append((start, end, number))
    found = []
    for market, ranges in reads.items():
        borders = sorted({day for start, end, _ in ranges for day in (start, end)})
        for start, end in pairwise(borders):
            numbers = sorted({number for first, after, number in ranges if first <= start and end <= after})
            if numbers:
                found.append(_looked_at(market, start, end, [lines[number] for number in numbers]))
    return found


def _looked_at(market: str, start: date, end: date, lines: Sequence[Mapping[str, object]]) -> LookedAt:
    trials = [line.get("trials") for line in lines]
    return LookedAt(
        market=market,
        start=start,
        end=end,
        parts=tuple(dict.fromkeys(str(line.get("part")) for line in lines)),
        looks=len(lines),
        parameter_sets=sum(len(each) for each in trials if isinstance(each, list)),
    )


def _days_of(line: Mapping[str, object]) -> Iterator[tuple[str, date, date]]:
    """Yield the ranges of an entry; an entry without them was written by an earlier version."""
    ranges = line.get("days")
    for each in ranges if isinstance(ranges, list) else ():
        match each:
            case [str(market), str(start), str(end)]:
                with suppress(ValueError):
                    yield market, date.fromisoformat(start), date.fromisoformat(end)


def _parsed(text: str) -> Line | None:
    try:
        line = json.loads(text)
    except json.JSONDecodeError:
        return None
    return line if isinstance(line, dict) else None
