"""Curriculum in this process: levels, attempts, verdicts and recommendation without queue, database and files.

Every decision is that of a run with workers: the same state machine, first points, carried-over trials, verdict,
evidence and rule of the recommendation. The null test runs it in each surrogate market; simulations and tests that need
many whole runs use it, too.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import cast

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial
from pydantic import JsonValue

from optimizer.curriculum.attempts import at_attempt, relaxed_by
from optimizer.curriculum.earlier_choices import (
    EarlierChoice,
    Inheritance,
    choices_of,
    depends_until,
    inherit,
    window_before,
)
from optimizer.curriculum.inheritance import starting_points
from optimizer.curriculum.retry_plan import RetryPlan, plan_retry
from optimizer.curriculum.state_machine import (
    Attempt,
    LevelSpec,
    Recommend,
    RunFacts,
    RunOutcome,
    Search,
    next_action,
)
from optimizer.curriculum.warm_start import copied_trial
from optimizer.level.constraints import Analysis
from optimizer.level.spec import Level, Part
from optimizer.level.walk_forward import last_search, window_level
from optimizer.objective.objective import Read, prepare_level
from optimizer.search.in_process import search_in_process
from optimizer.search.methods.optuna_setup import trial_seed
from optimizer.search.space import search_space
from optimizer.validation.analyses.null_test import null_test_of
from optimizer.validation.analyses.surrogate_markets import surrogate
from optimizer.validation.attempt_findings import AttemptCase, AttemptFindings, PreviousLevel
from optimizer.validation.checks.mandate import mandate_checks
from optimizer.validation.evaluated_winner import EvaluatedWinner
from optimizer.validation.evidence import Evidence, NullRun, NullTest
from optimizer.validation.evidence_collection import (
    NOT_REACHED,
    counted_trials,
    daily_returns,
    gather_evidence,
    holdout_bars,
)
from optimizer.validation.recommendation import (
    Recommendation,
    examined_level,
    may_open_holdout,
    needs_null_test,
    recommend,
)
from optimizer.validation.verdict import judge_attempt
from optimizer.validation.walk_forward import SearchedWindow

NO_HOLDOUT = "no candles of the holdout period were given"
"""Reason why the holdout period was not opened, without a `read_holdout`."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class InProcessRun:
    """A finished run."""

    levels: tuple[Level, ...]
    """The levels as written."""
    attempts: tuple[InProcessAttempt, ...]
    """In the order they started."""
    outcome: RunOutcome
    last: str
    """The last level tried."""
    recommendation: Recommendation


def run_in_process(
    levels: Sequence[Level], seed: int, read: Read, read_holdout: Read | None, *, surrogates: int = 0
) -> InProcessRun:
    """Run a curriculum from its first level to its recommendation.

    `read`: candles of the levels; `read_holdout`: candles of the holdout period, None if there are none; `surrogates`:
    markets of the null test. Winners are not evaluated again, because their trials were evaluated by this process.

    Raises:
        SettingsError: a level cannot be searched.
        DataError: candles are missing or invalid.
    """
    run = _CurriculumRun(levels, seed, read)
    action = run.until_end()
    wanted = range(surrogates if needs_null_test(levels, run.verdicts()) else 0)
    null = null_test_of(levels, [run_surrogate(levels, seed, read, number) for number in wanted])
    return InProcessRun(
        levels=run.levels,
        attempts=tuple(run.attempts),
        outcome=action.outcome,
        last=action.level,
        recommendation=run.recommend(action, read_holdout, null),
    )


def run_surrogate(levels: Sequence[Level], seed: int, read: Read, number: int) -> NullRun:
    """Run the whole curriculum in surrogate market `number` of the null test; reproducible by seed.

    All levels read the same surrogate market, in order, with inheritance and retries, so that whatever one level learns
    of another's days is part of the null distribution. The analyses that decide nothing are left out.

    Raises:
        SettingsError: a level cannot be searched.
        DataError: candles are missing or invalid.
    """
    plain = [level.model_copy(update={"analyses": ()}) for level in levels]
    run = _CurriculumRun(plain, trial_seed(seed, number), surrogate(plain, read, [seed, number]))
    run.until_end()
    verdicts = run.verdicts()
    name = examined_level(plain, verdicts, plain[-1].name)
    skill = verdicts[name].skill if name in verdicts else None
    return NullRun(
        surrogate=number,
        t=skill.t if skill else 0.0,
        sharpe=skill.sharpe if skill else None,
        attempts=len(run.attempts),
        passed=tuple(level.name for level in plain if level.name in verdicts and verdicts[level.name].passed),
        mandate=all(check.met for check in mandate_checks(plain, verdicts)),
    )


class _CurriculumRun:
    """A run in progress."""

    def __init__(self, levels: Sequence[Level], seed: int, read: Read) -> None:
        self.levels, self.attempts = tuple(_without_regime_sets(level) for level in levels), list[InProcessAttempt]()
        self._written = {level.name: level for level in self.levels}
        self._seed, self._read = seed, read

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
            ready=frozenset(self._written),
        )

    def until_end(self) -> Recommend:
        """Search and judge until no level is left to search."""
        action = next_action(self.facts())
        while not isinstance(action, Recommend):
            if isinstance(action, Search):
                self.search(action.level, action.attempt)
            else:
                self.judge()
            action = next_action(self.facts())
        return action

    def verdicts(self) -> dict[str, AttemptFindings]:
        """The findings of each level's last attempt."""
        return {each.level.name: each.findings for each in self.attempts if each.findings}

    def search(self, name: str, number: int) -> None:
        """Run all trials of an attempt, with `walk_forward` window by window."""
        windows: list[SearchedWindow] = []
        retries = self._retries(name) if number > 1 else []
        for window in range(1, last_search(self._written[name])):
            windows.append(self._search(name, retries, window, windows)[0])
        last, inherited = self._search(name, retries, last_search(self._written[name]), windows)
        self.attempts.append(
            InProcessAttempt(
                level=at_attempt(self._written[name], number, inherited.parameters, retries),
                number=number,
                inherited=inherited,
                until=last.until,
                trials=last.trials,
                reused=last.reused,
                retries=retries,
                windows=windows,
            )
        )

    def _search(
        self, name: str, retries: Sequence[RetryPlan], number: int, windows: Sequence[SearchedWindow]
    ) -> tuple[SearchedWindow, Inheritance]:
        """Run search `number` of the attempt after these retries' plans, after those of these windows."""
        written, attempt = self._written[name], len(retries) + 1
        inherited = inherit(written, number, self._earlier_choices(name))
        level = window_level(at_attempt(written, attempt, inherited.parameters, retries), number)
        before = window_before(windows, number)
        choices = [before.parameters if before else None, inherited.parameters]
        space = search_space(level, self._seed, starting_points(level, attempt, choices, self._seed))
        reused = self._carried_over(name, number, level, space.distributions) if attempt > 1 else []
        searched = SearchedWindow(
            number=number,
            level=level,
            trials=search_in_process(level, space, prepare_level(level, Part.TRAIN, self._read), reused),
            reused=len(reused),
            until=depends_until(written, number, inherited, windows),
        )
        return searched, inherited

    def _retries(self, name: str) -> list[RetryPlan]:
        """The plans of all retries up to the next attempt at a level."""
        earlier = self._last(name)
        assert earlier.findings is not None, "a retry follows a verdict"
        return [*earlier.retries, plan_retry(earlier.level, earlier.number + 1, earlier.findings.facts)]

    def _carried_over(
        self, name: str, number: int, level: Level, distributions: Mapping[str, BaseDistribution]
    ) -> list[FrozenTrial]:
        """The trials of the same search of the attempt before, for this one."""
        earlier = self._last(name)
        trials = next((each.trials for each in earlier.windows if each.number == number), earlier.trials)
        return [copied_trial(each, distributions, was=earlier.level.gate, now=level.gate) for each in trials]

    def _earlier_choices(self, name: str) -> list[EarlierChoice]:
        """The choices of the nearest earlier level whose gate passed."""
        found = self._passed_before(name)
        if found is None or found.findings is None or found.findings.winner is None:
            return []
        return choices_of(found.level.name, found.windows, found.findings.winner.parameters, found.until)

    def judge(self) -> None:
        """Judge the last attempt."""
        attempt = self.attempts[-1]
        name = attempt.level.name
        case = AttemptCase(
            level=attempt.level,
            attempt=attempt.number,
            relaxed=relaxed_by(self._written[name], attempt.number),
            trials=attempt.trials,
            reused=attempt.reused,
            predecessor=self._previous(name),
            seed=self._seed,
            windows=attempt.windows,
        )
        findings = judge_attempt(case, self._read, on_access=_nothing, repeat=_nothing)
        self.attempts[-1] = replace(attempt, findings=findings)

    def recommend(self, action: Recommend, read_holdout: Read | None, null: NullTest | None) -> Recommendation:
        """Gather the evidence and apply the rule."""
        verdicts = self.verdicts()
        name = examined_level(self.levels, verdicts, action.level)
        far = may_open_holdout(self.levels, verdicts)
        found = verdicts[name].analyses if verdicts[name].winner else {}
        return recommend(
            outcome=action.outcome,
            levels=self.levels,
            verdicts=verdicts,
            forced=(),
            evidence=self._evidence(self._last(name), read_holdout, may_open=far),
            null_test=null,
            analyses={each: cast("Mapping[str, JsonValue]", found[each]) for each in Analysis if each in found},
        )

    def _evidence(self, attempt: InProcessAttempt, read_holdout: Read | None, *, may_open: bool) -> Evidence | None:
        winner = attempt.findings.winner if attempt.findings else None
        if winner is None:
            return None
        level = attempt.level
        subject = EvaluatedWinner(
            level=level,
            attempt=attempt.number,
            trial=winner.number,
            parameters=winner.parameters,
            size=winner.size,
            trials=attempt.trials,
            out_of_sample=attempt.findings.skill if attempt.findings else None,
            looks=[each.findings.skill for each in self.attempts if each.findings and each.findings.skill],
            trials_of_run=counted_trials(own for each in self.attempts for own in each.own_trials()),
            seed=self._seed,
            windows=[each.choice for each in attempt.windows],
        )
        prepared = {part: prepare_level(level, part, self._read) for part in level.parts}
        lacking = NOT_REACHED if not may_open else NO_HOLDOUT if read_holdout is None else None
        holdout = holdout_bars(level, read_holdout) if may_open and read_holdout else None
        return gather_evidence(
            subject,
            prepared,
            self._read,
            lambda sets: [daily_returns(level, prepared[Part.TRAIN], each) for each in sets],
            holdout,
            lacking,
        )

    def _last(self, name: str) -> InProcessAttempt:
        return next(each for each in reversed(self.attempts) if each.level.name == name)

    def _passed_before(self, name: str) -> InProcessAttempt | None:
        """The last attempt at the nearest earlier level whose gate passed; None if there is none."""
        names = [level.name for level in self.levels]
        found = [each for each in self.attempts if each.findings and each.findings.passed]
        earlier = [each for each in found if names.index(each.level.name) < names.index(name)]
        return max(earlier, key=lambda each: names.index(each.level.name), default=None)

    def _previous(self, name: str) -> PreviousLevel | None:
        """The nearest earlier level whose gate passed, with its winner; None if there is none."""
        last = self._passed_before(name)
        if last is None or last.findings is None or last.findings.winner is None:
            return None
        return PreviousLevel(level=last.level, winner=last.findings.winner.parameters, trials=last.trials)


def _without_regime_sets(level: Level) -> Level:
    """Return a level without the analysis that is reported and decides nothing."""
    kept = tuple(each for each in level.analyses if each is not Analysis.REGIME_SETS)
    return level.model_copy(update={"analyses": kept})


def _nothing(*_: object) -> None:
    """Do nothing: nothing is logged, and no trial is repeated."""
