"""The log of every look at candles that the search has not seen: written before the look, never rewritten.

A run that is killed between the two looks again after it goes on: the line is there, and stays the only one.
"""

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from tradeschool.errors import StoreUnwritable
from tradeschool.store.files import append_line

LOG_NAME = "openings.jsonl"
SEALED = "sealed"
"""The part that is no level's: the sealed period, opened once when a run is over."""

Line = dict[str, object]


def log_opening(
    folder: Path, part: str, *, level: str | None, attempt: int | None, trials: Sequence[int], now: datetime
) -> bool:
    """Append that a part was looked at, and with which trials' parameters; False where that was said before.

    Raises:
        StoreUnwritable: where the disk does not take the line; nothing is to be looked at then.
    """
    what: Line = {"level": level, "attempt": attempt, "part": part, "trials": list(trials)}
    if any({name: line.get(name) for name in what} == what for line in read_openings(folder)):
        return False
    append_line(folder / LOG_NAME, json.dumps({"time": now.isoformat(), **what}))
    return True


def read_openings(folder: Path) -> list[Line]:
    """Every whole line of the log, in order; one that a full disk cut off is left out."""
    try:
        text = (folder / LOG_NAME).read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StoreUnwritable(f"cannot read {folder / LOG_NAME}: {error.strerror or error}; fix permissions") from error
    return [line for each in text.splitlines() if (line := _parsed(each)) is not None]


def _parsed(text: str) -> Line | None:
    try:
        line = json.loads(text)
    except json.JSONDecodeError:
        return None
    return line if isinstance(line, dict) else None
