"""How a run stands: each level's attempts, trials, best so far, gate and time left, and what comes next.

Told by the run's row in the database and its studies, to commands, page, metrics and messages alike.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import JsonValue, ValidationError

from optimizer.curriculum.state_machine import End, Judge, NextAction, Recommend, RunOutcome, Search, Wait
from optimizer.level.spec import Level, Part
from optimizer.report.files import EQUITY_NAME, REPORT_NAME
from optimizer.runs.live_reader import StudyWatch
from optimizer.runs.run_store import AttemptRow, RunRecord, Verdict
from optimizer.search.trial_summary import TrialView
from optimizer.validation.evidence import NullTest
from optimizer.validation.gate import Criterion, gate_readings
from optimizer.validation.recommendation import Recommendation
from workers.coordinator.context import RunContext
from workers.coordinator.leadership import has_leader
from workers.coordinator.run_record import end_reason, next_of
from workers.monitoring.snapshot import Snapshot
from workers.monitoring.stall_detection import Stall
from workers.monitoring.trial_counts import TrialCounts, count_trials


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptStatus:
    """One attempt at a level: one study."""

    row: AttemptRow
    study: str
    level: Level
    """As the attempt searches it: a retry has more trials and wider ranges than what is written."""
    counts: TrialCounts
    stall: Stall | None = None
    """Why no trial of it can end; None where one can, or that is not known."""

    @property
    def eta_seconds(self) -> float | None:
        """Until the last trial; 0 of a search that was stopped before it, None where nothing moves."""
        if self.row.searched:
            return 0.0
        return None if self.stall else self.counts.eta_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelStatus:
    """One level of a run."""

    level: Level
    """As it is written."""
    state: str
    """waiting, searching, validating, passed or failed."""
    attempts: tuple[AttemptStatus, ...]
    """In order; the last one is the one that counts."""
    has_equity: bool
    """Whether the winner's equity was written down."""
    null_test: NullTest | None
    """What the same search finds where there is no skill; None where it was not asked."""

    @property
    def name(self) -> str:
        """Of the level."""
        return self.level.name

    @property
    def verdict(self) -> Verdict | None:
        """On the attempt that counts; None before it was judged."""
        return self.attempts[-1].row.verdict if self.attempts else None

    @property
    def gate(self) -> Sequence[Criterion]:
        """Each criterion on validation once it was judged; before, on train of the best trial so far."""
        if self.verdict:
            return self.verdict.readings
        return _gate_on_train(self.level, self.attempts[-1].counts.best if self.attempts else None)

    @property
    def gate_part(self) -> Part:
        """Which part the gate was read on."""
        return Part.VALIDATION if self.verdict else Part.TRAIN


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStatus:
    """One run."""

    record: RunRecord
    levels: tuple[LevelStatus, ...]
    action: NextAction
    """What comes next."""
    is_active: bool
    """Whether some process is at work on it."""
    recommendation: Recommendation | None
    """What the run came to; None before its end."""
    has_report: bool
    stall: Stall | None = None
    """Why its search cannot go on; None where it can, nothing is searched, or that is not known."""

    @property
    def name(self) -> str:
        """Of the run."""
        return self.record.name

    @property
    def attempts(self) -> list[AttemptStatus]:
        """Of all levels, in the order in which they were begun."""
        return [attempt for level in self.levels for attempt in level.attempts]

    @property
    def current(self) -> LevelStatus:
        """The level that is waited for, searched or judged; the last one that was tried where all is over."""
        return next(level for level in self.levels if level.name == self.action.level)

    @property
    def outcome(self) -> RunOutcome | None:
        """None where the run is not at its end."""
        return self.action.outcome if isinstance(self.action, End) else None

    @property
    def reason(self) -> str:
        """How the run ended, or what it does next, in a sentence."""
        match self.action:
            case End(outcome, level):
                return end_reason(self.record, outcome, level)
            case Recommend():
                return "next: weigh what the levels came to"
            case Wait(level):
                return f"next: wait for the candles of level {level}"
            case Search(level, attempt) | Judge(level, attempt) as action:
                return f"next: {type(action).__name__.lower()} level {level}, attempt {attempt}"


def read_run_status(context: RunContext, record: RunRecord, studies: StudyWatch, now: float) -> RunStatus:
    """How a run stands at a moment, in Unix seconds; looking changes nothing.

    Raises:
        ServiceUnreachable: where the study's database does not answer.
        ForeignFile: where the seals of candles that the run needs next cannot be read.
    """
    folder, action = context.folder(record.name), next_of(context, record)
    return RunStatus(
        record=record,
        levels=tuple(_level(record, level, action, folder, studies, now) for level in record.levels),
        action=action,
        is_active=not isinstance(action, End) and has_leader(context.storage_url, record.name),
        recommendation=record.recommendation,
        has_report=(folder / REPORT_NAME).is_file(),
    )


def with_queue(status: RunStatus, queue: Snapshot | None) -> RunStatus:
    """The same, with what the queue tells of its search; unchanged where the queue cannot be seen."""
    stall = queue.stall if queue and status.is_active and isinstance(status.action, Search) else None
    if stall is None:
        return status
    return replace(status, stall=stall, levels=tuple(_stall_of(level, stall) for level in status.levels))


def _stall_of(level: LevelStatus, stall: Stall) -> LevelStatus:
    if level.state != "searching":
        return level
    return replace(level, attempts=tuple(replace(attempt, stall=stall) for attempt in level.attempts))


def _level(
    record: RunRecord, level: Level, action: NextAction, folder: Path, studies: StudyWatch, now: float
) -> LevelStatus:
    rows = [row for row in record.attempts if row.level == level.name]
    return LevelStatus(
        level=level,
        state=_state(level, rows, action),
        attempts=tuple(_attempt(record, row, studies, now) for row in rows),
        has_equity=(folder / level.name / EQUITY_NAME).is_file(),
        null_test=record.null_tests.get(level.name),
    )


def _attempt(record: RunRecord, row: AttemptRow, studies: StudyWatch, now: float) -> AttemptStatus:
    study = record.study(row.level, row.number)
    level = _searched(record.level(row.level), studies.facts(study).get("level"))
    found = count_trials(studies.trials(study), reused=row.reused, wanted=level.trials, now=now)
    return AttemptStatus(row=row, study=study, level=level, counts=found)


def _searched(level: Level, stored: JsonValue) -> Level:
    """The level as the study keeps it: to work it out takes the strategy, which need not be where somebody looks."""
    try:
        return Level.model_validate(stored) if stored else level
    except ValidationError:
        return level


def _state(level: Level, rows: Sequence[AttemptRow], action: NextAction) -> str:
    if action.level == level.name and not isinstance(action, Recommend | End):
        return {Wait: "waiting", Search: "searching", Judge: "validating"}[type(action)]
    if not rows or rows[-1].verdict is None:
        return "waiting"
    return "passed" if rows[-1].verdict.passed else "failed"


def _gate_on_train(level: Level, best: TrialView | None) -> Sequence[Criterion]:
    """Of nothing where there is no trial, or one whose figures are not what a gate asks for."""
    figures = best.metrics if best else {}
    known = {name: math.nan if value is None else value for name, value in figures.items()}
    try:
        return gate_readings(level, _Known(known), Part.TRAIN)
    except (KeyError, TypeError):
        return ()


class _Known(dict[str, float]):
    """Figures that were not measured are no numbers."""

    def __missing__(self, key: str) -> float:
        return math.nan
