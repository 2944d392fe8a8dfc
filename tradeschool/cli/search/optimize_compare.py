"""`tradeschool optimize compare`: compare two runs."""

from collections.abc import Sequence
from itertools import product

import click

from optimizer.curriculum.level_files import find_level
from optimizer.report.files import EQUITY_NAME, read_json
from optimizer.report.run_comparison import ComparedRun, comparison_json
from optimizer.runs.run_record import RunRecord
from tradeschool.app.context import load_settings
from tradeschool.app.search.search_run import context_of
from tradeschool.cli.options.output import json_option
from tradeschool.errors import SettingsError
from tradeschool.views.run_comparison import show_comparison
from tradeschool.views.terminal import print_json
from workers.coordinator.context import RunContext
from workers.coordinator.run import run_persistence


@click.command()
@click.argument("first", metavar="RUN")
@click.argument("second", metavar="RUN")
@click.option("--level", "level_names", multiple=True, help="Level; repeatable. [default: every level of both runs]")
@json_option
def compare(first: str, second: str, level_names: Sequence[str], *, as_json: bool) -> None:
    """Compare two runs: winners, metrics, gates, recommendations, candles, code and settings.

    Differences of daily metrics have a 95 % interval from the common days of both runs (paired stationary bootstrap).
    The command evaluates nothing and reads no prices.
    """
    context = context_of(load_settings())
    one, other = (_compared(context, name) for name in (first, second))
    levels = _levels(one.record, other.record, level_names)
    if not levels:
        raise SettingsError(f"runs {first} and {second} have no level of the same name")
    found = comparison_json(one, other, levels)
    if as_json:
        print_json(found)
    else:
        show_comparison(found)


def _compared(context: RunContext, name: str) -> ComparedRun:
    record = run_persistence.read_run(context, name)
    folder = context.folder(name)
    equity = {level.name: read_json(folder / level.name / EQUITY_NAME) for level in record.levels}
    return ComparedRun(record=record, equity=equity)


def _levels(one: RunRecord, other: RunRecord, chosen: Sequence[str]) -> list[str]:
    """Return the chosen levels, which both runs must have, or every level of both."""
    for record, name in product((one, other), chosen):
        find_level(name, record.levels)
    names = {level.name for level in other.levels}
    return [*dict.fromkeys(chosen)] or [level.name for level in one.levels if level.name in names]
