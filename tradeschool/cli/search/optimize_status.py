"""`tradeschool optimize status`, `show`, `best` and `verify`: inspect a run and reproduce its trials."""

import math
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import click
from optuna.trial import FrozenTrial
from rich.table import Table

from optimizer.level.metric_names import RISK_METRICS
from optimizer.level.spec import Part
from optimizer.objective.objective import prepare_level
from optimizer.report.contents import retry_json
from optimizer.runs import fingerprint
from optimizer.runs.run_record import RunRecord
from optimizer.search.trial_table import named_values, trial_rows
from optimizer.validation.labels import label
from optimizer.validation.selection import ranked
from tradeschool.app.context import load_settings
from tradeschool.app.monitoring import sources_of
from tradeschool.app.search.recorded_search import RecordedSearch, begun_attempt, find_search
from tradeschool.app.search.search_run import context_of, run_status_of
from tradeschool.app.search.strategy_isolation import load_code_here
from tradeschool.cli.options.output import json_option, print_json_option
from tradeschool.cli.options.recorded_search import attempt_option, level_option, run_argument, window_option
from tradeschool.errors import SettingsError, TrialDiffers
from tradeschool.settings.model import Settings
from tradeschool.views import run_status
from tradeschool.views.terminal import console, print_json
from workers.coordinator.context import RunContext
from workers.coordinator.run import run_persistence
from workers.coordinator.run.attempt_verdict import verify as verify_trial
from workers.monitoring.overview import Overview
from workers.monitoring.run_status import with_queue
from workers.monitoring.run_status_json import as_result
from workers.monitoring.snapshot import Snapshot


@click.command()
@click.argument("run_name", metavar="[RUN]", required=False)
@json_option
def status(run_name: str | None, *, as_json: bool) -> None:
    """Show attempts, trials, best trial, gate and ETA of each level.

    RUN is the latest run by default.
    """
    settings = load_settings()
    context = context_of(settings)
    found = run_status_of(context, run_persistence.read_run(context, run_name or _latest(context)))
    queue = _queue(settings) if found.is_active else None
    found = with_queue(found, queue)
    if as_json:
        print_json(as_result(found))
        return
    run_status.show(found)
    if found.outcome is None and not found.is_active:
        console().print(f"run {found.name} is not running; resume it: tradeschool optimize resume {found.name}")
    if found.stall:
        console().print(f"stalled: {found.stall.sentence()}")
    if queue and queue.advice:
        console().print(queue.advice)


def _queue(settings: Settings) -> Snapshot | None:
    """Return the queue's state without starting a server; None if no server runs."""
    with closing(Overview(sources_of(settings), is_quiet=True)) as overview:
        return overview.queue().value


@click.command()
@run_argument
@click.argument("number", metavar="[TRIAL]", type=click.IntRange(0), required=False)
@click.option("-n", "--index", type=int, help="Number of the trial, like TRIAL; -1 is the last one.")
@level_option
@attempt_option
@window_option
@print_json_option
def show(run_name: str, number: int | None, index: int | None, *, as_json: bool, **which: Any) -> None:
    """Show parameters, constraints and metrics of one trial, and what its attempt changed if it is a retry.

    Without a trial, the best feasible one is shown.
    """
    level_name, attempt, window = (which[name] for name in ("level_name", "attempt", "window"))
    search = find_search(context_of(load_settings()), run_name, level_name, attempt, window)
    row, trial = search.row, _chosen(search, number, index)
    if as_json:
        retry = {"retry": retry_json(row.retry)} if row.retry else {}
        print_json({**trial_rows([trial])[0], **retry})
        return
    if row.retry:
        console().print(f"attempt {row.number}: {row.retry.reason}")
    run_status.show_trial(trial)


def _chosen(search: RecordedSearch, number: int | None, index: int | None) -> FrozenTrial:
    """Return the trial of the argument or the option; without both the best feasible one."""
    if number is not None and index is not None and number != index:
        raise SettingsError(f"TRIAL is {number} and --index is {index}; give one of them")
    wanted = index if number is None else number
    if wanted is None:
        best_trials = ranked(search.trials())
        if not best_trials:
            raise SettingsError(f"{search.name} has no feasible trial; list all: tradeschool optimize list RUN")
        return best_trials[0]
    if wanted >= 0:
        return search.trials_with(wanted)[wanted]
    trials = search.trials()
    if len(trials) + wanted < 0:
        raise SettingsError(f"{search.name} has {len(trials)} trials; --index {wanted} is before the first one")
    return trials[wanted]


@click.command()
@click.argument("run_names", metavar="RUN...", nargs=-1, required=True)
@level_option
@click.option("-n", "--count", type=click.IntRange(1), default=10, show_default=True, help="Trials per run.")
@click.option("--force", is_flag=True, help="Compare runs even if their code, settings or candles differ.")
@print_json_option
def best(run_names: Sequence[str], level_name: str | None, count: int, *, force: bool, as_json: bool) -> None:
    """Show the best feasible trials of one or several runs.

    Trials are ranked by their objective on train; with several objectives, those of the Pareto front by its rule.
    """
    context = context_of(load_settings())
    compared = [run_persistence.read_run(context, name) for name in run_names]
    if not force:
        for other in compared[1:]:
            _refuse_to_compare(compared[0], other)
    found = [
        (record.name, trial)
        for record in compared
        for trial in ranked(find_search(context, record.name, level_name).trials_with(0))[:count]
    ]
    objectives = [record.level(begun_attempt(record, level_name, None).level).objective for record in compared]
    if len(set(objectives)) > 1:
        told = "; ".join(", ".join(each) for each in objectives)
        raise SettingsError(f"the runs have different objectives: {told}; show each run alone")
    if len(objectives[0]) == 1:
        found.sort(key=lambda pair: -(pair[1].value or 0.0))
    if as_json:
        print_json([_ranked_json(name, trial) for name, trial in found])
        return
    if not found:
        console().print("no feasible trial: every trial violated a constraint on train")
        return
    figures = [name for name in RISK_METRICS if any(name in trial.user_attrs["metrics"] for _, trial in found)]
    table = Table("run", "trial", *(f"{label(name)} on train" for name in objectives[0]), *figures, "parameters")
    for name, trial in found:
        sizes = [trial.user_attrs["metrics"].get(each, math.nan) for each in figures]
        values = [f"{value:.3f}" for value in (*trial.values, *sizes)]
        table.add_row(name, str(trial.number), *values, run_status.parameters_line(trial.params))
    console().print(table)


@click.command()
@run_argument
@click.argument("number", metavar="TRIAL", type=click.IntRange(0))
@level_option
@attempt_option
@window_option
@json_option
def verify(
    run_name: str, number: int, level_name: str | None, attempt: int | None, window: int | None, *, as_json: bool
) -> None:
    """Reproduce a trial and compare it byte for byte.

    The trial is sampled and evaluated again in this process. Exit code 1: the result differs.
    """
    search = find_search(context_of(load_settings()), run_name, level_name, attempt, window)
    search.trials_with(number)
    context, level = search.run.context, search.level
    context.require_candles(level)
    load_code_here(level)
    train = prepare_level(level, Part.TRAIN, context.searched(level).arrays)
    said = [str(each) for each in verify_trial(search.run, search.row, number, train, search.window)]
    if as_json:
        chosen = {"run": run_name, "level": level.name, "attempt": search.row.number, "window": window}
        print_json({**chosen, "trial": number, "same": not said, "differences": said})
    if said:
        raise TrialDiffers(f"trial {number} of {search.name} is not reproducible: {'; '.join(said[:3])}")
    if not as_json:
        console().print(f"trial {number} of {search.name}: reproduced, byte for byte")


def _ranked_json(run: str, trial: FrozenTrial) -> dict[str, object]:
    value = {"value": trial.value} if len(trial.values) == 1 else {"values": named_values(trial)}
    sizes = {name: trial.user_attrs["metrics"][name] for name in RISK_METRICS if name in trial.user_attrs["metrics"]}
    return {"run": run, "trial": trial.number, **value, **sizes, "params": trial.params}


def _latest(context: RunContext) -> str:
    with run_persistence.opened(context) as runs:
        found = runs.all()
    if not found:
        raise SettingsError("no run exists yet; start one: tradeschool optimize run")
    return max(found, key=lambda record: record.created).name


def _refuse_to_compare(one: RunRecord, other: RunRecord) -> None:
    found = fingerprint.changes({**one.fingerprints, **one.candles}, {**other.fingerprints, **other.candles})
    if found:
        said = "; ".join(f"{what} is {was} and {now}" for what, (was, now) in found.items())
        raise SettingsError(f"runs {one.name} and {other.name} are not comparable: {said}; use --force to compare them")
