"""`tradeschool optimize`: run and resume parameter searches, list runs, export trials."""

from pathlib import Path

import click

from optimizer.search.trial_table import export as export_table
from optimizer.search.trial_table import table_rows
from tradeschool.app.context import load_settings
from tradeschool.app.search.recorded_search import find_search
from tradeschool.app.search.search_request import SearchOptions
from tradeschool.app.search.search_run import context_of, resume_run, search_new_run, show_end
from tradeschool.cli.options.output import json_option
from tradeschool.cli.options.recorded_search import attempt_option, level_option, run_argument, window_option
from tradeschool.cli.options.search import search_options, workers_option
from tradeschool.cli.search.optimize_compare import compare
from tradeschool.cli.search.optimize_list import list_
from tradeschool.cli.search.optimize_plan import plan
from tradeschool.cli.search.optimize_report import null, report
from tradeschool.cli.search.optimize_status import best, show, status, verify
from tradeschool.errors import StoreUnwritable
from tradeschool.views.spreadsheet import workbook
from tradeschool.views.terminal import say


@click.group()
def optimize() -> None:
    """Run parameter searches and inspect their results."""


optimize.add_command(plan)
optimize.add_command(list_)
optimize.add_command(status)
optimize.add_command(show)
optimize.add_command(best)
optimize.add_command(verify)
optimize.add_command(compare)
optimize.add_command(null)
optimize.add_command(report)


@optimize.command()
@search_options
@click.option("--run", "run_name", help="Run name. [default: from date, time and seed]")
@json_option
def run(run_name: str | None, *, as_json: bool, **options: object) -> None:
    """Search the levels of the curriculum one after the other.

    A level's winner must pass the gate before the next level starts. Exit code 0: every gate passed. Exit code 3: a
    gate failed, after all retries.
    """
    settings = load_settings()
    chosen = SearchOptions.of(options, settings)
    show_end(context_of(settings), search_new_run(settings, chosen, run_name), as_json=as_json)


@optimize.command()
@run_argument
@workers_option
@click.option("--force", is_flag=True, help="Resume even if code, settings or candles changed; the run records it.")
@json_option
def resume(run_name: str, workers: int | None, *, force: bool, as_json: bool) -> None:
    """Resume a run exactly where it stopped."""
    settings = load_settings()
    ended = resume_run(settings, run_name, workers, force=force)
    show_end(context_of(settings), ended, as_json=as_json)


@optimize.command()
@run_argument
@level_option
@attempt_option
@window_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["csv", "json", "parquet", "xlsx"]),
    default="csv",
    show_default=True,
    help="File format.",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Output file.")
def export(
    run_name: str, level_name: str | None, attempt: int | None, window: int | None, form: str, out: Path
) -> None:
    """Write the trial table of a search to a file.

    The same seed, data and settings give the same bytes.
    """
    trials = find_search(context_of(load_settings()), run_name, level_name, attempt, window).trials()
    content = workbook(table_rows(trials), "trials") if form == "xlsx" else export_table(trials, form)  # type: ignore[arg-type]  # click has checked it
    try:
        out.write_bytes(content)
    except OSError as error:
        raise StoreUnwritable(f"cannot write {out}: {error.strerror}") from error
    say(f"{len(trials):,} trials written to {out}")
