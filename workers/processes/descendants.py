"""Finds, kills and reaps the processes that a strategy has started in a work horse.

A process whose parent ends becomes the child of the nearest subreaper: the worker. The worker has no other children
than its work horse, so every other child comes from a strategy. Linux only; elsewhere the work horse's process group
is killed, and a process that has left the group survives.
"""

import logging
import os
import signal
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from workers.processes.parent_death import load_prctl

PR_SET_CHILD_SUBREAPER = 36
PATIENCE_SECONDS = 10.0
"""Time limit for killed processes to end; a process that waits for a disk can take longer."""

log = logging.getLogger(__name__)


def adopt_orphans(*, is_on: bool = True) -> None:
    """Make this process a subreaper, so that its orphaned descendants become its children; or undo that."""
    if prctl := load_prctl():
        prctl(PR_SET_CHILD_SUBREAPER, int(is_on))


def children_of(pid: int) -> set[int]:
    """Return the process ids of all children, adopted ones and zombies included."""
    found: set[int] = set()
    with suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208  # names are enough
            with suppress(OSError):
                found |= {int(child) for child in Path(f"/proc/{pid}/task/{thread}/children").read_text().split()}
    return found


def is_stopped(pid: int) -> bool:
    """Return whether a process is stopped, as by SIGSTOP."""
    with suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    return False


def end_orphans(known: Collection[int], mark: bytes) -> None:
    """Kill and reap adopted processes whose environment contains the mark, except the known children.

    Processes that other code of this process has started are not touched: they lack the mark, and zombies of this
    process's own session are left for that code to reap.
    """
    session = os.getsid(0)
    for child in children_of(os.getpid()) - {*known}:
        with suppress(OSError, ValueError):
            state, _, _, of_session, *_ = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
            if state == "Z" and int(of_session) != session:
                os.waitpid(child, os.WNOHANG)
            elif mark in Path(f"/proc/{child}/environ").read_bytes().split(b"\0"):
                os.kill(child, signal.SIGKILL)
                log.warning("orphaned process killed", extra={"action": "leftovers_killed", "processes": 1})


def end_all(pid: int) -> None:
    """Kill and reap a child of this process, its process group, and all other children, adopted ones included."""
    for kill in (os.killpg, os.kill):
        with suppress(ProcessLookupError, PermissionError):
            kill(pid, signal.SIGKILL)
    with suppress(ChildProcessError):
        os.waitpid(pid, 0)
    end_children()


def end_children() -> None:
    """Kill and reap all children of this process, adopted ones included."""
    end, count = time.monotonic() + PATIENCE_SECONDS, 0
    while remaining := children_of(os.getpid()):
        for child in remaining:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(child, signal.SIGKILL)
        count += sum(_is_reaped(child) for child in remaining)
        if time.monotonic() > end:
            log.error(
                "killed processes still running", extra={"action": "processes_not_ended", "pids": sorted(remaining)}
            )
            break
    if count:
        log.warning("orphaned processes killed", extra={"action": "leftovers_killed", "processes": count})


def _is_reaped(child: int) -> bool:
    """Reap a child if it has ended; return whether it was reaped."""
    try:
        ended, _ = os.waitpid(child, os.WNOHANG)
    except ChildProcessError:
        return False
    if not ended:
        time.sleep(0.001)
    return bool(ended)
