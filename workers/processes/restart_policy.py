"""When to stop starting a process that cannot live, and how long to wait before the next start."""

import re
import socket
from collections.abc import Callable, Collection

from redis import Redis
from redis.exceptions import RedisError
from rq.utils import as_text
from rq.worker_registration import WORKERS_BY_QUEUE_KEY

from workers.queue.job_allowlist import QUEUE

MIN_STARTS = 5
STARTS_PER_WORKER = 2
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 30.0

Connected = Callable[[], Collection[int] | None]
"""The processes of this machine whose workers Redis knows, those that were killed lately included.

None where Redis does not answer: then the death of a worker says nothing of the worker.
"""


def pause_seconds(deaths: int, first: float, longest: float) -> float:
    """Before the next start, after so many deaths in a row."""
    return float(min(first * 2 ** min(deaths - 1, 30), longest))


class FailedStarts:
    """Counts workers that ended before Redis knew them, as long as none of the others is known either."""

    def __init__(self, connected: Connected) -> None:
        self._connected = connected
        self.count = 0
        self.first_reason = ""
        """Why the first of them ended."""

    def note(self, pid: int, code: int, said: str, others: Collection[int]) -> None:
        """A worker ended with that code, and that last line; `others` are the processes that live."""
        if code == 0:
            return  # it was told to
        known = self._connected()
        if known is None:
            return
        if {pid, *others} & set(known):
            self.count, self.first_reason = 0, ""
            return
        self.count += 1
        self.first_reason = self.first_reason or said or how_it_ended(code)

    def is_hopeless(self, workers: int) -> bool:
        """Whether no worker of so many will ever get up."""
        return self.count >= max(MIN_STARTS, STARTS_PER_WORKER * workers)


def connected_here(connection: Redis) -> frozenset[int] | None:
    """The processes of this machine whose workers Redis knows; None where it does not answer."""
    name = re.compile(rf"rq:worker:{re.escape(socket.gethostname())}-(\d+)-[0-9a-f]+")
    try:
        keys = connection.smembers(WORKERS_BY_QUEUE_KEY % QUEUE)
    except RedisError:
        return None
    return frozenset(int(found[1]) for key in keys if (found := name.fullmatch(as_text(key))))


class Restarts:
    """When a process that was killed is started again, and when no more: bounded, and ever later."""

    def __init__(self, clock: Callable[[], float], *, most: int = 5, steady_seconds: float = 60.0) -> None:
        self._clock, self._most, self._steady_seconds = clock, most, steady_seconds
        self._started, self.deaths, self.due = clock(), 0, 0.0

    def note_start(self) -> None:
        """It was started now."""
        self._started = self._clock()

    def note_death(self) -> None:
        """It was killed now; one that has lived for long begins to count anew."""
        now = self._clock()
        self.deaths = 1 if now - self._started >= self._steady_seconds else self.deaths + 1
        self.due = now + pause_seconds(self.deaths, FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)

    @property
    def is_over(self) -> bool:
        """Whether it was killed too often in a row."""
        return self.deaths > self._most

    @property
    def is_due(self) -> bool:
        """Whether it is time for the next start."""
        return self._clock() >= self.due


def how_it_ended(code: int) -> str:
    """A process' exit code in words."""
    return f"killed by signal {-code}" if code < 0 else f"ended with exit code {code}, without a word"
