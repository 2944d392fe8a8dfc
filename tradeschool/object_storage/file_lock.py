"""File locks of one machine; the kernel releases a lock when its process ends in any way."""

import fcntl
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tradeschool.errors import StoreUnwritable
from tradeschool.object_storage.waiting import NOTICE_SECONDS, still_waiting

RETRY_SECONDS = 0.05

log = logging.getLogger(__name__)


@contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Hold a lock file for the block; a line tells every few seconds that another process holds it.

    Raises:
        StoreUnwritable: if the file cannot be created.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreUnwritable(f"cannot write {path}: {error.strerror}; fix permissions or free space") from error
    try:
        _wait(descriptor, what)
        yield
    finally:
        os.close(descriptor)


def _wait(descriptor: int, what: str) -> None:
    waited, told, beaten = 0.0, 0.0, 0.0
    while not is_taken(descriptor, fcntl.LOCK_EX):
        time.sleep(RETRY_SECONDS)
        waited += RETRY_SECONDS
        if waited - beaten >= 1.0:
            beaten = waited
            still_waiting()
        if waited - told >= NOTICE_SECONDS:
            told = waited
            log.warning("another process of this machine is %s; waiting for it", what, extra={"action": "lock_awaited"})


def is_taken(descriptor: int, kind: int) -> bool:
    """Take a lock, LOCK_EX or LOCK_SH, without waiting; return whether it was free."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
