"""Ends a process together with its parent, even if the parent is killed."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

PR_SET_PDEATHSIG = 1
ORPHANED = 3
"""Exit code of a process whose parent had ended before `die_with_parent`."""


def die_with_parent(parent: int, by: signal.Signals) -> None:
    """Have the kernel send a signal when the parent ends; exit at once if it has ended."""
    if prctl := load_prctl():
        prctl(PR_SET_PDEATHSIG, int(by))
    if os.getppid() != parent:
        os._exit(ORPHANED)


@cache
def load_prctl() -> Callable[[int, int], int] | None:
    """Linux's prctl; None on other systems.

    The result is cached, so a call before many forks saves each of them the loading.
    """
    if sys.platform != "linux":
        return None
    call: Any = ctypes.CDLL(None).prctl
    return lambda option, value: int(call(option, value))
