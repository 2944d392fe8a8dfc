"""One fetcher a data folder: two would ask for the same pages, and together break the rate limit."""

import asyncio
import fcntl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

from tradeschool.errors import StoreUnwritable

LOCK_NAME = ".fetch.lock"
LOCK_RETRY = 0.5  # seconds between two looks at a lock that another fetcher holds


@asynccontextmanager
async def exclusive(root: Path, waiting: Callable[[], None]) -> AsyncIterator[None]:
    """Be the only fetcher of a data folder; `waiting` is told when another one has to end first.

    Raises:
        StoreUnwritable: where the folder cannot be made or written to.
    """
    with _lock_file(root) as lock:
        if not _is_taken(lock):
            waiting()
            while not _is_taken(lock):  # noqa: ASYNC110  # other processes set no event; a wait in flock has no end
                await asyncio.sleep(LOCK_RETRY)
        yield


def _lock_file(root: Path) -> IO[str]:
    try:
        root.mkdir(parents=True, exist_ok=True)
        return (root / LOCK_NAME).open("w")
    except OSError as error:
        raise StoreUnwritable(f"cannot write in {root}: {error.strerror}; fix permissions or set data_dir") from error


def _is_taken(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
