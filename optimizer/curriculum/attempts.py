"""Attempts: the ranges, trial budget and gate of a level on each attempt, and what a retry learns from a failed one.

The first attempt uses the level as written, or ranges around the inherited winner if the level is narrow. A retry has
more trials, and wider ranges where the failed attempt's best parameters lie at the edge of their range. Its plan
depends on stored facts alone, so a resumed run, and any number of workers, make the same one.
"""

import math
from collections.abc import Mapping, Sequence

from optimizer.level.constraints import StrictModel
from optimizer.level.spec import Bounds, Gate, Level
from optimizer.objective.trial_result import rounded
from optimizer.strategies.parameter_ranges import RangeEnd, around, at_the_edge, every_end, widened, widest

MIN_PROFIT_FACTOR = 1e-9
"""Lower bound of the profit factor target, which must be above zero."""
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


def at_attempt(
    level: Level, attempt: int, inherited: Mapping[str, float] | None = None, retries: Sequence[RetryPlan] = ()
) -> Level:
    """Return the level as attempt `attempt` (from 1) searches it, with the number of retries that remain.

    `inherited`: the winning parameters of the previous level; `retries`: the plans of all retries up to this attempt.

    Raises:
        ValueError: the number of plans is not that of the retries.
    """
    if len(retries) != attempt - 1:
        raise ValueError(f"level {level.name}: attempt {attempt} has {attempt - 1} retries, but {len(retries)} plans")
    if level.narrow and inherited is not None:
        level = level.model_copy(update={"ranges": around(level, inherited)})
    target, reachable = level.gate, widest(level) if retries else {}
    for number, plan in enumerate(retries, start=1):
        level = level.model_copy(
            update={
                "trials": next_trials(level),
                "ranges": widened(level, plan.ends),
                "retries": level.retries - 1,
                "gate": _relaxed(target, level.relax * number),
                "reachable": reachable,
            }
        )
    return level


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


def relaxed_by(level: Level, attempt: int) -> float:
    """Return the share by which an attempt's gate targets are relaxed from the level's targets."""
    return min(1.0, level.relax * (attempt - 1))


def _changes(level: Level, ends: Mapping[str, RangeEnd]) -> tuple[RangeChange, ...]:
    wider = widened(level, ends)
    return tuple(
        RangeChange(name=name, end=end, was=level.ranges[name], now=wider[name])
        for name, end in ends.items()
        if tuple(wider[name]) != tuple(level.ranges[name])
    )


def _relaxed(gate: Gate, share: float) -> Gate:
    """Relax each target by a share of itself; fractions stay within [0, 1]."""
    easier = 1 - min(1.0, share)
    return Gate(
        win_rate=gate.win_rate * easier,
        sharpe=gate.sharpe - abs(gate.sharpe) * (1 - easier),
        max_drawdown_intrabar=min(1.0, gate.max_drawdown_intrabar * (2 - easier)),
        profit_factor=max(gate.profit_factor * easier, MIN_PROFIT_FACTOR),
    )
