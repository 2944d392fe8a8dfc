"""Run status: attempts, trial counts, best trial, gate and ETA of each level, and the next action.

It is read from the run's record and its studies. Commands, page, metrics and notifications use the same object.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import JsonValue, ValidationError

from optimizer.curriculum.state_machine import End, Judge, NextAction, Recommend, RunOutcome, Search, Wait
from optimizer.level.spec import Level, Part
from optimizer.level.walk_forward import last_search, window_level, window_numbers
from optimizer.report.files import EQUITY_NAME, REPORT_NAME
from optimizer.runs.live_reader import StudyWatch
from optimizer.runs.run_record import AttemptRow, RunRecord, Verdict, WindowRow
from optimizer.search.trial_summary import TrialView
from optimizer.validation.gate import Criterion, gate_readings
from optimizer.validation.recommendation import Recommendation, needs_null_test
from workers.coordinator.context import RunContext
from workers.coordinator.leadership import has_leader
from workers.coordinator.run.finalize import NULL_TEST_NAME, read_null_runs
from workers.coordinator.run.run_persistence import end_reason, next_of
from workers.monitoring.snapshot import Snapshot
from workers.monitoring.stall_detection import Stall, eta_seconds
from workers.monitoring.trial_counts import TrialCounts, count_trials


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptStatus:
    """Status of one attempt at a level; each attempt has one study, and with `walk_forward` one more per window."""

    row: AttemptRow
    study: str
    """The study that is searched now; after the search the attempt's own."""
    level: Level
    """The level as that study searches it; a retry has more trials and wider ranges than the level file."""
    counts: TrialCounts
    window: int | None = None
    """The window of that study; None for the attempt's own."""
    later: int = 0
    """Number of trials of the attempt's searches after that study."""
    stall: Stall | None = None
    """Reason why its trials cannot finish; None if they can, or if the queue is not available."""

    @property
    def reused(self) -> int:
        """Number of trials at the start of that study that were carried over."""
        window = self.row.window(self.window) if self.window else None
        return (window or self.row).reused

    @property
    def eta_seconds(self) -> float | None:
        """Seconds until the last trial; 0 if the search has ended, None if it is stalled or has no pace yet."""
        if self.row.searched:
            return 0.0
        if self.stall:
            return None
        left = self.counts.trials - self.counts.finished + self.later
        return eta_seconds(left, self.counts.pace_per_minute, self.counts.idle_seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelStatus:
    """Status of one level of a run."""

    level: Level
    """The level as the level file defines it."""
    state: str
    """waiting, searching, validating, passed, failed, or skipped because an earlier level failed for good."""
    attempts: tuple[AttemptStatus, ...]
    """In order of time; the last attempt decides the level."""
    has_equity: bool
    """Whether the equity curve of the selected trial was saved."""

    @property
    def name(self) -> str:
        """Name of the level."""
        return self.level.name

    @property
    def verdict(self) -> Verdict | None:
        """Verdict on the last attempt; None before it was validated."""
        return self.attempts[-1].row.verdict if self.attempts else None

    @property
    def gate(self) -> Sequence[Criterion]:
        """Gate criteria: on validation if there is a verdict, else on train for the best trial so far."""
        if self.verdict:
            return self.verdict.readings
        return _gate_on_train(self.level, self.attempts[-1].counts.best if self.attempts else None)

    @property
    def gate_part(self) -> Part:
        """Part of the data to which `gate` refers."""
        return Part.VALIDATION if self.verdict else Part.TRAIN


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStatus:
    """Status of one run."""

    record: RunRecord
    levels: tuple[LevelStatus, ...]
    action: NextAction
    """Next action of the run."""
    is_active: bool
    """Whether a coordinator process holds the lock of the run."""
    recommendation: Recommendation | None
    """Recommendation at the end of the run; None before."""
    has_report: bool
    null_finished: int = 0
    """Surrogate markets of the null test that are finished."""
    stall: Stall | None = None
    """Reason why the search is stalled; None if it is not, no level is searched, or the queue is not available."""

    @property
    def name(self) -> str:
        """Name of the run."""
        return self.record.name

    @property
    def attempts(self) -> list[AttemptStatus]:
        """Attempts of all levels, in order of their start."""
        return [attempt for level in self.levels for attempt in level.attempts]

    @property
    def current(self) -> LevelStatus:
        """Level of the next action; after the end of the run, the last level that was tried."""
        return next(level for level in self.levels if level.name == self.action.level)

    @property
    def outcome(self) -> RunOutcome | None:
        """Outcome of the run; None before its end."""
        return self.action.outcome if isinstance(self.action, End) else None

    @property
    def is_in_null_test(self) -> bool:
        """Whether surrogate markets are evaluated next, by the same workers as trials."""
        return isinstance(self.action, Recommend) and self.is_active and self.null_finished < self.null_planned

    @property
    def null_planned(self) -> int:
        """Planned surrogate markets of the null test; 0 if it cannot matter."""
        record = self.record
        planned = record.surrogates if needs_null_test(record.levels, record.verdicts) else 0
        return max(planned, self.null_finished)

    @property
    def reason(self) -> str:
        """Sentence on how the run ended, or on its next action."""
        match self.action:
            case End(outcome, level):
                return end_reason(self.record, outcome, level)
            case Recommend() if self.null_finished < self.null_planned:
                return f"next: null test, {self.null_finished} of {self.null_planned} surrogate markets are finished"
            case Recommend():
                return "next: make the recommendation from the level results"
            case Wait(level):
                return f"next: wait for the candles of level {level}"
            case Search(level, attempt) | Judge(level, attempt) as action:
                return f"next: {type(action).__name__.lower()} level {level}, attempt {attempt}"


def read_run_status(context: RunContext, record: RunRecord, studies: StudyWatch, now: float) -> RunStatus:
    """Return the status of a run at `now` (Unix time in seconds). Read-only.

    Raises:
        ServiceUnreachable: The database does not answer.
        ForeignFile: The seal of a dataset that the run needs next is not readable.
    """
    folder, action = context.folder(record.name), next_of(context, record)
    return RunStatus(
        record=record,
        levels=tuple(_level(record, level, action, folder, studies, now) for level in record.levels),
        action=action,
        is_active=not isinstance(action, End) and has_leader(context.storage_url, record.name),
        recommendation=record.recommendation,
        has_report=(folder / REPORT_NAME).is_file(),
        null_finished=len(read_null_runs(folder / NULL_TEST_NAME)),
    )


def with_queue(status: RunStatus, queue: Snapshot | None) -> RunStatus:
    """Return the status with the stall of the queue; unchanged if the queue is not available or not stalled."""
    is_queued = isinstance(status.action, Search) or status.is_in_null_test
    stall = queue.stall if queue and status.is_active and is_queued else None
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
        state=_state(record, level, rows, action),
        attempts=tuple(_attempt(record, row, studies, now) for row in rows),
        has_equity=(folder / level.name / EQUITY_NAME).is_file(),
    )


def _attempt(record: RunRecord, row: AttemptRow, studies: StudyWatch, now: float) -> AttemptStatus:
    written, window = record.level(row.level), _searched_window(record, row)
    study = record.study(row.level, row.number, window.number if window else None)
    searched = window_level(written, window.number if window else last_search(written))
    level = _searched(searched, studies.facts(study).get("level"))
    reused = (window or row).reused
    found = count_trials(studies.trials(study), reused=reused, wanted=level.trials, now=now)
    return AttemptStatus(
        row=row,
        study=study,
        window=window.number if window else None,
        level=level,
        counts=found,
        later=_trials_after(written, window),
    )


def _searched_window(record: RunRecord, row: AttemptRow) -> WindowRow | None:
    """Return the window that is searched now, or the latest one before the next begins; None if all are searched."""
    last = max(row.windows, key=lambda each: each.number, default=None)
    if last is None or row.searched or (last.searched and last.number == len(window_numbers(record.level(row.level)))):
        return None
    return last


def _trials_after(level: Level, window: WindowRow | None) -> int:
    """Return the trials of all searches after a window's, without those that a retry adds."""
    return (
        sum(window_level(level, number).trials for number in range(window.number + 1, last_search(level) + 1))
        if (window)
        else 0
    )


def _searched(level: Level, stored: JsonValue) -> Level:
    """Return the level that the study stores. Deriving it requires the strategy, which may not be installed here."""
    try:
        return Level.model_validate(stored) if stored else level
    except ValidationError:
        return level


def _state(record: RunRecord, level: Level, rows: Sequence[AttemptRow], action: NextAction) -> str:
    if action.level == level.name and not isinstance(action, Recommend | End):
        return {Wait: "waiting", Search: "searching", Judge: "validating"}[type(action)]
    if not rows or rows[-1].verdict is None:
        return "skipped" if _is_skipped(record, level) else "waiting"
    return "passed" if rows[-1].verdict.passed else "failed"


def _is_skipped(record: RunRecord, level: Level) -> bool:
    """Whether an earlier level failed all attempts; only the last level is tried after that."""
    for earlier in record.levels[: record.levels.index(level)]:
        verdicts = [row.verdict for row in record.attempts if row.level == earlier.name and row.verdict]
        if len(verdicts) > earlier.retries and not verdicts[-1].passed:
            return level != record.levels[-1]
    return False


def _gate_on_train(level: Level, best: TrialView | None) -> Sequence[Criterion]:
    """Return the gate criteria on the train part; empty without a trial, or if its metrics do not fit the gate."""
    figures = best.metrics if best else {}
    known = {name: math.nan if value is None else value for name, value in figures.items()}
    try:
        return gate_readings(level, _Known(known), Part.TRAIN)
    except (KeyError, TypeError):
        return ()


class _Known(dict[str, float]):
    """Metrics of a trial; a missing metric is NaN."""

    def __missing__(self, key: str) -> float:
        return math.nan
