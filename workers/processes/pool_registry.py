"""The registry of this machine's pools: one locked file per pool, used to find, scale and drain it."""

import fcntl
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tradeschool.errors import StoreUnwritable
from tradeschool.private_folders import make_private

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


@contextmanager
def registered(folder: Path, count: int) -> Iterator[Path]:
    """Register this process until the block ends; a killed process loses its lock.

    Raises:
        StoreUnwritable: The entry cannot be written.
    """
    path = folder / f"{os.getpid()}{SUFFIX}"
    try:
        make_private(folder.parent)
        folder.mkdir(exist_ok=True)
        file = path.open("w")
    except OSError as error:
        raise StoreUnwritable(f"cannot write {path}: {error.strerror}; set state_dir to a writable folder") from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(f"{count}\n")
        file.flush()
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)


def pools(folder: Path) -> list[RegisteredPool]:
    """The running pools by process id; entries of killed ones are removed."""
    found = [_read(path) for path in sorted(folder.glob(f"*{SUFFIX}"))]
    return sorted((entry for entry in found if entry), key=lambda entry: entry.pid)


def wanted(path: Path) -> int | None:
    """The number of workers in an entry; None if it is invalid."""
    with suppress(OSError, ValueError):
        return int(path.read_text())
    return None


def scale(entry: RegisteredPool, count: int) -> None:
    """Set the number of workers of a pool; surplus ones end after their trial."""
    with entry.path.open("r+") as file:  # in place: a new file would not have the lock
        file.write(f"{count}\n")
        file.truncate()
    os.kill(entry.pid, RESCALE)


def drain(entry: RegisteredPool) -> None:
    """End a pool after its running trials."""
    os.kill(entry.pid, signal.SIGTERM)


def _read(path: Path) -> RegisteredPool | None:
    with suppress(OSError, ValueError), path.open("r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return RegisteredPool(pid=int(path.stem), count=wanted(path) or 0, path=path)
        path.unlink(missing_ok=True)
    return None
