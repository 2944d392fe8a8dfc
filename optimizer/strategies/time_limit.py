"""Bounds what a call of a strategy's code does: its time, where the process asks for that, and its forks.

The kernel's timer ends the process, so that a loop in native code ends, too. A work horse does not ask for it: its
worker measures the whole trial.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

_seconds: float | None = None


def bound_each_call(seconds: float | None) -> None:
    """End this process, by SIGALRM, where a later call of a strategy takes longer; None for never. Main thread only."""
    global _seconds
    _seconds = seconds
    if seconds is not None:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)


def seconds_of_a_call() -> float | None:
    """What this process has asked for."""
    return _seconds


@contextmanager
def bounded() -> Iterator[None]:
    """One call of a strategy: a whole backtest, or a shorter one; calls do not lie in one another.

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
