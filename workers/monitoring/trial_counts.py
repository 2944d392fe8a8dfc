"""What has become of an attempt's trials, counted in one place for commands, page, metrics and messages."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from optimizer.runs.live_reader import best_so_far
from optimizer.search.trial_summary import TrialView
from workers.monitoring.stall_detection import eta_seconds

PACE_SECONDS = 120.0
"""Over which the pace of trials is measured."""
MIN_PACE_SECONDS = 5.0
"""Over less, a pace is chance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialCounts:
    """One attempt at a level; trials that were carried over from earlier ones are neither wanted nor counted."""

    trials: int
    """Wanted in all."""
    complete: int
    pruned: int
    failed: int
    best: TrialView | None
    """The feasible trial with the highest value on train, carried ones included."""
    pace_per_minute: float
    """Of the last two minutes."""
    idle_seconds: float | None = None
    """Since the latest trial ended; None where none has."""

    @property
    def finished(self) -> int:
        """Trials that are committed."""
        return self.complete + self.pruned + self.failed

    @property
    def best_value(self) -> float | None:
        """Of the best trial; None where none is feasible yet."""
        return self.best.value if self.best else None

    @property
    def eta_seconds(self) -> float | None:
        """Until the last trial at that pace; None where nothing moves."""
        return eta_seconds(self.trials - self.finished, self.pace_per_minute, self.idle_seconds)


def count_trials(seen: Sequence[TrialView], *, reused: int, wanted: int, now: float) -> TrialCounts:
    """Of all trials of an attempt's study, the first of which were carried over; `now` is Unix time in seconds."""
    own = seen[reused:]
    states = Counter(trial.state for trial in own)
    ends = [trial.ended for trial in own if trial.ended is not None]
    return TrialCounts(
        trials=wanted,
        complete=states["complete"],
        pruned=states["pruned"],
        failed=states["failed"],
        best=best_so_far(seen),
        pace_per_minute=_pace(ends, now),
        idle_seconds=max(0.0, now - max(ends)) if ends else None,
    )


def _pace(ends: Sequence[float], now: float) -> float:
    """Trials a minute over the last two; over the time since the first one where that is less."""
    lately = sum(now - ended <= PACE_SECONDS for ended in ends)
    return lately / min(PACE_SECONDS, max(MIN_PACE_SECONDS, now - min(ends, default=now))) * 60
