"""Limits for calls of a strategy's code: an optional time limit, and no forked process that survives the call.

The kernel's timer ends the process, so the limit also stops a loop in native code. A work horse sets no limit: its
worker limits the time of the whole trial.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

IMPORT_FACTOR = 2
"""Factor of the processor time of an import that it may take in all: it shares the machine, and reads from disks."""

_seconds: float | None = None


def bound_each_call(seconds: float | None) -> None:
    """Set the time limit of later calls; SIGALRM ends the process after it. None disables it. Main thread only."""
    global _seconds
    _seconds = seconds
    if seconds is not None:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)


def seconds_of_a_call() -> float | None:
    """Return the time limit of this process; None if there is none."""
    return _seconds


@contextmanager
def bounded() -> Iterator[None]:
    """Apply the limits to one call of a strategy, such as a backtest. Calls cannot be nested.

    A process that the call has forked ends here. If it returned, each call would double the number of processes.
    """
    process = os.getpid()
    if _seconds is not None:
        signal.setitimer(signal.ITIMER_REAL, _seconds)
    try:
        yield
    finally:
        if os.getpid() != process:
            os._exit(0)
        if _seconds is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)


@contextmanager
def processor_time(seconds: float) -> Iterator[None]:
    """Limit the processor time of a block, such as an import; SIGPROF ends the process after it. Main thread only."""
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
