"""Curriculum in this process: levels, attempts, verdicts and recommendation without queue, database and files.

Every decision is that of a run with workers: the same state machine, first points, carried-over trials, verdict,
evidence and rule of the recommendation. The null test runs it in each surrogate market; simulations and tests that need
many whole runs use it, too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial
from pydantic import JsonValue

from optimizer.bars.held_bars import HeldBars
from optimizer.curriculum.attempts import at_attempt, relaxed_by
from optimizer.curriculum.earlier_choices import (
    Inheritance,
    depends_until,
    inherit,
    window_before,
)
from optimizer.curriculum.inheritance import starting_points
from optimizer.curriculum.retry_plan import RetryPlan
from optimizer.curriculum.state_machine import (
    Recommend,
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
from optimizer.validation.attempt_findings import AttemptCase
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
from optimizer.validation.in_process.attempt_history import AttemptHistory, InProcessAttempt
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
    wanted = range(surrogates if needs_null_test(levels, run.history.verdicts()) else 0)
    null = null_test_of(levels, [run_surrogate(levels, seed, read, number) for number in wanted])
    return InProcessRun(
        levels=run.history.levels,
        attempts=tuple(run.history.attempts),
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
    run = _CurriculumRun(plain, trial_seed(seed, number), surrogate(plain, read, [seed, number]), is_brief=True)
    run.until_end()
    verdicts = run.history.verdicts()
    name = examined_level(plain, verdicts, plain[-1].name)
    skill = verdicts[name].skill if name in verdicts else None
    return NullRun(
        surrogate=number,
        t=skill.t if skill else 0.0,
        sharpe=skill.sharpe if skill else None,
        attempts=len(run.history.attempts),
        passed=tuple(level.name for level in plain if level.name in verdicts and verdicts[level.name].passed),
        mandate=all(check.met for check in mandate_checks(plain, verdicts)),
    )


class _CurriculumRun:
    """A run in progress."""

    def __init__(self, levels: Sequence[Level], seed: int, read: Read, *, is_brief: bool = False) -> None:
        """`is_brief`: whether its verdicts leave out what decides nothing."""
        self._is_brief = is_brief
        self.history = AttemptHistory([_without_regime_sets(level) for level in levels])
        self._written = {level.name: level for level in self.history.levels}
        windows = [
            (each.source, level.window(each, Part.TRAIN)) for level in self.history.levels for each in level.datasets
        ]
        self._seed, self._read = seed, HeldBars(read, windows)

    def until_end(self) -> Recommend:
        """Search and judge until no level is left to search."""
        action = next_action(self.history.facts())
        while not isinstance(action, Recommend):
            if isinstance(action, Search):
                self.search(action.level, action.attempt)
            else:
                self.judge()
            action = next_action(self.history.facts())
        return action

    def search(self, name: str, number: int) -> None:
        """Run all trials of an attempt, with `walk_forward` window by window."""
        windows: list[SearchedWindow] = []
        retries = self.history.retries_of(name) if number > 1 else []
        for window in range(1, last_search(self._written[name])):
            windows.append(self._search(name, retries, window, windows)[0])
        last, inherited = self._search(name, retries, last_search(self._written[name]), windows)
        self.history.attempts.append(
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
        inherited = inherit(written, number, self.history.earlier_choices(name))
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

    def _carried_over(
        self, name: str, number: int, level: Level, distributions: Mapping[str, BaseDistribution]
    ) -> list[FrozenTrial]:
        """The trials of the same search of the attempt before, for this one."""
        earlier = self.history.last(name)
        trials = next((each.trials for each in earlier.windows if each.number == number), earlier.trials)
        return [copied_trial(each, distributions, was=earlier.level.gate, now=level.gate) for each in trials]

    def judge(self) -> None:
        """Judge the last attempt."""
        attempt = self.history.attempts[-1]
        name = attempt.level.name
        case = AttemptCase(
            level=attempt.level,
            attempt=attempt.number,
            relaxed=relaxed_by(self._written[name], attempt.number),
            trials=attempt.trials,
            reused=attempt.reused,
            predecessor=self.history.previous(name),
            seed=self._seed,
            windows=attempt.windows,
            is_brief=self._is_brief,
        )
        findings = judge_attempt(case, self._read, on_access=_nothing, repeat=_nothing)
        self.history.attempts[-1] = replace(attempt, findings=findings)

    def recommend(self, action: Recommend, read_holdout: Read | None, null: NullTest | None) -> Recommendation:
        """Gather the evidence and apply the rule."""
        verdicts = self.history.verdicts()
        name = examined_level(self.history.levels, verdicts, action.level)
        far = may_open_holdout(self.history.levels, verdicts)
        found = verdicts[name].analyses if verdicts[name].winner else {}
        return recommend(
            outcome=action.outcome,
            levels=self.history.levels,
            verdicts=verdicts,
            forced=(),
            evidence=self._evidence(self.history.last(name), read_holdout, may_open=far),
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
            looks=[each.findings.skill for each in self.history.attempts if each.findings and each.findings.skill],
            trials_of_run=counted_trials(own for each in self.history.attempts for own in each.own_trials()),
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


def _without_regime_sets(level: Level) -> Level:
    """Return a level without the analysis that is reported and decides nothing."""
    kept = tuple(each for each in level.analyses if each is not Analysis.REGIME_SETS)
    return level.model_copy(update={"analyses": kept})


def _nothing(*_: object) -> None:
    """Do nothing: nothing is logged, and no trial is repeated."""
