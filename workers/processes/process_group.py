"""Processes of this machine that share out a run's last work: its luck is measured beside no queue, and in no hurry."""

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
from workers.processes.descendants import is_stopped
from workers.processes.exit_reason import ended_words
from workers.processes.parent_death import die_with_parent

Task = TypeVar("Task")
Result = TypeVar("Result")


SERIAL_SECONDS = 1.0
"""What takes no longer than that is done before another process has begun: the start of one takes as long."""
CODE_SECONDS = 5.0
"""Until it is known how each process ended, once one of them has."""
LOOK_SECONDS = 1.0
"""Between two looks at the processes."""
STOPPED_LOOKS = 5
"""Looks in a row that find a process stopped, a second apart, before it is killed."""
MAX_CORES = 16
"""Processes that are started where nobody says how many: each takes a quarter of a gigabyte."""


def cores() -> int:
    """Of the machine, those that this process may use, and no more than `MAX_CORES`."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(found, MAX_CORES)


class ProcessGroupEnded(TradeschoolError):
    """A process of a crew has ended before its work was done."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"a process that measured luck has ended: {reason}: go on with it as it was begun")
        self.ended = reason
        """How, in words."""


@contextmanager
def process_group(count: int, alone_seconds: float = SERIAL_SECONDS) -> Iterator["ProcessGroup"]:
    """So many processes, started when there is enough for them to do; one is this process itself.

    They end with the block, and with this process however that ends.
    """
    made = ProcessGroup(count, alone_seconds)
    try:
        yield made
    finally:
        made.close()


class ProcessGroup:
    """Made by `process_group`."""

    def __init__(self, count: int, alone_seconds: float) -> None:
        self.count, self._alone_seconds = max(1, count), alone_seconds
        self._pool: ProcessPoolExecutor | None = None
        self._stopped: Counter[int] = Counter()
        """In how many looks in a row each process was found stopped."""

    def share(self, work: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
        """What `work` makes of each task, in their order, as they come; `work` is a function of a module.

        Raises:
            TradeschoolError: where a process was killed; what `work` raises.
        """
        ends, done = time.monotonic() + (0.0 if self._pool else self._alone_seconds), 0
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
            has_stopped = max(self._stopped.values(), default=0) >= STOPPED_LOOKS
            reason = "its process has stopped itself" if has_stopped else _how_it_ended(members)
            raise ProcessGroupEnded(reason) from None

    def _result(self, future: "Future[Result]", members: Sequence[BaseProcess]) -> Result:
        """What a task has come to; a process that has stopped itself is killed, since no timer ends it."""
        while True:
            try:
                return future.result(LOOK_SECONDS)
            except TimeoutError:
                if future.done():  # the task's own
                    raise
            stopped = [each.pid for each in members if each.pid and is_stopped(each.pid)]
            self._stopped = Counter({pid: self._stopped[pid] + 1 for pid in stopped})
            for pid, looks in self._stopped.items():
                if looks >= STOPPED_LOOKS:
                    os.kill(pid, signal.SIGKILL)

    def _begin(self) -> ProcessPoolExecutor:
        # Spawned: this process has threads, and a forked child of one that has used polars hangs.
        return ProcessPoolExecutor(
            self.count,
            multiprocessing.get_context("spawn"),
            initializer=_begin,
            initargs=(os.getpid(), seconds_of_a_call()),
        )

    def close(self) -> None:
        """End every process, whatever it does."""
        if self._pool is None:
            return
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            process.terminate()


def _how_it_ended(members: Sequence[BaseProcess]) -> str:
    """What ended the first of some processes; the others were told to end, for it."""
    until = time.monotonic() + CODE_SECONDS
    while None in (codes := [each.exitcode for each in members]) and time.monotonic() < until:
        time.sleep(0.02)  # the pool's own thread is about to take the code
    code = next((code for code in codes if code not in (None, 0, -signal.SIGTERM)), None)
    return "a process that it is shared with has ended" if code is None else ended_words(code, seconds_of_a_call())


def _begin(parent: int, call_seconds: float | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a Ctrl-C reaches it, too, and is no news
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    bound_each_call(call_seconds)
    die_with_parent(parent, signal.SIGKILL)
