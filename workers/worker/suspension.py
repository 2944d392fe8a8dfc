"""The worker's side of `rq suspend` and `rq resume`: it takes no job in between, and logs both."""

import logging
import time
from dataclasses import dataclass

from rq.worker import WorkerStatus

LOOK_SECONDS = 1.0
"""Time between two checks of a suspended worker: the delay after `rq resume`."""

log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Suspension:
    """The suspension state of one worker."""

    worker: str
    is_on: bool = False

    def note(self, *, is_on: bool) -> WorkerStatus:
        """Update the state, log a change, and return the worker's status."""
        if is_on and not self.is_on:
            log.warning("worker suspended", extra={"action": "worker_suspended", "worker": self.worker})
        if self.is_on and not is_on:
            log.warning("worker resumed", extra={"action": "worker_resumed", "worker": self.worker})
        self.is_on = is_on
        return WorkerStatus.SUSPENDED if is_on else WorkerStatus.IDLE

    def pause(self) -> None:
        """Sleep until the next check."""
        time.sleep(LOOK_SECONDS)
