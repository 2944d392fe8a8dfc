"""The pools of this machine, each known by a file that it keeps locked: how others find, scale and drain them."""

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
"""Has a pool look at how many workers its entry asks for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredPool:
    """A pool that is alive."""

    pid: int
    count: int
    """Workers that it keeps."""
    path: Path


@contextmanager
def registered(folder: Path, count: int) -> Iterator[Path]:
    """This process' own entry for as long as the block lasts; the kernel frees that of a killed one.

    Raises:
        StoreUnwritable: where the folder does not take it.
    """
    path = folder / f"{os.getpid()}{SUFFIX}"
    try:
        make_private(folder.parent)
        folder.mkdir(exist_ok=True)
        file = path.open("w")
    except OSError as error:
        raise StoreUnwritable(f"cannot write {path}: {error.strerror}; set state_dir to a folder of yours") from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(f"{count}\n")
        file.flush()
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)


def pools(folder: Path) -> list[RegisteredPool]:
    """The pools that are alive, in order of process; what killed ones have left is removed."""
    found = [_read(path) for path in sorted(folder.glob(f"*{SUFFIX}"))]
    return sorted((entry for entry in found if entry), key=lambda entry: entry.pid)


def wanted(path: Path) -> int | None:
    """How many workers an entry asks for; None where it says nothing sensible."""
    with suppress(OSError, ValueError):
        return int(path.read_text())
    return None


def scale(entry: RegisteredPool, count: int) -> None:
    """Have a pool keep so many workers; those that are too many end their trial first."""
    with entry.path.open("r+") as file:  # in place: the lock belongs to this very file
        file.write(f"{count}\n")
        file.truncate()
    os.kill(entry.pid, RESCALE)


def drain(entry: RegisteredPool) -> None:
    """Have a pool end when its running trials have."""
    os.kill(entry.pid, signal.SIGTERM)


def _read(path: Path) -> RegisteredPool | None:
    with suppress(OSError, ValueError), path.open("r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return RegisteredPool(pid=int(path.stem), count=wanted(path) or 0, path=path)
        path.unlink(missing_ok=True)
    return None
