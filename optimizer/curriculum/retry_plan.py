"""Retry planning: the ranges, trial budget and gate of the next attempt, from the facts of a failed one.

A retry has more trials, and wider ranges where the failed attempt's best parameters lie at the edge of their range. Its
plan depends on stored facts alone, so a resumed run, and any number of workers, make the same one.
"""

import math
from collections.abc import Mapping

from optimizer.level.constraints import StrictModel
from optimizer.level.spec import Bounds, Level
from optimizer.objective.trial_result import rounded
from optimizer.strategies.parameter_ranges import RangeEnd, at_the_edge, every_end, widened

MOVED_ENDS: Mapping[RangeEnd, str] = {
    RangeEnd.LOWER: "lower end",
    RangeEnd.UPPER: "upper end",
    RangeEnd.BOTH: "both ends",
}


class Shortfall(StrictModel):
    """A missed constraint or criterion."""

    name: str
    by: float | None
    """Distance from the target, in the constraint's unit; None if there was nothing to measure."""

    def __str__(self) -> str:
        return f"{self.name} by {self.by:.3g}" if self.by is not None else f"{self.name}, undefined"


class AttemptFacts(StrictModel):
    """Facts of a failed attempt from which the next one is planned."""

    feasible: bool
    """Whether a trial met every constraint on train."""
    parameters: dict[str, int | float] | None
    """The winner's, else those of the trial that came closest; None without a complete trial."""
    on_train: tuple[Shortfall, ...] = ()
    """Constraints that the closest trial missed; empty if a trial was feasible."""
    on_validation: tuple[Shortfall, ...] = ()
    """Criteria of the gate that the winner missed."""


class RangeChange(StrictModel):
    """A range that a retry has widened."""

    name: str
    end: RangeEnd
    was: Bounds
    now: Bounds

    def __str__(self) -> str:
        (low, high), (new_low, new_high) = self.was, self.now
        return f"{self.name} {low:g}..{high:g} becomes {new_low:g}..{new_high:g} ({MOVED_ENDS[self.end]})"


class RetryPlan(StrictModel):
    """What a retry changes, and why."""

    attempt: int
    """Number of the attempt that it plans."""
    trials: int
    trials_before: int
    ends: dict[str, RangeEnd]
    """Ends that are widened, by parameter."""
    changes: tuple[RangeChange, ...]
    """The ranges that differ from the attempt before; an end at the strategy's hard bound stays."""
    relaxed: float
    """Share by which the gate's targets are relaxed; 0 unless the level sets `relax`."""
    facts: AttemptFacts

    @property
    def reason(self) -> str:
        """What was missed, and what changes, in a sentence."""
        told = [self._missed(), f"{self.trials} trials instead of {self.trials_before}", self._ranges()]
        if self.relaxed:
            told.append(f"gate targets relaxed by {self.relaxed:g}")
        return "; ".join(told)

    def _missed(self) -> str:
        facts = self.facts
        if facts.on_validation:
            return f"the winner missed on validation: {', '.join(map(str, facts.on_validation))}"
        if facts.on_train:
            return f"the closest trial missed on train: {', '.join(map(str, facts.on_train))}"
        return "no trial met every constraint on train"

    def _ranges(self) -> str:
        facts = self.facts
        subject = "the winner" if facts.feasible else "the closest trial"
        if self.changes and RangeEnd.BOTH in self.ends.values():
            why = "no trial is feasible, and none lies at an edge that can move"
        elif self.changes:
            why = f"{subject} lies there"
        elif facts.feasible:
            return "no range widened: the winner lies at no edge that can move"
        else:
            return "no range widened: each is at the hard bounds of the strategy"
        return f"{', '.join(map(str, self.changes))}: {why}"


def plan_retry(level: Level, attempt: int, facts: AttemptFacts) -> RetryPlan:
    """Return the plan of attempt `attempt`; `level`: as the attempt before searched it, `facts`: what it found.

    A retry always has more trials. A range is widened at the end at which the winner lies, or else the trial that came
    closest. If no trial was feasible and no such end can move, every range is widened at both ends.
    """
    ends = at_the_edge(level, facts.parameters or {})
    changes = _changes(level, ends)
    if not changes and not facts.feasible:
        ends = every_end(level)
        changes = _changes(level, ends)
    names = {change.name for change in changes}
    return RetryPlan(
        attempt=attempt,
        trials=next_trials(level),
        trials_before=level.trials,
        ends={name: end for name, end in ends.items() if name in names},
        changes=changes,
        relaxed=rounded(min(1.0, level.relax * (attempt - 1))),
        facts=facts,
    )


def next_trials(level: Level) -> int:
    """Return the trials of the retry after an attempt at this level."""
    return math.ceil(level.retry.trials_factor * level.trials)


def trials_by_attempt(level: Level) -> list[int]:
    """Return the trials of the first attempt and of each retry; they do not depend on what an attempt finds."""
    found = [level.trials]
    for _ in range(level.retries):
        found.append(next_trials(level.model_copy(update={"trials": found[-1]})))
    return found


def _changes(level: Level, ends: Mapping[str, RangeEnd]) -> tuple[RangeChange, ...]:
    wider = widened(level, ends)
    return tuple(
        RangeChange(name=name, end=end, was=level.ranges[name], now=wider[name])
        for name, end in ends.items()
        if tuple(wider[name]) != tuple(level.ranges[name])
    )
