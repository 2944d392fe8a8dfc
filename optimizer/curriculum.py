"""The ladder as a state machine: what is known of a run goes in, what has to be done next comes out. Pure.

    wait for candles -> search -> judge -> passed: the next level, or the recommendation
                                        -> missed: again, while there are retries, else the recommendation
    recommendation -> the end

Nothing but facts decides, so a run that was stopped anywhere goes on as if it had not been.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """What the ladder knows of a level."""

    name: str
    retries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What became of one attempt at a level."""

    level: str
    number: int
    """Counted from 1."""
    searched: bool
    """Whether its last trial is committed."""
    passed: bool | None = None
    """What its gate said; None before it was judged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that decides what a run does next."""

    rungs: Sequence[Rung]
    """In the order in which they are climbed."""
    attempts: Sequence[Attempt]
    """In the order in which they were begun."""
    ready: Collection[str]
    """Names of the levels whose candles are all sealed."""
    recommended: bool = False
    """Whether what the run comes to is written down."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Until every candle that the level names is sealed."""

    level: str


@dataclass(frozen=True, slots=True)
class Search:
    """Have the attempt's trials evaluated; it may have been begun before."""

    level: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Judge:
    """Choose the attempt's winner and read its gate."""

    level: str
    attempt: int


class Outcome(StrEnum):
    """How a run ended."""

    PASSED = "passed"
    """Every level's gate is met."""
    ESCALATED = "escalated"
    """A level's gate was missed by every attempt; nothing after it is run."""


@dataclass(frozen=True, slots=True)
class Recommend:
    """Weigh what the levels came to."""

    outcome: Outcome
    level: str
    """The last one that was tried."""


@dataclass(frozen=True, slots=True)
class End:
    """Nothing is left to do."""

    outcome: Outcome
    level: str
    """The last one that was tried."""


Action = Wait | Search | Judge | Recommend | End


def next_action(facts: Facts) -> Action:
    """What a run with these facts does next.

    Raises:
        ValueError: where no run can have come to them.
    """
    attempts = list(facts.attempts)
    for rung in facts.rungs:
        own = [attempt for attempt in attempts if attempt.level == rung.name]
        _check(rung, own)
        if own and own[-1].passed:
            attempts = [attempt for attempt in attempts if attempt.level != rung.name]
            continue
        if len(own) < len(attempts):
            raise ValueError(f"level {rung.name} is not passed, but a level after it was begun")
        return _on(rung, own, facts)
    if attempts:
        raise ValueError(f"unknown level {attempts[0].level}")
    return _over(facts, Outcome.PASSED, facts.rungs[-1].name)


def _over(facts: Facts, outcome: Outcome, level: str) -> Action:
    return End(outcome, level) if facts.recommended else Recommend(outcome, level)


def _on(rung: Rung, attempts: Sequence[Attempt], facts: Facts) -> Action:
    missed, ready = sum(attempt.passed is False for attempt in attempts), facts.ready
    if missed > rung.retries:
        return _over(facts, Outcome.ESCALATED, rung.name)
    if missed < len(attempts) and attempts[-1].searched:
        return Judge(rung.name, missed + 1) if rung.name in ready else Wait(rung.name)
    return Search(rung.name, missed + 1) if rung.name in ready else Wait(rung.name)


def _check(rung: Rung, attempts: Sequence[Attempt]) -> None:
    if [attempt.number for attempt in attempts] != list(range(1, len(attempts) + 1)):
        raise ValueError(f"level {rung.name}: attempts are not 1, 2, ...")
    if any(attempt.passed is not False for attempt in attempts[:-1]):
        raise ValueError(f"level {rung.name}: an attempt was begun before the one before it was missed")
    if any(attempt.passed is not None and not attempt.searched for attempt in attempts):
        raise ValueError(f"level {rung.name}: an attempt was judged before it was searched")
