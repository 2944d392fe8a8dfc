"""Autoscaling of one pool: its number of workers follows the queue between two bounds.

A pool needs a worker for each job that its own workers evaluate, and one for each queued job. More workers start at
once. Fewer are kept only after the need has been lower for a while, because a sampler sends its trials in bursts.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from redis import Redis
from redis.exceptions import RedisError

from workers.queue.job_allowlist import TrialQueue

LOOK_SECONDS = 2.0
"""Time between two looks at the queue."""
KEEP_SECONDS = 60.0
"""Time for which surplus workers are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Least and most workers of a pool that follows the queue."""

    least: int
    most: int

    def clamp(self, count: int) -> int:
        """The nearest number of workers within the bounds."""
        return max(self.least, min(self.most, count))


class Autoscaler:
    """Decides the number of workers of one pool."""

    def __init__(
        self,
        bounds: Bounds,
        queued: Callable[[], int | None],
        *,
        keep_seconds: float = KEEP_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`queued` returns the queued jobs, None if Redis does not answer."""
        self.bounds, self._queued, self._keep_seconds, self._clock = bounds, queued, keep_seconds, clock
        self._needs: deque[tuple[float, int]] = deque()
        """Time and need of each look within `keep_seconds`."""
        self._next = clock()

    def wanted(self, count: int, busy: int) -> int:
        """The number of workers to run now, of which there are `count`, and `busy` of them evaluate a job."""
        now = self._clock()
        if now < self._next:
            return count
        self._next = now + LOOK_SECONDS
        queued = self._queued()
        self._needs.append((now, count if queued is None else busy + queued))  # unknown: it stays as it is
        while self._needs[0][0] < now - self._keep_seconds:
            self._needs.popleft()
        return self.bounds.clamp(max(need for _, need in self._needs))


def queued_jobs(connection: Redis) -> int | None:
    """Return the number of queued jobs; None if Redis does not answer."""
    try:
        return int(connection.llen(TrialQueue(connection=connection).key))
    except RedisError:
        return None
