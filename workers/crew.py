"""Processes of this machine that share out a run's last work: its luck is measured beside no queue, and in no hurry."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TypeVar

from tradeschool.errors import TradeschoolError
from workers.parent import die_with_parent

Task = TypeVar("Task")
Result = TypeVar("Result")


ALONE_SECONDS = 1.0
"""What takes no longer than that is done before another process has begun: the start of one takes as long."""
MOST_CORES = 16
"""Processes that are started where nobody says how many: each takes a quarter of a gigabyte."""


def cores() -> int:
    """Of the machine, those that this process may use, and no more than `MOST_CORES`."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(found, MOST_CORES)


@contextmanager
def crew(count: int, alone_seconds: float = ALONE_SECONDS) -> Iterator["Crew"]:
    """So many processes, started when there is enough for them to do; one is this process itself.

    They end with the block, and with this process however that ends.
    """
    made = Crew(count, alone_seconds)
    try:
        yield made
    finally:
        made.close()


class Crew:
    """Made by `crew`."""

    def __init__(self, count: int, alone_seconds: float) -> None:
        self.count, self._alone_seconds = max(1, count), alone_seconds
        self._pool: ProcessPoolExecutor | None = None

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
        # Spawned: this process has threads, and a forked child of one that has used polars hangs.
        self._pool = self._pool or ProcessPoolExecutor(
            self.count, multiprocessing.get_context("spawn"), initializer=_begin, initargs=(os.getpid(),)
        )
        try:
            yield from self._pool.map(work, tasks)
        except BrokenProcessPool:
            raise TradeschoolError(
                "a process that measured luck was killed, perhaps for want of memory: go on with it as it was begun"
            ) from None

    def close(self) -> None:
        """End every process, whatever it does."""
        if self._pool is None:
            return
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            process.terminate()


def _begin(parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a Ctrl-C reaches it, too, and is no news
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    die_with_parent(parent, signal.SIGKILL)
