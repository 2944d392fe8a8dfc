"""Stall detection: why a search cannot progress, its ETA, and when to report a stall.

Commands, page, API, metrics and notifications use the same rules.
"""

import time
from collections.abc import Callable
from enum import StrEnum

SILENT_SECONDS = 15.0
"""Maximum age of the last heartbeat of a connected worker; a busy worker sends three in that time."""
FIRST_ALERT_SECONDS = 5.0
"""Duration of a stall before the first alert; a restart of the workers can leave none for a moment."""
STALL_EVENT_SECONDS = 30.0
"""Duration of a stall before the `search_stalled` event; new workers compile before they connect."""
ALERT_SECONDS = 60.0
"""Seconds between two alerts for the same stall."""
MIN_IDLE_SECONDS = 15.0
"""Shortest time without a finished job after which there is no ETA."""
MAX_IDLE_PACES = 10.0
"""Time without a finished job after which there is no ETA, in average times between two finished jobs."""


class Stall(StrEnum):
    """Reason why no job can finish."""

    NO_WORKERS = "no workers"
    SUSPENDED = "workers suspended"
    OTHER_RELEASE = "workers of another release"

    def sentence(self, start: str = "start some: tradeschool worker start -n 2") -> str:
        """Return a message with the remedy; `start` tells how to start workers."""
        match self:
            case Stall.NO_WORKERS:
                return f"no worker is connected; {start}"
            case Stall.SUSPENDED:
                return 'the workers are suspended (rq suspend); resume them: rq resume --url "$(tradeschool queue url)"'
            case Stall.OTHER_RELEASE:
                return (
                    "no connected worker has the release of the search, and puts its jobs back; start workers of that "
                    "release, or stop the run and resume it with theirs"
                )


def find_stall(*, is_pending: bool, connected: int, is_suspended: bool, is_other_release: bool = False) -> Stall | None:
    """Return the reason why pending jobs cannot finish; None if they can, or if none is pending.

    `is_other_release`: whether no connected worker has the release of an active study.
    """
    if not is_pending:
        return None
    if not connected:
        return Stall.NO_WORKERS
    if is_suspended:
        return Stall.SUSPENDED
    return Stall.OTHER_RELEASE if is_other_release else None


def eta_seconds(left: int, pace_per_minute: float, idle_seconds: float | None) -> float | None:
    """Return the seconds until `left` jobs or trials finish at a pace; 0 if none is left, None without recent progress.

    `idle_seconds` is the time since the last one finished; None if none has finished.
    """
    if left <= 0:
        return 0.0
    if not pace_per_minute or idle_seconds is None:
        return None
    if idle_seconds > max(MIN_IDLE_SECONDS, MAX_IDLE_PACES * 60 / pace_per_minute):
        return None
    return left / pace_per_minute * 60


class StallAlerts:
    """Decides when to report that a search is stalled or has resumed. Call `look` at each poll.

    `first_seconds` is the time without workers before the first alert.
    """

    def __init__(
        self, *, first_seconds: float = FIRST_ALERT_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._first_seconds, self._clock, self._began = first_seconds, clock, clock()
        self._since: float | None = None
        self._told: tuple[Stall, float] | None = None
        self._said_idle = self._began

    def look(self, stall: Stall | None, start: str, idle_seconds: float | None = None) -> str | None:
        """Return the alert that is due now; None if none is due.

        `start` tells how to start workers; `idle_seconds` is the time since the last job finished.
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
            return "the search has resumed: workers are connected and busy"
        self._since = None
        idle = now - self._began if idle_seconds is None else min(idle_seconds, now - self._began)
        if idle < ALERT_SECONDS or now - self._said_idle < ALERT_SECONDS:
            return None
        self._said_idle = now
        return f"no trial has finished for {idle:.0f} s; workers are connected and busy"
