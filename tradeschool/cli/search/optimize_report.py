"""`tradeschool optimize null` and `report`: extend the null test, repeat the final checks, write the report."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import click

from optimizer.report.files import REPORT_JSON_NAME, REPORT_NAME, read_json
from optimizer.report.returns_file import returns_file, returns_table
from optimizer.runs.run_record import SURROGATES, RunRecord
from tradeschool.app.context import load_settings
from tradeschool.app.search.search_request import LIMITS
from tradeschool.app.search.search_run import context_of, interrupts, run_status_of, services, with_look
from tradeschool.app.search.strategy_isolation import isolation, keep_isolated_strategies
from tradeschool.cli.options.output import json_option
from tradeschool.cli.options.recorded_search import run_argument
from tradeschool.cli.options.search import workers_option
from tradeschool.errors import SettingsError, StoreUnwritable
from tradeschool.settings.model import Settings
from tradeschool.views import run_status
from tradeschool.views.terminal import console, print_json, say
from tradeschool.views.trial_progress import show_null_test
from workers.coordinator.context import RunContext
from workers.coordinator.leadership import has_leader
from workers.coordinator.run import run_persistence
from workers.coordinator.run.curriculum_run import finalize_again
from workers.coordinator.run.finalize import FinalizeOptions
from workers.coordinator.run.level_search import DispatcherFactory, queue_dispatchers
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
@click.option(
    "--surrogates",
    type=click.IntRange(1, LIMITS["surrogates"][1]),
    default=SURROGATES,
    show_default=True,
    help="Number of surrogate markets.",
)
@workers_option
@json_option
def null(run_name: str, surrogates: int, workers: int | None, *, as_json: bool) -> None:
    """Run the null test: repeat the curriculum without skill.

    Each job on the queue repeats the whole curriculum in one surrogate market without skill. More surrogate markets
    allow a smaller p-value; earlier ones are reused. The recommendation of a finished run is updated.
    """
    settings = load_settings()
    with isolation(settings):
        context = context_of(settings)
        record = run_persistence.read_run(context, run_name)
        if not record.verdicts:
            raise SettingsError(f"run {run_name}: no level has a verdict yet; wait for one, or resume the run")
        with services(settings, context, record.levels, workers) as (url, look):
            options = FinalizeOptions(on_null_test=with_look(show_null_test(), look))
            record = _finalize(queue_dispatchers(context, url), context, run_name, options, surrogates=surrogates)
    found = record.null_test
    if found is None:
        raise SettingsError(f"run {run_name}: every surrogate market was given up; see the log of the workers")
    if as_json:
        print_json({**found.model_dump(mode="json"), "sentence": found.sentence})
    else:
        console().print(found.sentence)


@click.command()
@run_argument
@processes_option
@click.option(
    "--quantstats",
    type=click.Path(path_type=Path),
    help="Only write daily returns out of sample to this .csv or .parquet file: date, strategy, benchmark, part.",
)
@click.option("--svg", type=click.Path(path_type=Path), help="Only write all plots of the report to this folder.")
@click.option("--level", "level_name", help="With --quantstats: level. [default: the evaluated one]")
@json_option
def report(
    run_name: str, processes: int, quantstats: Path | None, svg: Path | None, level_name: str | None, *, as_json: bool
) -> None:
    """Repeat the final checks of a finished run and write its report.

    The holdout period is included once its candles are sealed. With --quantstats or --svg, the files are written from
    the report that exists, and nothing is evaluated.
    """
    settings = load_settings()
    if level_name and not quantstats:
        raise SettingsError(f"--level {level_name}: it chooses the level of --quantstats, which is not given")
    if quantstats or svg:
        content = _existing_report(settings, run_name)
        written = [
            str(path) for path in (*_write_returns(content, quantstats, level_name), *_write_plots(content, svg))
        ]
        for path in written:
            say(f"written: {path}")
        if as_json:
            print_json({"written": written})
        return
    keep_isolated_strategies(settings)
    context = context_of(settings)
    status = run_status_of(context, _finalize(_no_queue, context, run_name, FinalizeOptions(processes=processes)))
    if status.recommendation is None:
        raise SettingsError(f"run {run_name} is not finished: {status.reason}")
    if as_json:
        print_json(as_result(status))
    else:
        run_status.show_recommendation(status.recommendation)
    say(f"report: {(context.folder(run_name) / REPORT_NAME).resolve()}")


def _existing_report(settings: Settings, run_name: str) -> Mapping[str, Any]:
    context = context_of(settings)
    run_persistence.read_run(context, run_name)
    found = read_json(context.folder(run_name) / REPORT_JSON_NAME)
    if not isinstance(found, dict):
        raise SettingsError(f"run {run_name} has no report yet; write it: tradeschool optimize report {run_name}")
    return found


def _write_returns(content: Mapping[str, Any], path: Path | None, level: str | None) -> Iterator[Path]:
    if path:
        _write(path, returns_file(returns_table(content, level), path))
        yield path


def _write_plots(content: Mapping[str, Any], folder: Path | None) -> Iterator[Path]:
    if folder:
        from optimizer.report.plots.plot_set import report_plots  # imports matplotlib

        for plot in report_plots(content):
            path = folder / f"{plot.name}.svg"
            _write(path, plot.svg)
            yield path


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        raise StoreUnwritable(f"cannot write {path}: {error.strerror}") from error


def _finalize(
    dispatchers: DispatcherFactory, context: RunContext, run_name: str, options: FinalizeOptions, *, surrogates: int = 0
) -> RunRecord:
    if has_leader(context.storage_url, run_name):
        say(f"run {run_name} is coordinated by another process; waiting for it")
    with interrupts() as stop:
        return finalize_again(dispatchers, context, run_name, options, stop, surrogates=surrogates)


def _no_queue(study: str) -> NoReturn:
    raise AssertionError(f"{study}: a report sends no job")
