"""A process that ends with its parent, however that one ends."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

PR_SET_PDEATHSIG = 1
ORPHANED = 3
"""Exit code of a process whose parent was gone before it could ask to die with it."""


def die_with_parent(parent: int, by: signal.Signals) -> None:
    """Ask the kernel for a signal when the parent dies, and end at once where it is dead already."""
    if prctl := load_prctl():
        prctl(PR_SET_PDEATHSIG, int(by))
    if os.getppid() != parent:
        os._exit(ORPHANED)


@cache
def load_prctl() -> Callable[[int, int], int] | None:
    """Linux's call by which a process learns of its parent's death, None where there is none.

    Called once before many forks, it costs them nothing.
    """
    if sys.platform != "linux":
        return None
    call: Any = ctypes.CDLL(None).prctl
    return lambda option, value: int(call(option, value))
