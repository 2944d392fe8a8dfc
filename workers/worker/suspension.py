"""A worker's side of `rq suspend` and `rq resume`: it takes no job in between, and the log says so."""

import logging
import time
from dataclasses import dataclass

from rq.worker import WorkerStatus

LOOK_SECONDS = 1.0
"""Between two looks of a worker that is suspended: how late it takes up work after `rq resume`."""

log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Suspension:
    """Whether one worker takes jobs, as it last heard."""

    worker: str
    is_on: bool = False

    def note(self, *, is_on: bool) -> WorkerStatus:
        """Take up what Redis says, and log a change; the state that the worker is in then."""
        if is_on and not self.is_on:
            log.warning("worker suspended", extra={"action": "worker_suspended", "worker": self.worker})
        if self.is_on and not is_on:
            log.warning("worker resumed", extra={"action": "worker_resumed", "worker": self.worker})
        self.is_on = is_on
        return WorkerStatus.SUSPENDED if is_on else WorkerStatus.IDLE

    def pause(self) -> None:
        """Until the next look."""
        time.sleep(LOOK_SECONDS)
