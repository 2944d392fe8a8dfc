"""`tradeschool optimize`: run and resume parameter searches, list runs, export trials."""

from contextlib import nullcontext
from pathlib import Path

import click

from optimizer.runs.run_store import RunRecord
from optimizer.search.study import read_trials
from optimizer.search.trial_table import export as export_table
from tradeschool.app.context import load_settings, redis_url_of
from tradeschool.app.notifications import notifications
from tradeschool.app.search.search_request import SearchOptions
from tradeschool.app.search.search_run import (
    begin,
    begun_trials,
    context_of,
    enough_workers,
    is_at_its_end,
    run_curriculum,
    strategies_of,
)
from tradeschool.app.search.strategy_isolation import keep_isolated_strategies
from tradeschool.cli.options.output import json_option
from tradeschool.cli.options.search import search_options, workers_option
from tradeschool.cli.search.optimize_plan import plan
from tradeschool.cli.search.optimize_report import null, report
from tradeschool.cli.search.optimize_status import best, show, status, verify
from tradeschool.errors import StoreUnwritable
from tradeschool.views.terminal import print_json, say
from workers.coordinator.run import run_record


@click.group()
def optimize() -> None:
    """Run parameter searches and inspect their results."""


optimize.add_command(plan)
optimize.add_command(status)
optimize.add_command(show)
optimize.add_command(best)
optimize.add_command(verify)
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
    keep_isolated_strategies(settings)
    chosen, context = SearchOptions(**options), context_of(settings)  # type: ignore[arg-type]  # click has checked them
    levels = chosen.levels()
    for level in levels:
        context.require_candles(level)
    name = begin(context, chosen, run_name)
    strategies = strategies_of(context, levels)
    with (
        notifications(settings),
        redis_url_of(settings) as url,
        enough_workers(url, chosen.workers, strategies, context.signer) as look,
    ):
        run_curriculum(context, name, url, look=look, as_json=as_json)


@optimize.command()
@click.argument("run_name", metavar="RUN")
@workers_option
@click.option("--force", is_flag=True, help="Resume even if code, settings or candles changed; the run records it.")
@json_option
def resume(run_name: str, workers: int | None, *, force: bool, as_json: bool) -> None:
    """Resume a run exactly where it stopped."""
    settings = load_settings()
    keep_isolated_strategies(settings)
    context = context_of(settings)
    record = run_record.resume(context, run_name, force=force)
    is_searched, strategies = is_at_its_end(context, record), strategies_of(context, record.levels)
    with (
        notifications(settings),
        redis_url_of(settings) as url,
        nullcontext(lambda: None) if is_searched else enough_workers(url, workers, strategies, context.signer) as look,
    ):
        run_curriculum(context, run_name, url, look=look, as_json=as_json)


@optimize.command(name="list")
@json_option
def list_runs(*, as_json: bool) -> None:
    """List all runs by name."""
    context = context_of(load_settings())
    with run_record.opened(context) as runs:
        found = runs.all()
    if as_json:
        print_json([_listed(each) for each in found])
        return
    for each in found:
        levels = ", ".join(level.name for level in each.levels)
        click.echo(f"{each.name}  created {each.created:%Y-%m-%d %H:%M} UTC  seed {each.seed}  levels {levels}")


@optimize.command()
@click.argument("run_name", metavar="RUN")
@click.option("--level", "level_name", help="Level. [default: the first]")
@click.option("--attempt", type=click.IntRange(1), help="Attempt. [default: the latest]")
@click.option(
    "--format",
    "form",
    type=click.Choice(["csv", "json", "parquet"]),
    default="csv",
    show_default=True,
    help="File format.",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Output file.")
def export(run_name: str, level_name: str | None, attempt: int | None, form: str, out: Path) -> None:
    """Write the trial table of a run to a file.

    The same seed, data and settings give the same bytes.
    """
    context = context_of(load_settings())
    record = run_record.read_run(context, run_name)
    row = begun_trials(record, level_name, attempt)
    trials = read_trials(context.storage_url, record.study(row.level, row.number))
    try:
        out.write_bytes(export_table(trials, form))  # type: ignore[arg-type]  # click has checked it
    except OSError as error:
        raise StoreUnwritable(f"cannot write {out}: {error.strerror}") from error
    say(f"{len(trials):,} trials written to {out}")


def _listed(record: RunRecord) -> dict[str, object]:
    return {
        "name": record.name,
        "seed": record.seed,
        "created": record.created.isoformat(),
        "levels": [level.name for level in record.levels],
        "fingerprints": record.fingerprints,
    }
