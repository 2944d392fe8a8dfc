"""`tradeschool optimize null` and `report`: extend the null test, repeat the final checks, write the report."""

from collections.abc import Sequence

import click

from optimizer.curriculum.level_files import find_level
from optimizer.report.files import REPORT_NAME
from optimizer.runs.run_store import SURROGATES, RunRecord
from tradeschool.app.context import load_settings
from tradeschool.app.search.search_run import context_of, interrupts, run_status_of
from tradeschool.app.search.strategy_isolation import keep_isolated_strategies
from tradeschool.cli.options.output import json_option
from tradeschool.cli.options.search import MAX_SURROGATES
from tradeschool.cli.search.optimize_status import run_argument
from tradeschool.errors import SettingsError
from tradeschool.views import run_status
from tradeschool.views.terminal import console, print_json, say
from tradeschool.views.trial_progress import show_null_test
from workers.coordinator.context import RunContext
from workers.coordinator.leadership import has_leader
from workers.coordinator.run import run_record
from workers.coordinator.run.curriculum_run import finalize_again
from workers.coordinator.run.finalize import FinalizeOptions
from workers.monitoring.run_status_json import as_result
from workers.processes.process_group import cores

processes_option = click.option(
    "-j",
    "--processes",
    type=click.IntRange(1),
    default=cores,
    show_default="one per core",
    help="Number of parallel processes.",
)


@click.command()
@run_argument
@click.option("--level", "level_names", multiple=True, help="Level; repeatable. [default: every level with a verdict]")
@click.option(
    "--surrogates",
    type=click.IntRange(1, MAX_SURROGATES),
    default=SURROGATES,
    show_default=True,
    help="Number of surrogate markets per level.",
)
@processes_option
@json_option
def null(run_name: str, level_names: Sequence[str], surrogates: int, processes: int, *, as_json: bool) -> None:
    """Run the null test: estimate the false-positive rate.

    The test repeats the search of a level on surrogate markets without skill and counts how many pass the same gate.
    More surrogates narrow the confidence interval; earlier ones are reused. The recommendation of a finished run is
    updated.
    """
    settings = load_settings()
    keep_isolated_strategies(settings)
    context = context_of(settings)
    record = run_record.read_run(context, run_name)
    judged = dict.fromkeys(row.level for row in record.attempts if row.verdict)
    levels = [find_level(name, record.levels).name for name in level_names] or [*judged]
    if not levels:
        raise SettingsError(f"run {run_name}: no level has a verdict yet; wait for one, or resume the run")
    record = _finalize(context, run_name, processes, levels=levels, surrogates=surrogates)
    found = {name: record.null_tests[name] for name in levels}
    if as_json:
        print_json({name: each.model_dump(mode="json") for name, each in found.items()})
        return
    for name, each in found.items():
        console().print(f"level {name}: {each.sentence}")


@click.command()
@run_argument
@processes_option
@json_option
def report(run_name: str, processes: int, *, as_json: bool) -> None:
    """Repeat the final checks of a finished run and write its report.

    The holdout period is included once its candles are sealed.
    """
    settings = load_settings()
    keep_isolated_strategies(settings)
    context = context_of(settings)
    status = run_status_of(context, _finalize(context, run_name, processes))
    if status.recommendation is None:
        raise SettingsError(f"run {run_name} is not finished: {status.reason}")
    if as_json:
        print_json(as_result(status))
    else:
        run_status.show_recommendation(status.recommendation)
    say(f"report: {(context.folder(run_name) / REPORT_NAME).resolve()}")


def _finalize(
    context: RunContext, run_name: str, processes: int, *, levels: Sequence[str] = (), surrogates: int = 0
) -> RunRecord:
    if has_leader(context.storage_url, run_name):
        say(f"run {run_name} is coordinated by another process; waiting for it")
    with interrupts() as stop:
        options = FinalizeOptions(processes=processes, on_null_test=show_null_test())
        return finalize_again(context, run_name, options, stop, levels=levels, surrogates=surrogates)
