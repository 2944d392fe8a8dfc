"""`tradeschool optimize null` and `report`: extend the null test, repeat the final checks, write the report."""

from collections.abc import Sequence

import click

from optimizer.curriculum.level_files import find_level
from optimizer.report.files import REPORT_NAME
from optimizer.runs.run_store import SURROGATES, RunRecord
from tradeschool.app.context import load_settings
from tradeschool.app.search import interrupts, place_of, standing_of
from tradeschool.app.strategy_isolation import keep_strategies_apart
from tradeschool.cli.options.output import json_option
from tradeschool.cli.options.search import MOST_SURROGATES
from tradeschool.cli.subcommands.optimize_status import run_argument
from tradeschool.errors import SettingsError
from tradeschool.views import run_status
from tradeschool.views.terminal import console, print_json, say
from tradeschool.views.trial_progress import tell_luck
from workers.coordinator import run_record
from workers.coordinator.context import Place
from workers.coordinator.curriculum_run import conclude_again
from workers.coordinator.finalize import Finale
from workers.coordinator.leadership import is_conducted
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
    type=click.IntRange(1, MOST_SURROGATES),
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
    keep_strategies_apart(settings)
    place = place_of(settings)
    record = run_record.read_run(place, run_name)
    judged = dict.fromkeys(row.level for row in record.attempts if row.verdict)
    levels = [find_level(name, record.levels).name for name in level_names] or [*judged]
    if not levels:
        raise SettingsError(f"run {run_name}: no level has a verdict yet; wait for one, or resume the run")
    record = _conclude(place, run_name, processes, levels=levels, surrogates=surrogates)
    found = {name: record.nulls[name] for name in levels}
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
    keep_strategies_apart(settings)
    place = place_of(settings)
    standing = standing_of(place, _conclude(place, run_name, processes))
    if standing.recommendation is None:
        raise SettingsError(f"run {run_name} is not finished: {standing.reason}")
    if as_json:
        print_json(as_result(standing))
    else:
        run_status.show_recommendation(standing.recommendation)
    say(f"report: {(place.folder(run_name) / REPORT_NAME).resolve()}")


def _conclude(
    place: Place, run_name: str, processes: int, *, levels: Sequence[str] = (), surrogates: int = 0
) -> RunRecord:
    if is_conducted(place.storage_url, run_name):
        say(f"run {run_name} is coordinated by another process; waiting for it")
    with interrupts() as stop:
        finale = Finale(processes=processes, tell=tell_luck())
        return conclude_again(place, run_name, finale, stop, levels=levels, surrogates=surrogates)
