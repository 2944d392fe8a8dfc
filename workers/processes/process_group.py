"""A group of processes on this machine that share the null tests and analyses of a run."""

import multiprocessing
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from typing import TypeVar

from optimizer.strategies.time_limit import bound_each_call, seconds_of_a_call
from tradeschool.errors import TradeschoolError
from tradeschool.interpreter import safe_path_for_children
from tradeschool.markets import registry
from workers.processes.descendants import is_stopped
from workers.processes.exit_reason import exit_reason
from workers.processes.parent_death import die_with_parent

Task = TypeVar("Task")
Result = TypeVar("Result")


SERIAL_SECONDS = 1.0
"""Time in which this process works alone: starting others takes as long."""
CODE_SECONDS = 5.0
"""Time limit for all exit codes once one process has ended."""
CHECK_SECONDS = 1.0
"""Time between two checks of the processes."""
STOPPED_CHECKS = 5
"""Consecutive checks that find a process stopped before it is killed."""
MAX_CORES = 16
"""Default limit of processes; each takes a quarter of a gigabyte."""


def cores() -> int:
    """Processor cores that this process may use, at most `MAX_CORES`."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(found, MAX_CORES)


class ProcessGroupEnded(TradeschoolError):
    """A process of a group ended before its work was done."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"a process of the null tests or analyses ended: {reason}: run the same command again")
        self.exit_reason = reason


@contextmanager
def process_group(count: int, serial_seconds: float | None = None) -> Iterator["ProcessGroup"]:
    """A group of `count` processes until the block ends, started once there is enough work for them.

    `serial_seconds`: None is `SERIAL_SECONDS`. They also end with this process, even if it is killed.
    """
    made = ProcessGroup(count, SERIAL_SECONDS if serial_seconds is None else serial_seconds)
    try:
        yield made
    finally:
        made.close()


class ProcessGroup:
    """Shares tasks among processes; made by `process_group`."""

    def __init__(self, count: int, serial_seconds: float) -> None:
        self.count, self._serial_seconds = max(1, count), serial_seconds
        self._pool: ProcessPoolExecutor | None = None
        self._stopped: Counter[int] = Counter()
        """Consecutive checks that found each process stopped."""

    def share(self, work: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
        """Yield the result of `work` for each task, in order; `work` must be a module-level function.

        Raises:
            ProcessGroupEnded: A process was killed.
            Exception: `work` raises it.
        """
        ends, done = time.monotonic() + (0.0 if self._pool else self._serial_seconds), 0
        while done < len(tasks) and (self.count == 1 or time.monotonic() < ends):
            yield work(tasks[done])
            done += 1
        if done < len(tasks):
            yield from self._spread(work, tasks[done:])

    def _spread(self, work: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
        if self._pool is None:
            self._pool = self._begin()
        members: list[BaseProcess] = []
        try:
            with safe_path_for_children():
                futures = [self._pool.submit(work, task) for task in tasks]
                members = multiprocessing.active_children()
            for future in futures:
                yield self._result(future, members)
        except BrokenProcessPool:
            has_stopped = max(self._stopped.values(), default=0) >= STOPPED_CHECKS
            reason = "its process has stopped itself" if has_stopped else _how_it_ended(members)
            raise ProcessGroupEnded(reason) from None

    def _result(self, future: "Future[Result]", members: Sequence[BaseProcess]) -> Result:
        """What a task has come to; a process that has stopped itself is killed, since no timer ends it."""
        while True:
            try:
                return future.result(CHECK_SECONDS)
            except TimeoutError:
                if future.done():  # the task's own
                    raise
            stopped = [each.pid for each in members if each.pid and is_stopped(each.pid)]
            self._stopped = Counter({pid: self._stopped[pid] + 1 for pid in stopped})
            for pid, looks in self._stopped.items():
                if looks >= STOPPED_CHECKS:
                    os.kill(pid, signal.SIGKILL)

    def _begin(self) -> ProcessPoolExecutor:
        # Spawned: this process has threads, and a forked child of one that has used polars hangs.
        return ProcessPoolExecutor(
            self.count,
            multiprocessing.get_context("spawn"),
            initializer=_begin,
            initargs=(os.getpid(), seconds_of_a_call(), registry.as_json()),
        )

    def close(self) -> None:
        """Terminate every process."""
        if self._pool is None:
            return
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            process.terminate()


def _how_it_ended(members: Sequence[BaseProcess]) -> str:
    """The reason why the first process ended; the others were terminated because of it."""
    until = time.monotonic() + CODE_SECONDS
    while None in (codes := [each.exitcode for each in members]) and time.monotonic() < until:
        time.sleep(0.02)  # a thread of the pool reads the codes
    code = next((code for code in codes if code not in (None, 0, -signal.SIGTERM)), None)
    return "another process of the group has ended" if code is None else exit_reason(code, seconds_of_a_call())


def _begin(parent: int, call_seconds: float | None, instruments: dict[str, object]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it without a traceback
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    bound_each_call(call_seconds)
    registry.use_json(instruments)
    die_with_parent(parent, signal.SIGKILL)
