"""The day log of a forward test: one JSON object per line, only appended to, each line bound to all lines before it.

The first line holds the digest of the rule. Each line holds a digest of itself and the line before, so a changed,
removed or inserted line is noticed. A line that a kill has cut has no line break; it is dropped, and its day recorded
again.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Annotated

from pydantic import AwareDatetime, Field, JsonValue, ValidationError

from optimizer.validation.stored_model import StoredModel
from tradeschool.errors import ForwardTestChanged, StoreUnwritable

DAYS_NAME = "days.jsonl"
DIGITS = 16


class ForwardAction(StrEnum):
    """What the rule of a forward test says after a day."""

    CONTINUE = "paper_trade"
    DEPLOY = "deploy"
    STOP = "stop"


class ForwardDay(StoredModel):
    """One recorded day of a forward test."""

    number: Annotated[int, Field(ge=1)]
    """1 for the first day."""
    day: date
    daily_return: float
    low_return: float
    """Return from the day's start to its lowest equity."""
    equity: float
    """Value at the end of the day; 1 at the start of the first."""
    drawdown: float
    """Largest intrabar drawdown so far."""
    lower: float | None
    """Lower limit of the mean daily return; None while no candidate is rejected."""
    upper: float | None
    e_value: float
    """E-value against a mean of zero or less."""
    action: ForwardAction
    reason: str
    recorded: AwareDatetime


class AcceptedCode(StoredModel):
    """A user's decision to continue a forward test with changed code, after all days were reproduced."""

    time: AwareDatetime
    was: str
    now: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DayLog:
    """The lines of a day log; `append` methods return the log with the new line."""

    path: Path
    rule: str
    """Digest of the rule in the first line; empty before it is written."""
    days: tuple[ForwardDay, ...] = ()
    accepted: tuple[AcceptedCode, ...] = ()
    last: str = ""
    """Digest of the last line."""
    size: int = 0
    """Bytes of all complete lines."""
    lines: int = field(default=0)

    def begin(self, rule: str) -> "DayLog":
        """Write the first line."""
        return replace(self._append({"rule": rule}), rule=rule)

    def append_day(self, day: ForwardDay) -> "DayLog":
        """Append a day durably."""
        return replace(self._append({"day": day.model_dump(mode="json")}), days=(*self.days, day))

    def append_accepted(self, accepted: AcceptedCode) -> "DayLog":
        """Append the acceptance of changed code durably."""
        return replace(
            self._append({"accepted": accepted.model_dump(mode="json")}), accepted=(*self.accepted, accepted)
        )

    def _append(self, content: Mapping[str, JsonValue]) -> "DayLog":
        digest = _digest(self.last, content)
        line = json.dumps({**content, "digest": digest}, separators=(",", ":")).encode() + b"\n"
        _write_at(self.path, self.size, line)
        return replace(self, last=digest, size=self.size + len(line), lines=self.lines + 1)


def read_day_log(folder: Path) -> DayLog:
    """Return the day log of a forward test's folder; empty if it has none yet.

    Raises:
        ForwardTestChanged: a line is not what was written.
        StoreUnwritable: the file cannot be read.
    """
    path = folder / DAYS_NAME
    try:
        whole, _, _ = path.read_bytes().rpartition(b"\n")
    except FileNotFoundError:
        return DayLog(path=path, rule="")
    except OSError as error:
        raise StoreUnwritable(f"cannot read {path}: {error.strerror or error}; check its permissions") from error
    found = DayLog(path=path, rule="")
    for line in whole.split(b"\n") if whole else ():
        found = _with_line(found, line)
    return found


def _with_line(log: DayLog, line: bytes) -> DayLog:
    where = f"{log.path}: line {log.lines + 1}"
    try:
        content = json.loads(line)
        digest = content.pop("digest")
        is_sound = digest == _digest(log.last, content)
        read = replace(log, last=digest, size=log.size + len(line) + 1, lines=log.lines + 1)
        if is_sound and "rule" in content and log.lines == 0:
            return replace(read, rule=content["rule"])
        if is_sound and "day" in content and log.rule:
            return replace(read, days=(*log.days, ForwardDay.model_validate(content["day"])))
        if is_sound and "accepted" in content and log.rule:
            return replace(read, accepted=(*log.accepted, AcceptedCode.model_validate(content["accepted"])))
    except (ValueError, KeyError, TypeError, AttributeError, ValidationError):
        pass
    raise ForwardTestChanged(f"{where} is not what was recorded; the forward test cannot continue; begin another one")


def _digest(before: str, content: Mapping[str, JsonValue]) -> str:
    text = before + json.dumps(content, sort_keys=True, separators=(",", ":"))
    return sha256(text.encode()).hexdigest()[:DIGITS]


def _write_at(path: Path, size: int, line: bytes) -> None:
    """Write a line after the complete ones, in place of one that was cut, and flush it to disk."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            os.ftruncate(descriptor, size)
            os.pwrite(descriptor, line, size)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise StoreUnwritable(
            f"cannot write {path}: {error.strerror or error}; free space or fix permissions"
        ) from error
