"""Gathers the evidence of an ended run for its recommendation: winner, trials, holdout period and analyses."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from optuna.trial import FrozenTrial
from pydantic import JsonValue

from optimizer.bars.preparation import Prepared
from optimizer.curriculum.state_machine import Recommend
from optimizer.level.constraints import Analysis
from optimizer.level.spec import Level, Part
from optimizer.objective.choices import Choice
from optimizer.objective.objective import prepare_level
from optimizer.report.files import read_json
from optimizer.runs.run_record import AttemptRow, Verdict, WindowRow
from optimizer.validation.evaluated_winner import EvaluatedWinner
from optimizer.validation.evidence import Evidence
from optimizer.validation.evidence_collection import (
    NOT_REACHED,
    Floats,
    counted_trials,
    daily_returns,
    gather_evidence,
    holdout_bars,
)
from optimizer.validation.holdout_log import HOLDOUT, holdout_days, log_access
from optimizer.validation.recommendation import Recommendation, examined_level, may_open_holdout, recommend
from tradeschool.store import Store
from workers.coordinator.recorded_run import RecordedRun
from workers.processes.process_group import ProcessGroup

SHARE = 8
"""Parameter sets per task of a process."""
_TRAIN: dict[tuple[str, Path], tuple[Level, Sequence[Prepared]]] = {}
"""The latest level by its JSON and the root of its candles, and its bars of train: the same for every share."""


def evaluate_run(run: RecordedRun, action: Recommend, processes: ProcessGroup) -> Recommendation:
    """The recommendation of an ended run; reads the holdout period if the run reached its last level, and logs it.

    Raises:
        DataError: Candles of the run are missing, or changed.
    """
    record = run.record
    judged = record.verdicts
    subject = _subject(run, action, judged)
    analyses = _analyses(run, subject.level.name) if subject else {}
    far = may_open_holdout(record.levels, judged)
    return recommend(
        outcome=action.outcome,
        levels=record.levels,
        verdicts=judged,
        forced=[each.what for each in record.forced],
        evidence=_evidence(run, subject, processes, may_open=far) if subject else None,
        null_test=record.null_test,
        analyses=analyses,
    )


def _subject(run: RecordedRun, action: Recommend, judged: Mapping[str, Verdict]) -> EvaluatedWinner | None:
    """The winner that is evaluated; None if no level has one."""
    record = run.record
    name = examined_level(record.levels, judged, action.level)
    row, verdict = record.last(name), judged[name]
    if row is None or verdict.trial is None or verdict.parameters is None:
        return None
    return EvaluatedWinner(
        level=record.searched_level(row),
        attempt=row.number,
        trial=verdict.trial,
        parameters=verdict.parameters,
        size=verdict.size,
        trials=run.trials(row),
        out_of_sample=verdict.skill,
        looks=[row.verdict.skill for row in record.attempts if row.verdict and row.verdict.skill],
        trials_of_run=counted_trials(own for each in record.attempts for own in _own_trials(run, each)),
        seed=record.seed,
        windows=[_choice(each) for each in row.windows],
    )


def _choice(window: WindowRow) -> Choice:
    return Choice(parameters=window.parameters, size=window.size)


def _own_trials(run: RecordedRun, row: AttemptRow) -> Iterator[Sequence[FrozenTrial]]:
    """Yield the trials of an attempt's search and of its windows, without those carried over."""
    yield run.trials(row)[row.reused :]
    for window in row.windows:
        yield run.trials(row, window)[window.reused :]


def _evidence(run: RecordedRun, subject: EvaluatedWinner, processes: ProcessGroup, *, may_open: bool) -> Evidence:
    context, level = run.context, subject.level
    context.require_candles(run.record.level(level.name))
    lacking = context.holdout_missing(level) if may_open else NOT_REACHED
    holdout = None
    if lacking is None:
        trials, now = [subject.trial], datetime.now(UTC)
        days = holdout_days(level)
        log_access(run.folder, HOLDOUT, level=level.name, attempt=subject.attempt, trials=trials, now=now, days=days)
        holdout = holdout_bars(level, context.holdout.arrays)
    store = context.searched(level)
    prepared = {part: prepare_level(level, part, store.arrays) for part in level.parts}
    return gather_evidence(
        subject, prepared, store.arrays, partial(_measure, processes, store, level), holdout, lacking
    )


def _measure(
    processes: ProcessGroup, store: Store, level: Level, parameters: Sequence[Mapping[str, float]]
) -> list[Floats]:
    shares = [parameters[start : start + SHARE] for start in range(0, len(parameters), SHARE)]
    found = processes.share(partial(_returns, level.model_dump_json(), store), shares)
    return [returns for share in found for returns in share]


def _returns(level: str, store: Store, parameters: Sequence[Mapping[str, float]]) -> list[Floats]:
    if (level, store.root) not in _TRAIN:
        searched = Level.model_validate_json(level)
        _TRAIN.clear()
        _TRAIN[level, store.root] = searched, prepare_level(searched, Part.TRAIN, store.arrays)
    searched, train = _TRAIN[level, store.root]
    return [daily_returns(searched, train, each) for each in parameters]


def _analyses(run: RecordedRun, level: str) -> dict[str, dict[str, JsonValue]]:
    """The analyses of a level in the run's folder."""
    found = {}
    for analysis in Analysis:
        content = read_json(run.folder / level / f"{analysis}.json")
        if isinstance(content, dict):
            found[analysis.value] = content
    return found
