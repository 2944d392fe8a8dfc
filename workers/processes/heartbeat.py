"""Heartbeats on local disk: what each worker of a pool does. Reading them needs no Redis.

A pool and each of its workers write one small file in the folder of the pool registry. Times are those of the
monotonic clock, which all processes of a machine share and no change of the clock affects.
"""

import json
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

VARIABLE = "WORKER_HEARTBEAT"
"""Names, in a worker's environment, the files of its pool without their suffix."""
SUFFIX = ".heartbeat"
BEAT_SECONDS = 2.0
"""Time between two writes while nothing changes."""
LENGTH = 128
"""Bytes of a worker's file: constant, so that a write needs no space on a full disk."""


class Activity(StrEnum):
    """What a worker does."""

    IDLE = "idle"
    BUSY = "busy"
    SUSPENDED = "suspended"
    OUTAGE = "waiting for Redis"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerBeat:
    """The latest heartbeat of a worker."""

    activity: Activity
    time: float
    """Monotonic time in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolBeat:
    """The latest heartbeat of a pool."""

    time: float
    started: Mapping[int, float]
    """Start times of its running workers by process id."""


class Heartbeat:
    """Writes the heartbeat of one worker; without a file, it writes nothing."""

    def __init__(self, path: Path | None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._path, self._clock = path, clock
        self._activity: Activity | None = None
        self._next = 0.0

    def beat(self, activity: Activity) -> None:
        """Record that the worker is alive; writes after `BEAT_SECONDS`, or at once if the activity has changed."""
        now = self._clock()
        if self._path is None or (activity is self._activity and now < self._next):
            return
        self._activity, self._next = activity, now + BEAT_SECONDS
        with suppress(OSError):  # its reader reports a missing heartbeat
            _overwrite(self._path, json.dumps({"activity": activity, "time": now}).ljust(LENGTH))


def own_heartbeat() -> Heartbeat:
    """The heartbeat of this process, which a pool has started; outside of a pool, one that writes nothing."""
    files = os.environ.get(VARIABLE)
    return Heartbeat(worker_path(Path(files), os.getpid()) if files else None)


def worker_path(files: Path, pid: int) -> Path:
    """The file of a worker; `files` is the path of its pool's files without their suffix."""
    return files.with_name(f"{files.name}.{pid}{SUFFIX}")


def write_pool(files: Path, started: Mapping[int, float]) -> None:
    """Record that a pool is alive, and its running workers."""
    with suppress(OSError):
        _overwrite(files.with_name(files.name + SUFFIX), json.dumps({"time": time.monotonic(), "started": started}))


def read_pool(files: Path) -> PoolBeat | None:
    """The heartbeat of a pool; None if there is none."""
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        found = json.loads(files.with_name(files.name + SUFFIX).read_text())
        started = {int(pid): float(when) for pid, when in found["started"].items()}
        return PoolBeat(time=float(found["time"]), started=started)
    return None


def read_worker(files: Path, pid: int) -> WorkerBeat | None:
    """The heartbeat of a worker; None if there is none."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        found = json.loads(worker_path(files, pid).read_text())
        return WorkerBeat(activity=Activity(found["activity"]), time=float(found["time"]))
    return None


def forget_worker(files: Path, pid: int) -> None:
    """Remove the file of an ended worker."""
    with suppress(OSError):
        worker_path(files, pid).unlink(missing_ok=True)


def _overwrite(path: Path, text: str) -> None:
    """Write in place, without a moment in which the file is empty."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        written = os.pwrite(descriptor, text.encode(), 0)
        os.ftruncate(descriptor, written)
    finally:
        os.close(descriptor)
