"""Holdout log: records each read of validation, test or the holdout period before it happens; append-only.

A run killed between the log entry and the read reads again after it resumes; the entry is not repeated.
"""

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from tradeschool.atomic_files import append_line
from tradeschool.errors import StoreUnwritable

LOG_NAME = "holdout_log.jsonl"
HOLDOUT = "holdout"
"""Part name of the holdout period, which belongs to no level and is opened once at the end of a run."""

Line = dict[str, object]


def log_access(
    folder: Path,
    part: str,
    *,
    level: str | None,
    attempt: int | None,
    trials: Sequence[int],
    now: datetime,
    window: int | None = None,
) -> bool:
    """Append an entry for a part and the trials evaluated on it; return False if it is already logged.

    `window`: the window of a walk-forward whose out-of-sample days are read, and whose search has these trials.

    Raises:
        StoreUnwritable: the entry cannot be written; the part must not be read then.
    """
    what: Line = {"level": level, "attempt": attempt, "part": part, "trials": list(trials)}
    if window is not None:
        what["window"] = window
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


def _parsed(text: str) -> Line | None:
    try:
        line = json.loads(text)
    except json.JSONDecodeError:
        return None
    return line if isinstance(line, dict) else None
