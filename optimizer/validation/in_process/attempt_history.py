"""Attempt history: the attempts of a curriculum that runs in this process, and what follows from them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from optuna.trial import FrozenTrial

from optimizer.curriculum.earlier_choices import (
    EarlierChoice,
    Inheritance,
    choices_of,
)
from optimizer.curriculum.retry_plan import RetryPlan, plan_retry
from optimizer.curriculum.state_machine import (
    Attempt,
    LevelSpec,
    RunFacts,
)
from optimizer.level.spec import Level
from optimizer.validation.attempt_findings import AttemptFindings, PreviousLevel
from optimizer.validation.walk_forward import SearchedWindow


@dataclass(frozen=True, slots=True, kw_only=True)
class InProcessAttempt:
    """One attempt at a level."""

    level: Level
    """The level as this attempt searched it."""
    number: int
    """Counted from 1."""
    inherited: Inheritance
    """What its search starts from; with `walk_forward` the last search."""
    until: date
    """First day after all days that the winner depends on."""
    trials: Sequence[FrozenTrial]
    """All trials, those carried over first."""
    reused: int
    retries: Sequence[RetryPlan] = ()
    """The plans of all retries up to this attempt."""
    windows: Sequence[SearchedWindow] = ()
    """The windows of a walk-forward, in order."""
    findings: AttemptFindings | None = None
    """None before the attempt is judged."""

    def own_trials(self) -> Iterator[Sequence[FrozenTrial]]:
        """Yield the trials of its search and of its windows, without those carried over."""
        yield self.trials[self.reused :]
        yield from (each.trials[each.reused :] for each in self.windows)


class AttemptHistory:
    """The attempts of a run in progress; each decision on the next step reads it."""

    def __init__(self, levels: Sequence[Level]) -> None:
        self.levels, self.attempts = tuple(levels), list[InProcessAttempt]()

    def facts(self) -> RunFacts:
        """The facts for the state machine; all candles are known."""
        return RunFacts(
            levels=[LevelSpec(name=level.name, retries=level.retries) for level in self.levels],
            attempts=[
                Attempt(
                    level=each.level.name,
                    number=each.number,
                    searched=True,
                    passed=each.findings.passed if each.findings else None,
                )
                for each in self.attempts
            ],
            ready=frozenset(level.name for level in self.levels),
        )

    def verdicts(self) -> dict[str, AttemptFindings]:
        """The findings of each level's last attempt."""
        return {each.level.name: each.findings for each in self.attempts if each.findings}

    def retries_of(self, name: str) -> list[RetryPlan]:
        """The plans of all retries up to the next attempt at a level."""
        earlier = self.last(name)
        assert earlier.findings is not None, "a retry follows a verdict"
        return [*earlier.retries, plan_retry(earlier.level, earlier.number + 1, earlier.findings.facts)]

    def earlier_choices(self, name: str) -> list[EarlierChoice]:
        """The choices of the nearest earlier level whose gate passed."""
        found = self.passed_before(name)
        if found is None or found.findings is None or found.findings.winner is None:
            return []
        return choices_of(found.level.name, found.windows, found.findings.winner.parameters, found.until)

    def last(self, name: str) -> InProcessAttempt:
        """The last attempt at a level."""
        return next(each for each in reversed(self.attempts) if each.level.name == name)

    def passed_before(self, name: str) -> InProcessAttempt | None:
        """The last attempt at the nearest earlier level whose gate passed; None if there is none."""
        names = [level.name for level in self.levels]
        found = [each for each in self.attempts if each.findings and each.findings.passed]
        earlier = [each for each in found if names.index(each.level.name) < names.index(name)]
        return max(earlier, key=lambda each: names.index(each.level.name), default=None)

    def previous(self, name: str) -> PreviousLevel | None:
        """The nearest earlier level whose gate passed, with its winner; None if there is none."""
        last = self.passed_before(name)
        if last is None or last.findings is None or last.findings.winner is None:
            return None
        return PreviousLevel(level=last.level, winner=last.findings.winner.parameters, trials=last.trials)
