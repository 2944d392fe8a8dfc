"""The guard of a worker without a pool: a parent that ends what a strategy has started, even if the worker is killed.

A pool does the same for its workers. The guard is the subreaper of everything that descends from the worker.
"""

import os
import signal
from contextlib import suppress
from types import FrameType

from workers.processes.descendants import adopt_orphans, end_children
from workers.processes.parent_death import die_with_parent

PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def continue_guarded() -> None:
    """Fork, and return in the child only, which is the worker; this process ends with the worker's exit code.

    To be called before any thread has started. The worker has a process group of its own, so that Ctrl-C reaches it
    once. SIGKILL for this process is SIGTERM for the worker.
    """
    adopt_orphans()
    guard = os.getpid()
    signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)  # until both know what to do with them
    worker = os.fork()
    if worker == 0:
        os.setpgrp()
        die_with_parent(guard, signal.SIGTERM)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED_ON)
        return
    os._exit(_guard(worker))


def _guard(worker: int) -> int:
    """Pass signals on until the worker ends, then end what it has left; its exit code, as a shell gives it."""

    def pass_on(number: int, frame: FrameType | None) -> None:
        with suppress(ProcessLookupError):
            os.kill(worker, number)

    for number in PASSED_ON:
        signal.signal(number, pass_on)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED_ON)
    code = _exit_code(worker)
    for number in PASSED_ON:
        signal.signal(number, signal.SIG_IGN)
    end_children()
    return code


def _exit_code(worker: int) -> int:
    """Reap every child until the worker has ended; the others are adopted orphans."""
    while True:
        ended, status = os.wait()
        if ended == worker:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
