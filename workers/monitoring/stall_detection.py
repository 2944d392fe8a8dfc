"""Whether a search moves: why it cannot, how long the rest takes, and when to say so.

One rule for every command, the page, the API, the metrics and the messages.
"""

import time
from collections.abc import Callable
from enum import StrEnum

SILENT_SECONDS = 15.0
"""Without a heartbeat, after which a worker does not count as connected; one at work sends one every third of it."""
FIRST_ALERT_SECONDS = 5.0
"""How long a search may stand still before it is said: between two workers there may be none for a moment."""
STALL_EVENT_SECONDS = 30.0
"""How long a search has stood still before it is an event: workers that have just been started compile first."""
ALERT_SECONDS = 60.0
"""Between two notices of the same."""
MIN_IDLE_SECONDS = 15.0
MAX_IDLE_PACES = 10.0
"""A search in which nothing has ended for so many times as long as one end takes on average stands still."""


class Stall(StrEnum):
    """Why no job can end."""

    NO_WORKERS = "no workers"
    SUSPENDED = "workers suspended"

    def sentence(self, start: str = "start some: tradeschool worker start -n 2") -> str:
        """For people; `start` says what brings workers."""
        match self:
            case Stall.NO_WORKERS:
                return f"no worker is connected; {start}"
            case Stall.SUSPENDED:
                return "the workers are suspended (rq suspend); go on with: rq resume --url REDIS_URL"


def find_stall(*, is_pending: bool, connected: int, is_suspended: bool) -> Stall | None:
    """Why work that is pending cannot go on; None where it can, or none is pending."""
    if not is_pending:
        return None
    if not connected:
        return Stall.NO_WORKERS
    return Stall.SUSPENDED if is_suspended else None


def eta_seconds(left: int, pace_per_minute: float, idle_seconds: float | None) -> float | None:
    """Until what is left has ended at a pace; 0 where nothing is left, None where nothing moves.

    `idle_seconds` is the time since the latest end, None where there was none.
    """
    if left <= 0:
        return 0.0
    if not pace_per_minute or idle_seconds is None:
        return None
    if idle_seconds > max(MIN_IDLE_SECONDS, MAX_IDLE_PACES * 60 / pace_per_minute):
        return None
    return left / pace_per_minute * 60


class StallAlerts:
    """When to say that a search stands still, and that it goes on again; fed with every look.

    `first_seconds` is how long workers may be absent before that is said.
    """

    def __init__(
        self, *, first_seconds: float = FIRST_ALERT_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._first_seconds, self._clock, self._began = first_seconds, clock, clock()
        self._since: float | None = None
        self._told: tuple[Stall, float] | None = None
        self._said_idle = self._began

    def look(self, stall: Stall | None, start: str, idle_seconds: float | None = None) -> str | None:
        """The line that is due now; None where there is nothing to say.

        `start` says what brings workers, `idle_seconds` is the time since the latest job ended.
        """
        now = self._clock()
        if stall is None:
            return self._look_at_moving(now, idle_seconds)
        self._since = now if self._since is None else self._since
        if not self._is_due(stall, now, now - self._since):
            return None
        self._told = (stall, now)
        return f"stalled for {now - self._since:.0f} s: {stall.sentence(start)}"

    def _is_due(self, stall: Stall, now: float, lasted: float) -> bool:
        if self._told is None:
            return lasted >= (self._first_seconds if stall is Stall.NO_WORKERS else FIRST_ALERT_SECONDS)
        told, when = self._told
        return told is not stall or now - when >= ALERT_SECONDS

    def _look_at_moving(self, now: float, idle_seconds: float | None) -> str | None:
        if self._told is not None:
            self._since, self._told, self._began, self._said_idle = None, None, now, now
            return "workers are at work again: the search goes on"
        self._since = None
        idle = now - self._began if idle_seconds is None else min(idle_seconds, now - self._began)
        if idle < ALERT_SECONDS or now - self._said_idle < ALERT_SECONDS:
            return None
        self._said_idle = now
        return f"no trial has ended for {idle:.0f} s; workers are connected and at work"
