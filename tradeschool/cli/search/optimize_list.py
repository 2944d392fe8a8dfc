"""`tradeschool optimize list`: list runs, or the trials of one run, filtered and sorted."""

from pathlib import Path
from typing import Any

import click
from optuna.trial import FrozenTrial, TrialState
from rich.table import Table

from optimizer.runs.run_record import RunRecord
from optimizer.search.trial_table import table_file, trial_rows
from optimizer.search.trials import is_feasible
from tradeschool.app.context import load_settings
from tradeschool.app.search.recorded_search import find_search
from tradeschool.app.search.search_run import context_of
from tradeschool.app.search.trial_filter import NUMBER, STATES, Bound, TrialFilter, figures_of
from tradeschool.cli.options.output import print_json_option
from tradeschool.cli.options.recorded_search import (
    attempt_option,
    level_option,
    optional_run_argument,
    window_option,
)
from tradeschool.errors import SettingsError, StoreUnwritable
from tradeschool.views import run_status
from tradeschool.views.terminal import console, print_json, say
from workers.coordinator.context import RunContext
from workers.coordinator.run import run_persistence

SHOWN = ("trades", "win_rate", "profit_factor", "sharpe", "max_drawdown_intrabar", "cagr")
"""Metrics of the table."""
FRACTIONS = ("win_rate", "max_drawdown_intrabar", "cagr")
SHORTHANDS = {
    "min_trades": ("trades", False),
    "max_trades": ("trades", True),
    "min_sharpe": ("sharpe", False),
    "max_drawdown": ("max_drawdown", True),
}
"""Options that are a bound of one metric: the metric, and whether the bound is an upper one."""


@click.command(name="list")
@optional_run_argument
@level_option
@attempt_option
@window_option
@click.option("--best", "only_best", is_flag=True, help="Only trials that were the best feasible one so far.")
@click.option("--profitable", "only_profitable", is_flag=True, help="Only trials with a profit factor above 1.")
@click.option("--feasible", "only_feasible", is_flag=True, help="Only complete trials that meet every constraint.")
@click.option("--state", "states", type=click.Choice(STATES), multiple=True, help="Only this state; repeatable.")
@click.option("--min-trades", type=click.IntRange(0), help="Minimum number of trades.")
@click.option("--max-trades", type=click.IntRange(0), help="Maximum number of trades.")
@click.option("--min-sharpe", type=float, help="Minimum Sharpe ratio.")
@click.option("--max-drawdown", type=click.FloatRange(0, 1), help="Maximum drawdown of daily closes, as a fraction.")
@click.option("--min", "minima", multiple=True, help="Minimum of any metric or parameter: calmar=0.5; repeatable.")
@click.option("--max", "maxima", multiple=True, help="Maximum of any metric or parameter: fast=20; repeatable.")
@click.option(
    "--sort", default=NUMBER, show_default=True, help="Metric, parameter, value or seconds, the best first; or number."
)
@click.option("--reverse", "is_reversed", is_flag=True, help="Reverse the order.")
@click.option("-n", "--count", type=click.IntRange(1), help="Maximum number of trials. [default: all]")
@click.option("--export-csv", type=click.Path(path_type=Path), help="Write the listed trials to a CSV file.")
@print_json_option
def list_(run_name: str | None, export_csv: Path | None, *, as_json: bool, **options: Any) -> None:
    """List all runs, or with RUN the trials of its search.

    All metrics are those on train. Trials that lack a figure do not meet a bound of it.
    """
    context = context_of(load_settings())
    which = {name: options.pop(f"{name}_name" if name == "level" else name) for name in ("level", "attempt", "window")}
    chosen = _filter(options)
    if run_name is None:
        if export_csv or any(which.values()) or chosen != TrialFilter():
            raise SettingsError("these options list the trials of one run: name it: tradeschool optimize list RUN")
        _list_runs(context, as_json=as_json)
        return
    found = chosen.select(find_search(context, run_name, **which).trials())
    if export_csv:
        _write_csv(export_csv, found)
    if as_json:
        rows = {row["number"]: row for row in trial_rows(found)}
        print_json([{**rows[trial.number], "feasible": _feasible(trial)} for trial in found])
    else:
        _show(run_name, found)


def _filter(options: dict[str, Any]) -> TrialFilter:
    """Return the filter that the options mean."""
    bounds = [
        Bound(name=metric, value=value, is_upper=is_upper)
        for name, (metric, is_upper) in SHORTHANDS.items()
        if (value := options.pop(name)) is not None
    ]
    bounds += [Bound.of(text, is_upper=False) for text in options.pop("minima")]
    bounds += [Bound.of(text, is_upper=True) for text in options.pop("maxima")]
    return TrialFilter(bounds=tuple(bounds), **options)


def _show(run_name: str, trials: list[FrozenTrial]) -> None:
    if not trials:
        console().print("no trial matches")
        return
    names = [name for name in dict.fromkeys(name for trial in trials for name in figures_of(trial)) if name in SHOWN]
    table = Table("trial", "state", "objective", *(name.replace("_", " ") for name in names), "feasible", "parameters")
    for trial in trials:
        figures = figures_of(trial)
        value = run_status.values_line(trial) if trial.values else "-"
        table.add_row(
            str(trial.number),
            trial.state.name.lower(),
            value,
            *(_cell(name, figures.get(name)) for name in names),
            _word(_feasible(trial)),
            run_status.parameters_line(trial.params),
        )
    console().print(table)
    say(f"{_count(trials)}; show one: tradeschool optimize show {run_name} TRIAL")


def _cell(name: str, value: float | None) -> str:
    if value is None:
        return "-"
    if name in FRACTIONS:
        return f"{value:.1%}"
    return f"{value:.0f}" if name == "trades" else f"{value:.3f}"


def _feasible(trial: FrozenTrial) -> bool | None:
    """Return whether a complete trial meets all constraints; None for other trials."""
    return is_feasible(trial) if trial.state is TrialState.COMPLETE else None


def _word(is_met: bool | None) -> str:
    return {True: "yes", False: "no", None: "-"}[is_met]


def _write_csv(path: Path, trials: list[FrozenTrial]) -> None:
    """Write the rows in the listed order; `trial_rows` sorts by number."""
    rows = {row["number"]: row for row in trial_rows(trials)}
    try:
        path.write_bytes(table_file([rows[trial.number] for trial in trials], "csv"))
    except OSError as error:
        raise StoreUnwritable(f"cannot write {path}: {error.strerror}") from error
    say(f"{_count(trials)} written to {path}")


def _count(trials: list[FrozenTrial]) -> str:
    return f"{len(trials):,} trial{'' if len(trials) == 1 else 's'}"


def _list_runs(context: RunContext, *, as_json: bool) -> None:
    with run_persistence.opened(context) as runs:
        found = runs.all()
    if as_json:
        print_json([_listed(each) for each in found])
        return
    for each in found:
        levels = ", ".join(level.name for level in each.levels)
        created = f"{each.created:%Y-%m-%d %H:%M} UTC"
        click.echo(f"{each.name}  created {created}  seed {each.seed}  levels {levels}  {_methods(each)}")


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
