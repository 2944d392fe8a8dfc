"""Waits for a service that does not answer, up to a limit."""

import logging
import time
from collections.abc import Callable

from tradeschool.errors import TradeschoolError

PATIENCE_SECONDS = 300.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.2, 5.0

log = logging.getLogger(__name__)


class Outage:
    """The outage of a service; call `wait` after each failure and `end` after each success."""

    def __init__(
        self,
        patience_seconds: float = PATIENCE_SECONDS,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._patience, self._clock, self._sleep = patience_seconds, clock, sleep
        self._since: float | None = None

    def wait(self, error: TradeschoolError) -> None:
        """Pause before the next attempt; pauses grow with the length of the outage.

        Raises:
            TradeschoolError: The error itself, after `patience_seconds`.
        """
        now = self._clock()
        if self._since is None:
            self._since = now
            log.warning("run interrupted", extra={"action": "run_interrupted", "reason": str(error)})
        lasted = now - self._since
        if lasted > self._patience:
            raise error
        self._sleep(min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS + lasted / 2))

    def end(self) -> None:
        """Record a success, which ends the outage."""
        if self._since is not None:
            seconds = round(self._clock() - self._since, 1)
            log.warning("run continues", extra={"action": "run_goes_on", "seconds": seconds})
        self._since = None
