"""The pauses of a worker that puts jobs of another release back: they keep it from taking the same jobs in a loop.

It looks through the whole queue without a pause, because a job of its own release may come next. Then it pauses, each
time longer, until it has evaluated a job.
"""

import logging
import random
import time
from collections.abc import Callable

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 30.0
MAX_LOGGED = 100

log = logging.getLogger(__name__)


class OtherReleases:
    """What one worker knows of jobs of other releases."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._in_a_row, self._pause, self._until = 0, 0.0, 0.0
        self._logged: set[tuple[str, str]] = set()

    @property
    def seconds_left(self) -> float:
        """Seconds until this worker may take another job; 0 if it may now."""
        return max(0.0, self._until - self._clock())

    def note_put_back(self, study: str, reason: str, queued: int) -> None:
        """Record a job that was put back to a queue of that length; log it once per study and reason."""
        if (study, reason) not in self._logged and len(self._logged) < MAX_LOGGED:
            self._logged.add((study, reason))
            log.warning("job put back", extra={"action": "job_put_back", "study": study, "reason": reason})
        self._in_a_row += 1
        if self._in_a_row < queued:
            return
        self._in_a_row = 0
        self._pause = min(max(2 * self._pause, FIRST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS)
        # Jitter: workers that were started together do not look together.
        self._until = self._clock() + self._pause * random.uniform(0.8, 1.0)  # noqa: S311  # not a secret

    def note_evaluated(self) -> None:
        """Record a job of this worker's own release."""
        self._in_a_row, self._pause = 0, 0.0
