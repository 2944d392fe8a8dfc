"""Trial counts of an attempt, with pace and ETA; commands, page, metrics and notifications use the same counts."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from optimizer.runs.live_reader import best_so_far, pareto_front
from optimizer.search.trial_summary import TrialView
from workers.monitoring.stall_detection import eta_seconds

PACE_SECONDS = 120.0
"""Window in which the pace of trials is measured."""
MIN_PACE_SECONDS = 5.0
"""Shortest window; a pace over less time is not reliable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialCounts:
    """Trial counts of one attempt at a level, without the trials that were carried over from earlier attempts."""

    trials: int
    """Total number of trials to run."""
    complete: int
    pruned: int
    failed: int
    best: TrialView | None
    """Feasible trial with the highest value on the train part, carried-over trials included; with several objectives
    the first of the front.
    """
    front: Sequence[TrialView] = ()
    """Pareto front on the train part, in the order of its rule; empty with one objective."""
    pace_per_minute: float
    """Trials per minute in the last two minutes."""
    idle_seconds: float | None = None
    """Seconds since the last trial finished; None if none has."""

    @property
    def finished(self) -> int:
        """Number of committed trials."""
        return self.complete + self.pruned + self.failed

    @property
    def best_value(self) -> float | None:
        """Value of the best trial; None if no trial is feasible yet."""
        return self.best.value if self.best else None

    @property
    def eta_seconds(self) -> float | None:
        """Seconds until the last trial at the current pace; None without recent progress."""
        return eta_seconds(self.trials - self.finished, self.pace_per_minute, self.idle_seconds)


def count_trials(seen: Sequence[TrialView], *, reused: int, wanted: int, now: float) -> TrialCounts:
    """Count the trials of a study.

    Args:
        seen: All trials of the study, in order.
        reused: Number of trials at the start of `seen` that were carried over.
        wanted: Number of trials to run.
        now: Unix time in seconds.
    """
    own = seen[reused:]
    states = Counter(trial.state for trial in own)
    ends = [trial.ended for trial in own if trial.ended is not None]
    return TrialCounts(
        trials=wanted,
        complete=states["complete"],
        pruned=states["pruned"],
        failed=states["failed"],
        best=front[0] if (front := pareto_front(seen)) else best_so_far(seen),
        front=front,
        pace_per_minute=_pace(ends, now),
        idle_seconds=max(0.0, now - max(ends)) if ends else None,
    )


def _pace(ends: Sequence[float], now: float) -> float:
    """Return the trials per minute over the last two minutes, or over the time since the first trial if shorter."""
    lately = sum(now - ended <= PACE_SECONDS for ended in ends)
    return lately / min(PACE_SECONDS, max(MIN_PACE_SECONDS, now - min(ends, default=now))) * 60
