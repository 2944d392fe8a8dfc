"""How long a service that has gone away is waited for."""

import logging
import time
from collections.abc import Callable

from tradeschool.errors import TradeschoolError

PATIENCE_SECONDS = 300.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.2, 5.0

log = logging.getLogger(__name__)


class Outage:
    """One that may come; `bear` is told of each failure, `end` of each success."""

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
        """Pause before the next try, the longer the longer it has lasted.

        Raises:
            TradeschoolError: the error itself, where it has lasted longer than anybody waits.
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
        """All is well again."""
        if self._since is not None:
            seconds = round(self._clock() - self._since, 1)
            log.warning("run goes on", extra={"action": "run_goes_on", "seconds": seconds})
        self._since = None
