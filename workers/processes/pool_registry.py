"""The registry of this machine's pools: one locked file per pool, used to find, scale and drain it.

The file holds the number of workers, and the bounds of a pool that follows the queue: `3` or `3 1 8`.
"""

import fcntl
import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tradeschool.errors import StoreUnwritable
from tradeschool.private_folders import make_private
from workers.processes.autoscaling import Autoscaler, Bounds
from workers.processes.heartbeat import BEAT_SECONDS, Activity, read_worker, write_pool
from workers.processes.heartbeat import SUFFIX as HEARTBEAT

SUFFIX = ".pool"
RESCALE = signal.SIGUSR1
"""The signal that makes a pool read the number of workers from its entry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredPool:
    """A running pool."""

    pid: int
    count: int
    """Planned workers."""
    path: Path
    bounds: Bounds | None = None
    """Of a pool that follows the queue."""

    @property
    def files(self) -> Path:
        """The path of its files without their suffix."""
        return self.path.with_suffix("")


@contextmanager
def registered(folder: Path, count: int, bounds: Bounds | None = None) -> Iterator[Path]:
    """Register this process until the block ends; a killed process loses its lock.

    Raises:
        StoreUnwritable: The entry cannot be written.
    """
    path = folder / f"{os.getpid()}{SUFFIX}"
    try:
        make_private(folder.parent)
        folder.mkdir(exist_ok=True)
        _remove(path)
        file = path.open("w")
    except OSError as error:
        raise StoreUnwritable(f"cannot write {path}: {error.strerror}; set state_dir to a writable folder") from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(_written(count, bounds))
        file.flush()
        try:
            yield path
        finally:
            _remove(path)


def pools(folder: Path) -> list[RegisteredPool]:
    """The running pools by process id; entries of killed ones are removed."""
    found = [_read(path) for path in sorted(folder.glob(f"*{SUFFIX}"))]
    return sorted((entry for entry in found if entry), key=lambda entry: entry.pid)


def wanted(path: Path) -> int | None:
    """The number of workers in an entry; None if it is invalid."""
    with suppress(OSError, ValueError, IndexError):
        return int(path.read_text().split()[0])
    return None


class PoolControl:
    """What tells a running pool its number of workers, and where it writes its heartbeat.

    Without an entry in the registry, neither exists. With an autoscaler, the number follows the queue.
    """

    def __init__(self, entry: Path | None = None, autoscaler: Autoscaler | None = None) -> None:
        self._entry, self._autoscaler, self._next = entry, autoscaler, 0.0

    @property
    def files(self) -> Path | None:
        """The path of the pool's files without their suffix."""
        return self._entry.with_suffix("") if self._entry else None

    def wanted(self, running: Mapping[int, float], count: int, *, is_rescaled: bool) -> int:
        """The number of workers of a pool that plans `count`, of which `running` are processes with start times."""
        if self._autoscaler is None:
            return (wanted(self._entry) or count) if self._entry and is_rescaled else count
        found = self._autoscaler.wanted(count, len(self.busy(running)))
        if found != count and self._entry:
            with suppress(OSError):
                _rewrite(self._entry, _written(found, self._autoscaler.bounds))
        return found

    def busy(self, running: Mapping[int, float]) -> frozenset[int]:
        """The processes that evaluate a job, by their heartbeats."""
        beats = {pid: read_worker(self.files, pid) for pid in running} if self.files else {}
        return frozenset(pid for pid, beat in beats.items() if beat and beat.activity is Activity.BUSY)

    def beat(self, running: Mapping[int, float]) -> None:
        """Write the heartbeat of the pool every few seconds."""
        if self.files and time.monotonic() >= self._next:
            self._next = time.monotonic() + BEAT_SECONDS
            write_pool(self.files, running)


def scale(entry: RegisteredPool, count: int) -> None:
    """Set the number of workers of a pool; surplus ones end after their trial."""
    _rewrite(entry.path, _written(count, entry.bounds))
    os.kill(entry.pid, RESCALE)


def drain(entry: RegisteredPool) -> None:
    """End a pool after its running trials."""
    os.kill(entry.pid, signal.SIGTERM)


def _read(path: Path) -> RegisteredPool | None:
    with suppress(OSError, ValueError), path.open("r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return RegisteredPool(pid=int(path.stem), count=wanted(path) or 0, path=path, bounds=_bounds(path))
        _remove(path)
    return None


def _written(count: int, bounds: Bounds | None) -> str:
    return f"{count} {bounds.least} {bounds.most}\n" if bounds else f"{count}\n"


def _rewrite(path: Path, text: str) -> None:
    with path.open("r+") as file:  # in place: a new file would not have the lock
        file.write(text)
        file.truncate()


def _bounds(path: Path) -> Bounds | None:
    _, *bounds = path.read_text().split()
    return Bounds(least=int(bounds[0]), most=int(bounds[1])) if len(bounds) == 2 else None


def _remove(path: Path) -> None:
    """Remove an entry and the heartbeats of its pool."""
    for each in (path, *path.parent.glob(f"{path.stem}.*{HEARTBEAT}")):
        each.unlink(missing_ok=True)
