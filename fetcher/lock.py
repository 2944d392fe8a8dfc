"""One fetcher a data folder, and one a provider: two would ask twice, and together break its limit."""

import asyncio
import fcntl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import IO

from tradeschool.errors import StoreUnwritable
from tradeschool.private import runtime_folder

LOCK_NAME = ".fetch.lock"
LOCK_RETRY = 0.5  # seconds between two looks at a lock that another fetcher holds


@asynccontextmanager
async def exclusive(path: Path, waiting: Callable[[], None]) -> AsyncIterator[None]:
    """Hold the lock of a file; `waiting` is told when another fetcher has to end first.

    The kernel gives the lock back when its holder ends, however it does.

    Raises:
        StoreUnwritable: if the file or its folder cannot be made or written to.
    """
    with _open(path) as lock:
        if not _is_taken(lock):
            waiting()
            while not _is_taken(lock):  # noqa: ASYNC110  # other processes set no event; a wait in flock has no end
                await asyncio.sleep(LOCK_RETRY)
        yield


def of_folder(root: Path) -> Path:
    """The lock of a data folder."""
    return root / LOCK_NAME


def of_provider(name: str, url: str) -> Path:
    """The lock of a provider at an address, for all of this user's fetchers on this machine.

    Raises:
        StoreUnwritable: if the folder of locks cannot be made.
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
