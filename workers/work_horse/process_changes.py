"""Changes of a process's state by a strategy that could influence the next batch."""

import gc
import os
import resource
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np

STATUS = ("Umask", "SigBlk", "SigIgn", "SigCgt")
"""Fields of /proc/self/status: they show what native code has set, too."""
LIMITS = tuple(sorted(value for name, value in vars(resource).items() if name.startswith("RLIMIT_")))
HANDLED = tuple(sorted(signal.valid_signals()))


def process_state() -> dict[str, object]:
    """The state of this process that `changes` compares, by its name in messages."""
    return {
        "working folder": _working_folder(),
        "descriptors": _descriptors(),
        "signal handlers": tuple(signal.getsignal(number) for number in HANDLED),
        "signals and umask": _status(),
        "timers": (signal.getitimer(signal.ITIMER_VIRTUAL)[0], signal.getitimer(signal.ITIMER_PROF)[0]),
        "limits": tuple(resource.getrlimit(which) for which in LIMITS),
        "standard streams": (id(sys.stdin), id(sys.stdout), id(sys.stderr)),
        "interpreter": (gc.isenabled(), sys.getrecursionlimit(), sys.gettrace(), sys.getprofile()),
        # Threads that run Python; the pools of native libraries are idle between trials.
        "threads": len(sys._current_frames()),
        "numpy's errors": tuple(sorted(np.geterr().items())),
    }


def changes(before: Mapping[str, object], now: Mapping[str, object]) -> list[str]:
    """The names of all differences. A closed descriptor is a difference, a newly opened one is not."""
    found = [name for name, value in before.items() if name != "descriptors" and now[name] != value]
    had, has = before["descriptors"], now["descriptors"]
    assert isinstance(had, dict)
    assert isinstance(has, dict)
    return [*found, "descriptors"] if any(has.get(number) != what for number, what in had.items()) else found


def _working_folder() -> str:
    with suppress(OSError):
        return str(Path.cwd())
    return ""


def _status() -> tuple[str, ...]:
    with suppress(OSError):
        lines = Path("/proc/self/status").read_text().splitlines()
        return tuple(line for line in lines if line.partition(":")[0] in STATUS)
    return ()


def _descriptors() -> dict[str, str]:
    found = {}
    with suppress(OSError):
        for number in os.listdir("/proc/self/fd"):  # noqa: PTH208  # names are enough
            with suppress(OSError):
                found[number] = os.readlink(f"/proc/self/fd/{number}")  # noqa: PTH115  # as above
    return found
