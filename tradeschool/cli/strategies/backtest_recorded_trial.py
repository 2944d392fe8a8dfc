"""`tradeschool backtest --run`: repeat a recorded trial and compare its metrics with the recorded ones."""

from dataclasses import dataclass

from optimizer.backtest.result import DatasetBacktest
from optimizer.level.spec import Part
from optimizer.strategies.protocol import load, repaired
from optimizer.validation.holdout_log import part_days
from tradeschool.app.context import load_settings
from tradeschool.app.search.recorded_search import begun_attempt
from tradeschool.app.search.search_run import context_of
from tradeschool.app.search.strategy_isolation import load_here
from tradeschool.errors import TrialDiffers
from tradeschool.views.backtest_result import OutputFiles, as_object, show
from tradeschool.views.terminal import now, print_json, say
from workers.coordinator.recorded_run import RecordedRun
from workers.coordinator.run import run_persistence
from workers.coordinator.run.trial_replay import RecordedTrial, changed_since, find_trial, log_part_access, replay_trial


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialSelection:
    """Selection of a trial and a part of the data."""

    run: str
    level: str | None
    attempt: int | None
    part: Part
    trial: int | None


def show_replayed_trial(wanted: TrialSelection, outputs: OutputFiles, *, as_json: bool) -> None:
    """Repeat a trial, print its metrics and compare them with the recorded ones.

    Raises:
        SettingsError: If the run, level, attempt or trial does not exist, or the part must not be read.
        TrialDiffers: If a metric differs from the recorded one.
        DataError: If candles are missing or invalid.
    """
    context = context_of(load_settings())
    record = run_persistence.read_run(context, wanted.run)
    row = begun_attempt(record, wanted.level, wanted.attempt)
    load_here(record.level(row.level).strategy)
    recorded = find_trial(RecordedRun(context=context, record=record), row, wanted.trial, wanted.part)
    for change in changed_since(context, record):
        say(f"changed since run {record.name} started: {change}")
    if wanted.part is not Part.TRAIN:
        days = part_days(recorded.level, wanted.part)
        attempt = (row.level, row.number)
        say(log_part_access(context.folder(record.name), attempt, wanted.part, recorded.trial.number, now(), days))
    found = replay_trial(context, recorded)
    tested = [
        DatasetBacktest(prepared=prepared, run=run, benchmark=held)
        for prepared, run, held in zip(found.prepared, found.runs, found.benchmark, strict=True)
    ]
    differences = recorded.differences(found.metrics)
    outputs.write(recorded.name, tested)
    _print(recorded, tested, differences, as_json=as_json)
    if differences:
        raise TrialDiffers(f"{recorded.name} is not reproducible: {'; '.join(differences[:3])}")


def _print(recorded: RecordedTrial, tested: list[DatasetBacktest], differences: list[str], *, as_json: bool) -> None:
    level, trial = recorded.level, recorded.trial
    parameters = repaired(load(level.strategy), trial.params)
    if as_json:
        print_json(
            {
                "run": recorded.record.name,
                "level": level.name,
                "attempt": recorded.row.number,
                "trial": trial.number,
                "is_winner": recorded.is_winner,
                "state": trial.state.name.lower(),
                "part": recorded.part.value,
                "strategy": level.strategy,
                "direction": level.direction.value,
                "parameters": trial.params,
                **as_object(tested),
                "recorded": recorded.figures,
                "differences": differences,
            }
        )
    else:
        show(load(level.strategy), parameters, tested)
    for line in _remarks(recorded, is_same=not differences):
        say(line)


def _remarks(recorded: RecordedTrial, *, is_same: bool) -> list[str]:
    """Return remarks about the metrics: pruning, and whether they equal the recorded ones."""
    lines, trial = [], recorded.trial
    if "pruned" in trial.user_attrs:
        where = "metrics cover these" if recorded.part is Part.TRAIN else "metrics here cover all"
        ran = f"{len(trial.intermediate_values)} of {len(recorded.level.datasets)} datasets"
        lines.append(f"trial {trial.number} was pruned on train after {ran}, {trial.user_attrs['pruned']}: {where}")
    if recorded.figures is None:
        lines.append(f"{recorded.name}: no recorded metrics to compare with")
    elif is_same:
        lines.append(f"{recorded.name}: all metrics equal the recorded ones exactly")
    return lines
