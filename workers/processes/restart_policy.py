"""The restart policy of processes: pauses between starts, and when to give up."""

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
"""Returns the process ids of this machine's workers in Redis, recently killed ones included.

None if Redis does not answer: a worker's death is then no failed start.
"""


def pause_seconds(deaths: int, first: float, longest: float) -> float:
    """Pause before the next start after `deaths` consecutive deaths."""
    return float(min(first * 2 ** min(deaths - 1, 30), longest))


class FailedStarts:
    """Counts consecutive workers that ended before they registered, while no other is registered."""

    def __init__(self, connected: Connected) -> None:
        self._connected = connected
        self.count = 0
        self.first_reason = ""
        """Why the first of them ended."""

    def note(self, pid: int, code: int, said: str, others: Collection[int]) -> None:
        """Record the end of a worker with its exit code and last line; `others` are the running processes."""
        if code == 0:
            return  # a normal end
        known = self._connected()
        if known is None:
            return
        if {pid, *others} & set(known):
            self.count, self.first_reason = 0, ""
            return
        self.count += 1
        self.first_reason = self.first_reason or said or how_it_ended(code)

    def is_hopeless(self, workers: int) -> bool:
        """Whether so many starts failed that no worker of the pool can start."""
        return self.count >= max(MIN_STARTS, STARTS_PER_WORKER * workers)


def connected_here(connection: Redis) -> frozenset[int] | None:
    """The processes of this machine whose workers Redis knows; None if it does not answer."""
    name = re.compile(rf"rq:worker:{re.escape(socket.gethostname())}-(\d+)-[0-9a-f]+")
    try:
        keys = connection.smembers(WORKERS_BY_QUEUE_KEY % QUEUE)
    except RedisError:
        return None
    return frozenset(int(found[1]) for key in keys if (found := name.fullmatch(as_text(key))))


class Restarts:
    """Restarts of a killed process: growing pauses, and a limit of consecutive deaths."""

    def __init__(self, clock: Callable[[], float], *, most: int = 5, steady_seconds: float = 60.0) -> None:
        self._clock, self._most, self._steady_seconds = clock, most, steady_seconds
        self._started, self.deaths, self.due = clock(), 0, 0.0

    def note_start(self) -> None:
        """Record a start."""
        self._started = self._clock()

    def note_death(self) -> None:
        """Record a death; a process that ran long enough starts a new count."""
        now = self._clock()
        self.deaths = 1 if now - self._started >= self._steady_seconds else self.deaths + 1
        self.due = now + pause_seconds(self.deaths, FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)

    @property
    def is_over(self) -> bool:
        """Whether the limit of consecutive deaths is exceeded."""
        return self.deaths > self._most

    @property
    def is_due(self) -> bool:
        """Whether it is time for the next start."""
        return self._clock() >= self.due


def how_it_ended(code: int) -> str:
    """A process' exit code in words."""
    return f"killed by signal {-code}" if code < 0 else f"ended with exit code {code}, without an error message"
