"""Curriculum state machine: maps the known facts of a run to its next action. Pure.

    wait for candles -> search -> judge -> passed: the next level, or the recommendation
                                        -> failed: next attempt while retries remain, else one attempt at the last
                                           level, for the evidence, then the recommendation
    recommendation -> end

Only facts decide, so a run interrupted at any point resumes with the same result.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelSpec:
    """A level as the state machine sees it."""

    name: str
    retries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """State of one attempt at a level."""

    level: str
    number: int
    """Counted from 1."""
    searched: bool
    """Whether its last trial is committed."""
    passed: bool | None = None
    """Whether its gate passed; None before it is judged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """All inputs that decide a run's next action."""

    levels: Sequence[LevelSpec]
    """Levels in curriculum order."""
    attempts: Sequence[Attempt]
    """Attempts in the order they started."""
    ready: Collection[str]
    """Names of the levels whose candles are all sealed."""
    recommended: bool = False
    """Whether the recommendation is stored."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait until all candles of the level are sealed."""

    level: str


@dataclass(frozen=True, slots=True)
class Search:
    """Search the attempt's trials; the attempt may have started before."""

    level: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Judge:
    """Choose the attempt's winner and evaluate its gate."""

    level: str
    attempt: int


class RunOutcome(StrEnum):
    """Outcome of a run."""

    PASSED = "passed"
    """Every level's gate passed."""
    ESCALATED = "escalated"
    """All attempts at a level failed its gate. Of the later levels only the last one is run, once, for the evidence."""


@dataclass(frozen=True, slots=True)
class Recommend:
    """Make the recommendation from the results of the levels."""

    outcome: RunOutcome
    level: str
    """The level whose gate failed; the last level if all passed."""


@dataclass(frozen=True, slots=True)
class End:
    """The run is finished."""

    outcome: RunOutcome
    level: str
    """The level whose gate failed; the last level if all passed."""


NextAction = Wait | Search | Judge | Recommend | End


def next_action(facts: RunFacts) -> NextAction:
    """Return the next action of a run with these facts.

    Raises:
        ValueError: the facts contradict each other.
    """
    attempts, last = list(facts.attempts), facts.levels[-1]
    for level_spec in facts.levels:
        own = [attempt for attempt in attempts if attempt.level == level_spec.name]
        _check(level_spec, own)
        later = [attempt for attempt in attempts if attempt.level != level_spec.name]
        if own and own[-1].passed:
            attempts = later
            continue
        if sum(attempt.passed is False for attempt in own) > level_spec.retries:
            return _escalated(level_spec, last, later, facts)
        if later:
            raise ValueError(f"level {level_spec.name} is not passed, but a later level has started")
        return _next_for_level(level_spec, own, facts)
    if attempts:
        raise ValueError(f"unknown level {attempts[0].level}")
    return _over(facts, RunOutcome.PASSED, last.name)


def _escalated(failed: LevelSpec, last: LevelSpec, later: Sequence[Attempt], facts: RunFacts) -> NextAction:
    """Return what follows a level that failed all attempts: one attempt at the last level, then the end."""
    if [(attempt.level, attempt.number) for attempt in later] not in ([], [(last.name, 1)]) or (
        failed == last and later
    ):
        raise ValueError(f"level {failed.name} failed all attempts: only one attempt at the last level may follow")
    _check(last, later)
    if failed != last and not (later and later[0].passed is not None):
        return _next_for_level(last, later, facts)
    return _over(facts, RunOutcome.ESCALATED, failed.name)


def _over(facts: RunFacts, outcome: RunOutcome, level: str) -> NextAction:
    return End(outcome, level) if facts.recommended else Recommend(outcome, level)


def _next_for_level(level_spec: LevelSpec, attempts: Sequence[Attempt], facts: RunFacts) -> NextAction:
    missed, ready = sum(attempt.passed is False for attempt in attempts), facts.ready
    if level_spec.name not in ready:
        return Wait(level_spec.name)
    if missed < len(attempts) and attempts[-1].searched:
        return Judge(level_spec.name, missed + 1)
    return Search(level_spec.name, missed + 1)


def _check(level_spec: LevelSpec, attempts: Sequence[Attempt]) -> None:
    if [attempt.number for attempt in attempts] != list(range(1, len(attempts) + 1)):
        raise ValueError(f"level {level_spec.name}: attempts are not numbered 1, 2, ...")
    if any(attempt.passed is not False for attempt in attempts[:-1]):
        raise ValueError(f"level {level_spec.name}: an attempt started before the previous one failed")
    if any(attempt.passed is not None and not attempt.searched for attempt in attempts):
        raise ValueError(f"level {level_spec.name}: an attempt was judged before it was searched")
