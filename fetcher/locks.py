"""Locks: one fetcher per data folder and one per provider, so that together they keep its rate limit."""

import asyncio
import fcntl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import IO

from tradeschool.errors import StoreUnwritable
from tradeschool.private_folders import runtime_folder

LOCK_NAME = ".fetch.lock"
LOCK_RETRY = 0.5  # seconds between two attempts to take a held lock


@asynccontextmanager
async def exclusive(path: Path, waiting: Callable[[], None]) -> AsyncIterator[None]:
    """Hold a file lock for the block; calls `waiting` once if another fetcher holds it.

    The kernel releases the lock when the holding process ends in any way.

    Raises:
        StoreUnwritable: if the file or its folder cannot be created or written.
    """
    with _open(path) as lock:
        if not _is_taken(lock):
            waiting()
            while not _is_taken(lock):  # noqa: ASYNC110  # flock has no time-out; other processes set no event
                await asyncio.sleep(LOCK_RETRY)
        yield


def of_folder(root: Path) -> Path:
    """Return the lock file of a data folder."""
    return root / LOCK_NAME


def of_provider(name: str, url: str) -> Path:
    """Return the lock file of a provider at a URL, for all fetchers of this user on this machine.

    Raises:
        StoreUnwritable: if the folder of the locks cannot be created.
    """
    digest = sha256(url.encode()).hexdigest()[:16]
    return runtime_folder() / "fetch" / f"{name}-{digest}.lock"


def _open(path: Path) -> IO[str]:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path.open("w")
    except OSError as error:
        raise StoreUnwritable(
            f"cannot write in {path.parent}: {error.strerror}; fix permissions or set data_dir"
        ) from error


def _is_taken(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
