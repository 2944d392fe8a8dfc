"""`tradeschool optimize`: run and resume parameter searches, list runs, export trials."""

from pathlib import Path

import click

from optimizer.runs.run_record import RunRecord
from optimizer.search.trial_table import export as export_table
from tradeschool.app.context import load_settings
from tradeschool.app.search.recorded_search import find_search
from tradeschool.app.search.search_request import SearchOptions
from tradeschool.app.search.search_run import context_of, resume_run, search_new_run, show_end
from tradeschool.cli.options.output import json_option
from tradeschool.cli.options.recorded_search import attempt_option, level_option, run_argument, window_option
from tradeschool.cli.options.search import search_options, workers_option
from tradeschool.cli.search.optimize_compare import compare
from tradeschool.cli.search.optimize_plan import plan
from tradeschool.cli.search.optimize_report import null, report
from tradeschool.cli.search.optimize_status import best, show, status, verify
from tradeschool.errors import StoreUnwritable
from tradeschool.views.terminal import print_json, say
from workers.coordinator.run import run_persistence


@click.group()
def optimize() -> None:
    """Run parameter searches and inspect their results."""


optimize.add_command(plan)
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


@optimize.command(name="list")
@json_option
def list_runs(*, as_json: bool) -> None:
    """List all runs by name."""
    context = context_of(load_settings())
    with run_persistence.opened(context) as runs:
        found = runs.all()
    if as_json:
        print_json([_listed(each) for each in found])
        return
    for each in found:
        levels = ", ".join(level.name for level in each.levels)
        created = f"{each.created:%Y-%m-%d %H:%M} UTC"
        click.echo(f"{each.name}  created {created}  seed {each.seed}  levels {levels}  {_methods(each)}")


@optimize.command()
@run_argument
@level_option
@attempt_option
@window_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["csv", "json", "parquet"]),
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
    try:
        out.write_bytes(export_table(trials, form))  # type: ignore[arg-type]  # click has checked it
    except OSError as error:
        raise StoreUnwritable(f"cannot write {out}: {error.strerror}") from error
    say(f"{len(trials):,} trials written to {out}")


def _methods(record: RunRecord) -> str:
    """Return objective, sampler and pruner, by level if they differ."""
    methods = {level.name: level.search_methods for level in record.levels}
    if len(set(methods.values())) == 1:
        return record.levels[0].search_methods
    return "; ".join(f"level {name}: {found}" for name, found in methods.items())


def _listed(record: RunRecord) -> dict[str, object]:
    return {
        "name": record.name,
        "seed": record.seed,
        "created": record.created.isoformat(),
        "levels": [level.name for level in record.levels],
        "search": {
            level.name: {
                "objective": [*level.objective],
                "sampler": str(level.used_sampler),
                "pruner": str(level.used_pruner),
            }
            for level in record.levels
        },
        "fingerprints": record.fingerprints,
    }
