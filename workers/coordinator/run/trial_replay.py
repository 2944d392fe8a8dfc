"""Replays a recorded trial on one part of its level.

Reading validation or test is refused before the run itself has read that part, and logged in the run's folder before
the first candle is read.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from optuna.trial import FrozenTrial, TrialState

from optimizer.backtest.buy_and_hold import buy_and_hold
from optimizer.backtest.costs import CostRates
from optimizer.backtest.result import BacktestRun
from optimizer.bars.preparation import Prepared
from optimizer.level.spec import Level, Part
from optimizer.objective.choices import Choice, trade_choices
from optimizer.objective.objective import evaluate_runs, prepare_level, stored_metrics
from optimizer.objective.trial_result import finite_or_none
from optimizer.runs.run_record import AttemptRow, RunRecord
from optimizer.validation.holdout_log import Days, log_access
from optimizer.validation.selection import choice_of
from tradeschool.errors import SettingsError
from workers.coordinator.context import RunContext
from workers.coordinator.recorded_run import RecordedRun
from workers.coordinator.run.run_persistence import changes

log = logging.getLogger(__name__)

Figures = Mapping[str, float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedTrial:
    """One trial of an attempt, and the part to replay it on."""

    record: RunRecord
    row: AttemptRow
    trial: FrozenTrial
    part: Part

    @property
    def level(self) -> Level:
        """The level as the attempt searched it."""
        return self.record.searched_level(self.row)

    @property
    def name(self) -> str:
        """Such as `trial 25 (the winner) of run r1, level 1, attempt 1, on train`."""
        winner = " (the winner)" if self.is_winner else ""
        return f"trial {self.trial.number}{winner} of run {self.record.name}, {_attempt(self.row)}, on {self.part}"

    @property
    def is_winner(self) -> bool:
        """Whether it is the attempt's winner."""
        return self.row.verdict is not None and self.row.verdict.trial == self.trial.number

    @property
    def choices(self) -> list[Choice]:
        """What trades the part: the trial, or on validation of a walk-forward the choice of each window."""
        if self.part is Part.VALIDATION and self.row.windows:
            return [Choice(parameters=each.parameters, size=each.size) for each in self.row.windows]
        return [choice_of(self.trial)]

    @property
    def datasets_run(self) -> int:
        """Number of datasets that its figures on this part cover; a pruned trial covers fewer on train."""
        is_cut = self.trial.state is TrialState.PRUNED and self.part is Part.TRAIN
        return len(self.trial.intermediate_values) if is_cut else len(self.level.datasets)

    @property
    def figures(self) -> Figures | None:
        """The recorded figures; None if the run has not evaluated this trial on this part."""
        if self.part is Part.TRAIN:
            found: Figures = self.trial.user_attrs["metrics"]
            return found
        verdict = self.row.verdict
        recorded = verdict.figures.get(self.part) if verdict and self.is_winner else None
        return {name: finite_or_none(value) for name, value in recorded.items()} if recorded else None

    def differences(self, found: Mapping[str, float]) -> list[str]:
        """The differences from the recorded figures, one phrase each; empty if none were recorded."""
        was = self.figures or {}
        now = {name: finite_or_none(value) for name, value in found.items()}
        return [f"{name} recorded {was[name]}, now {now[name]}" for name in was if was[name] != now[name]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayedTrial:
    """The bars of each dataset, the backtests and their benchmark."""

    prepared: Sequence[Prepared]
    runs: Sequence[BacktestRun]
    """At the size of the trial's account."""
    metrics: Mapping[str, float]
    benchmark: Sequence[BacktestRun]
    """Buy-and-hold on the same bars."""


def find_trial(run: RecordedRun, row: AttemptRow, number: int | None, part: Part) -> RecordedTrial:
    """A trial of an attempt; the winner if `number` is None.

    Raises:
        SettingsError: There is no such trial or no winner, it failed, or the part is not readable yet.
        ServiceUnreachable: The study's database does not answer.
    """
    record, trials = run.record, run.trials(row)
    chosen = _winner(record, row) if number is None else number
    if chosen >= len(trials):
        raise SettingsError(f"{_attempt(row)} of run {record.name} has {len(trials)} trials, numbered from 0")
    trial = trials[chosen]
    if trial.state is TrialState.FAIL:
        reason = trial.user_attrs.get("failure", "no reason was recorded")
        raise SettingsError(
            f"trial {chosen} of run {record.name}, {_attempt(row)}, failed and has no figures to reproduce: {reason}"
        )
    _require_opened(record, row, part)
    if row.windows and part is Part.VALIDATION and chosen != _winner(record, row):
        raise SettingsError(
            f"validation of {_attempt(row)} of run {record.name} is traded by the choices of its windows: leave out "
            "--trial"
        )
    return RecordedTrial(record=record, row=row, trial=trial, part=part)


def changed_since(context: RunContext, record: RunRecord) -> list[str]:
    """Changed inputs of a run, one phrase each; settings do not change figures and are left out."""
    found = changes(context, record)
    return [f"{name} was {was}, is {now}" for name, (was, now) in found.items() if name != "settings"]


def log_part_access(folder: Path, row: tuple[str, int], part: Part, trial: int, now: datetime, days: Days = ()) -> str:
    """Log an access to validation or test in the run's folder, and return a message on it; `row` is level and attempt.

    Raises:
        StoreUnwritable: The line cannot be written; the part must not be read.
    """
    level, attempt = row
    run = folder.name
    is_new = log_access(folder, part, level=level, attempt=attempt, trials=[trial], now=now, days=days)
    if is_new:
        log.info("part opened", extra={"action": "part_opened", "run": run, "part": part.value, "trial": trial})
    said = "written to" if is_new else "this look stands already in"
    return f"{part} of level {level} is opened with trial {trial}'s parameters: {said} holdout_log.jsonl of run {run}"


def replay_trial(context: RunContext, recorded: RecordedTrial) -> ReplayedTrial:
    """Backtest the trial on the same bars by the same rules; log accesses before, see `log_part_access`.

    Raises:
        DataError: Candles are missing or invalid.
    """
    level = recorded.level
    context.require_candles(level)
    prepared = prepare_level(level, recorded.part, context.searched(level).arrays)
    if recorded.part is Part.TRAIN:
        prepared = prepared[: recorded.datasets_run]
    runs = trade_choices(level, prepared, recorded.choices)
    stitched = evaluate_runs(level, runs, recorded.part).metrics if len(recorded.choices) > 1 else None
    return ReplayedTrial(
        prepared=prepared,
        runs=runs,
        metrics=stitched or stored_metrics(level, recorded.trial.params, runs),
        benchmark=[
            buy_and_hold(each, 1, CostRates.of(level.costs, each.dataset.instrument.market)) for each in prepared
        ],
    )


def _winner(record: RunRecord, row: AttemptRow) -> int:
    if row.verdict is None:
        raise SettingsError(
            f"{_attempt(row)} of run {record.name} has no winner yet: it is not judged; name a trial: --trial N"
        )
    if row.verdict.trial is None:
        raise SettingsError(
            f"{_attempt(row)} of run {record.name} has no winner: {row.verdict.reason}; name a trial: --trial N"
        )
    return row.verdict.trial


def _require_opened(record: RunRecord, row: AttemptRow, part: Part) -> None:
    """Validation and test are readable once the attempt is judged and has a winner."""
    if part is Part.TRAIN:
        return
    if row.verdict is None:
        why = "it is opened when the attempt is judged"
    elif row.verdict.trial is None:
        why = row.verdict.reason
    else:
        return
    raise SettingsError(f"{part} of {_attempt(row)} of run {record.name} stays closed: {why}")


def _attempt(row: AttemptRow) -> str:
    return f"level {row.level}, attempt {row.number}"
