"""The event log of a run, `results/<run>/events.jsonl`: one JSON object per line, only appended to.

The page's timeline and the notifications read it. A full disk loses events with a warning, and does not stop a
search.
"""

import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import JsonValue

NAME = "events.jsonl"
MAX_BYTES = 8_192
"""Limit of a line; longer texts are cut."""
MAX_READ_BYTES = 512 * 1024
"""Bytes that are read from the end of the file."""
MAX_TEXT = 512

SENTENCES: Mapping[str, str] = {
    "run_started": "run {run} started, seed {seed}",
    "run_resumed": "run {run} resumed",
    "run_finished": "run {run} finished: {reason}",
    "run_interrupted": "run {run} interrupted: {reason}",
    "dataset_sealed": "{dataset} {window} is sealed",
    "download_failed": "{dataset} {window} is left unsealed: {reason}",
    "fetcher_lost": "no heartbeat of the fetcher for {seconds} s; to continue: tradeschool fetch",
    "retry_planned": "level {level}, attempt {attempt}: {reason}",
    "level_started": "level {level}, attempt {attempt} started: {trials} trials",
    "window_searched": "level {level}, attempt {attempt}, window {window}: {said}",
    "level_passed": "level {level}, attempt {attempt}: trial {trial} passed the gate",
    "level_failed": "level {level}, attempt {attempt}: the gate failed: {reason}",
    "level_escalated": "level {level} is escalated after attempt {attempt}: {reason}",
    "level_waiting": "level {level} waits: {reason}",
    "null_test_measured": "{said}",
    "surrogate_given_up": "surrogate market {surrogate} of the null test is given up: {reason}",
    "database_older": "the database of level {level} is older than the queue: {stored} trials instead of {committed}",
    "trial_given_up": "trial {trial} of level {level} is given up: {reason}",
    "worker_lost": "worker {worker} on {host} is lost; its trial goes to another worker",
    "search_stalled": "the search is stalled: {reason}",
    "search_resumed": "the search continues after {seconds} s",
    "provider_paused": "{provider} asks for a pause of {seconds} s",
    "provider_banned": "{provider} refuses requests: {reason}",
    "recommendation": "recommendation: {action}: {reason}",
    "forward_started": "forward test {name} of {run} started from {start}",
    "forward_decided": "forward test {name} of {run}: {action} after {day}: {reason}",
    "jobs_requeued": "{jobs} failed jobs requeued",
}
"""The sentence of each known event with its facts; other events are shown by name."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event of a run."""

    time: datetime
    name: str
    """Such as `level_passed`."""
    facts: Mapping[str, JsonValue]

    @property
    def sentence(self) -> str:
        """The event in a sentence."""
        template = SENTENCES.get(self.name)
        if template is None:
            facts = ", ".join(f"{name} {value}" for name, value in self.facts.items())
            return f"{self.name.replace('_', ' ')}{': ' if facts else ''}{facts}"
        return template.format_map(_KnownFields(self.facts))

    def to_json(self) -> dict[str, JsonValue]:
        """As JSON, with the sentence."""
        return {
            "time": self.time.isoformat(timespec="milliseconds"),
            "event": self.name,
            "sentence": self.sentence,
            **{name: value for name, value in self.facts.items() if name not in {"time", "event", "sentence"}},
        }


def record(folder: Path, event: str, **facts: JsonValue) -> None:
    """Append an event to the log in the run's folder, and log it. Never raises: a full disk is logged."""
    log.info(event.replace("_", " "), extra={"action": event, **facts})
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    line = json.dumps({"time": now, "event": event, **{name: _cut(value) for name, value in facts.items()}})
    if len(line) > MAX_BYTES:
        line = json.dumps({"time": now, "event": event, "cut": True})
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _append(folder / NAME, line.encode() + b"\n")
    except OSError as error:
        log.warning(
            "event not recorded", extra={"action": "event_lost", "event": event, "reason": error.strerror or str(error)}
        )


def read(folder: Path, most: int = 500) -> tuple[Event, ...]:
    """The latest events of a run, oldest first; empty if the file is missing or unreadable."""
    return Follower(folder, most=most).new_events()


class Follower:
    """Reads new events of a run; a call reads at most `MAX_READ_BYTES` from the end of the file."""

    def __init__(self, folder: Path, *, most: int = 500, offset: int = 0) -> None:
        self._path, self._most, self.offset = folder / NAME, most, offset

    def new_events(self) -> tuple[Event, ...]:
        """The events since the last call, oldest first."""
        try:
            with self._path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                start = 0 if size < self.offset else self.offset
                begin = max(start, size - MAX_READ_BYTES)
                file.seek(begin)
                piece = file.read(MAX_READ_BYTES)
        except OSError:
            return ()
        whole, _, rest = piece.rpartition(b"\n")
        self.offset = begin + len(piece) - len(rest)
        return tuple(_parsed(whole.split(b"\n")))[-self._most :]


class _KnownFields(dict[str, JsonValue]):
    """The facts of a sentence; a missing one is shown as a question mark."""

    def __missing__(self, key: str) -> JsonValue:
        return "?"


def _append(path: Path, line: bytes) -> None:
    """Append in one write, which is atomic among processes; starts a new line after one that was cut."""
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        size = os.fstat(descriptor).st_size
        is_cut = size and os.pread(descriptor, 1, size - 1) != b"\n"
        os.write(descriptor, b"\n" + line if is_cut else line)
    finally:
        os.close(descriptor)


def _parsed(lines: Iterable[bytes]) -> Iterator[Event]:
    for line in lines:
        try:
            found = json.loads(line)
            time = datetime.fromisoformat(found.pop("time")).astimezone(UTC)
            yield Event(time=time, name=str(found.pop("event")), facts=found)
        except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
            continue  # cut by a kill, or not ours


def _cut(value: JsonValue) -> JsonValue:
    return value[:MAX_TEXT] if isinstance(value, str) else value
