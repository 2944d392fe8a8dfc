"""Waiting: a line after a few seconds that says for what, and a function that is called meanwhile.

A worker sets that function to renew its lease.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

NOTICE_SECONDS = 5.0
"""Wait after which a line says what is waited for, and the time between two such lines."""

log = logging.getLogger(__name__)


def _nothing() -> None:
    """Default: there is nothing to renew."""


_during_waits: ContextVar[Callable[[], None]] = ContextVar("during_waits", default=_nothing)


@contextmanager
def during_waits(call: Callable[[], None]) -> Iterator[None]:
    """Have `call` called every second while something is waited for, until the block ends."""
    token = _during_waits.set(call)
    try:
        yield
    finally:
        _during_waits.reset(token)


def still_waiting() -> None:
    """Call the function of `during_waits`; to be called about once a second by code that waits."""
    _during_waits.get()()


@contextmanager
def announced(action: str) -> Iterator[None]:
    """Log a line every few seconds until the block ends, such as `still downloading s3://bucket/objects/ab12`."""
    ended = threading.Event()

    def announce() -> None:
        seconds = 0.0
        while not ended.wait(NOTICE_SECONDS):
            seconds += NOTICE_SECONDS
            log.warning("still %s, %d s so far", action, seconds, extra={"action": "object_storage_awaited"})

    thread = threading.Thread(target=announce, name="object storage notice", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
