"""How a run stands: each level's attempts, trials, best so far, gate and time left, and what comes next.

Told by the run's row in the database and its studies, to commands, page, metrics and messages alike.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import JsonValue, ValidationError

from optimizer.curriculum.state_machine import Action, End, Judge, Outcome, Recommend, Search, Wait
from optimizer.level.spec import Level, Part
from optimizer.report.files import EQUITY_NAME, REPORT_NAME
from optimizer.runs.live_reader import StudyWatch
from optimizer.runs.run_store import AttemptRow, RunRecord, Verdict
from optimizer.search.trial_summary import SeenTrial
from optimizer.validation.evidence import Null
from optimizer.validation.gate import Reading, gate_readings
from optimizer.validation.recommendation import Recommendation
from workers.coordinator.context import Place
from workers.coordinator.leadership import is_conducted
from workers.coordinator.run_record import end_reason, next_of
from workers.monitoring.snapshot import Snapshot
from workers.monitoring.stall_detection import Stall
from workers.monitoring.trial_counts import Tally, tally


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptStanding:
    """One attempt at a level: one study."""

    row: AttemptRow
    study: str
    level: Level
    """As the attempt searches it: a retry has more trials and wider ranges than what is written."""
    tally: Tally
    stall: Stall | None = None
    """Why no trial of it can end; None where one can, or that is not known."""

    @property
    def eta_seconds(self) -> float | None:
        """Until the last trial; 0 of a search that was stopped before it, None where nothing moves."""
        if self.row.searched:
            return 0.0
        return None if self.stall else self.tally.eta_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelStanding:
    """One level of a run."""

    level: Level
    """As it is written."""
    state: str
    """waiting, searching, judging, passed or missed."""
    attempts: tuple[AttemptStanding, ...]
    """In order; the last one is the one that counts."""
    has_equity: bool
    """Whether the winner's equity was written down."""
    null: Null | None
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
    def gate(self) -> Sequence[Reading]:
        """Each criterion on validation once it was judged; before, on train of the best trial so far."""
        if self.verdict:
            return self.verdict.readings
        return _gate_on_train(self.level, self.attempts[-1].tally.best if self.attempts else None)

    @property
    def gate_part(self) -> Part:
        """Which part the gate was read on."""
        return Part.VALIDATION if self.verdict else Part.TRAIN


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One run."""

    record: RunRecord
    levels: tuple[LevelStanding, ...]
    action: Action
    """What comes next."""
    at_work: bool
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
    def attempts(self) -> list[AttemptStanding]:
        """Of all levels, in the order in which they were begun."""
        return [attempt for level in self.levels for attempt in level.attempts]

    @property
    def current(self) -> LevelStanding:
        """The level that is waited for, searched or judged; the last one that was tried where all is over."""
        return next(level for level in self.levels if level.name == self.action.level)

    @property
    def outcome(self) -> Outcome | None:
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


def stand(place: Place, record: RunRecord, studies: StudyWatch, now: float) -> Standing:
    """How a run stands at a moment, in Unix seconds; looking changes nothing.

    Raises:
        ServiceUnreachable: where the study's database does not answer.
        ForeignFile: where the seals of candles that the run needs next cannot be read.
    """
    folder, action = place.folder(record.name), next_of(place, record)
    return Standing(
        record=record,
        levels=tuple(_level(record, level, action, folder, studies, now) for level in record.levels),
        action=action,
        at_work=not isinstance(action, End) and is_conducted(place.storage_url, record.name),
        recommendation=record.recommendation,
        has_report=(folder / REPORT_NAME).is_file(),
    )


def with_queue(standing: Standing, queue: Snapshot | None) -> Standing:
    """The same, with what the queue tells of its search; unchanged where the queue cannot be seen."""
    stall = queue.stall if queue and standing.at_work and isinstance(standing.action, Search) else None
    if stall is None:
        return standing
    return replace(standing, stall=stall, levels=tuple(_stalled(level, stall) for level in standing.levels))


def _stalled(level: LevelStanding, stall: Stall) -> LevelStanding:
    if level.state != "searching":
        return level
    return replace(level, attempts=tuple(replace(attempt, stall=stall) for attempt in level.attempts))


def _level(
    record: RunRecord, level: Level, action: Action, folder: Path, studies: StudyWatch, now: float
) -> LevelStanding:
    rows = [row for row in record.attempts if row.level == level.name]
    return LevelStanding(
        level=level,
        state=_state(level, rows, action),
        attempts=tuple(_attempt(record, row, studies, now) for row in rows),
        has_equity=(folder / level.name / EQUITY_NAME).is_file(),
        null=record.nulls.get(level.name),
    )


def _attempt(record: RunRecord, row: AttemptRow, studies: StudyWatch, now: float) -> AttemptStanding:
    study = record.study(row.level, row.number)
    level = _searched(record.level(row.level), studies.facts(study).get("level"))
    found = tally(studies.trials(study), carried=row.carried, wanted=level.trials, now=now)
    return AttemptStanding(row=row, study=study, level=level, tally=found)


def _searched(level: Level, stored: JsonValue) -> Level:
    """The level as the study keeps it: to work it out takes the strategy, which need not be where somebody looks."""
    try:
        return Level.model_validate(stored) if stored else level
    except ValidationError:
        return level


def _state(level: Level, rows: Sequence[AttemptRow], action: Action) -> str:
    if action.level == level.name and not isinstance(action, Recommend | End):
        return {Wait: "waiting", Search: "searching", Judge: "judging"}[type(action)]
    if not rows or rows[-1].verdict is None:
        return "waiting"
    return "passed" if rows[-1].verdict.passed else "missed"


def _gate_on_train(level: Level, best: SeenTrial | None) -> Sequence[Reading]:
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
