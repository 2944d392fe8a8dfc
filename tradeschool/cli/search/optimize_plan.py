"""`tradeschool optimize plan`: show the data split and the trials of a run without running it."""

from collections.abc import Iterator

import click
from rich.table import Table

from optimizer.curriculum.plan import PlannedPart, plan_level
from optimizer.curriculum.retry_plan import trials_by_attempt
from optimizer.level.searched_store import closed_for
from optimizer.level.spec import Level, Part
from optimizer.level.walk_forward import window_level
from optimizer.search.methods.requirements import check_sampler
from tradeschool.app.context import load_settings
from tradeschool.app.search.search_request import SearchOptions
from tradeschool.app.search.search_run import context_of
from tradeschool.app.search.strategy_isolation import keep_isolated_strategies
from tradeschool.cli.options.output import json_option
from tradeschool.cli.options.search import search_options
from tradeschool.views.terminal import console, print_json


@click.command()
@search_options
@json_option
def plan(*, as_json: bool, **options: object) -> None:
    """Show datasets, windows, costs, bar counts and trials of each level, and the holdout period.

    The command runs no search and reads no prices.
    """
    settings = load_settings()
    keep_isolated_strategies(settings)
    store = context_of(settings).store
    chosen = SearchOptions.of(options, settings)
    levels, notes = chosen.levels(), chosen.strategy_notes()
    planned = [(level, plan_level(level, closed_for(store, level))) for level in levels]
    for level in levels:
        check_sampler(level)
    holdout = str(levels[0].holdout.window)
    if as_json:
        print_json({"levels": [_as_json(level, parts) for level, parts in planned], "holdout": holdout})
        return
    for level, parts in planned:
        _show(level, parts, notes.get(level.name), is_first=level is levels[0])
    console().print(f"holdout period (never read by a search): {holdout}")


def _show(level: Level, parts: list[PlannedPart], note: str | None, *, is_first: bool) -> None:
    for line in _rules(level, note, is_first=is_first):
        console().print(line, highlight=False)
    console().print(_table(level, parts))
    for used in level.datasets:
        if used.rule:
            console().print(f"window of {used.dataset}: {used.window}, by rule: {used.rule}")


def _rules(level: Level, note: str | None, *, is_first: bool) -> Iterator[str]:
    trials = trials_by_attempt(level)
    tried = f"{trials[0]} trials" + (f", on retries {', '.join(map(str, trials[1:]))}" if level.retries else "")
    yield f"level {level.name}: {level.title}: {level.direction}, {level.strategy}, {tried}"
    if note:
        yield note
    yield level.search_methods
    if level.retries:
        yield f"retry: {level.retry.sentence}"
    if not is_first:
        yield (
            f"inherited: a choice of an earlier level that passed, and {level.inherit.neighbours} points around it, "
            f"within {level.inherit.reach:g} of each range to either side"
        )
    yield f"costs: {level.costs.sentence}"
    yield f"position {level.position_fraction:g} of the equity, pruned above a drawdown of {level.drawdown_limit:g}"
    if level.split.is_walk_forward:
        yield _windows_line(level)
    if level.risk:
        yield level.risk.sentence


def _table(level: Level, parts: list[PlannedPart]) -> Table:
    judged = "each window" if level.split.is_walk_forward else "validation and test"
    days = level.split.embargo_days
    caption = (
        f"embargo before {judged}: {days} {'day' if days == 1 else 'days'}; "
        f"warm-up: {parts[0].warm_up:,} bars, inside train and before {judged}"
    )
    table = Table("dataset", "part", "window", "bars expected", "bars stored", "bars evaluated", caption=caption)
    for each in parts:
        stored = "-" if each.stored is None else f"{each.stored:,}"
        row = (str(each.window), f"{each.expected:,}", stored, f"{each.evaluated:,}")
        table.add_row(each.dataset if each.part is Part.TRAIN else "", _part_name(each), *row)
    totals = {part: sum(each.evaluated for each in parts if each.part is part) for part in level.parts}
    table.add_section()
    for part, total in totals.items():
        table.add_row("all" if part is Part.TRAIN else "", part, "", "", "", f"{total:,}")
    return table


def _windows_line(level: Level) -> str:
    split, trials = level.split, window_level(level, 1).trials
    start = "from the first day on" if split.anchored else "as many as before the first window"
    return (
        f"walk-forward: {split.windows} windows; for each, a search of {trials} trials on the days before it, {start}, "
        "chooses what is judged on it; "
        f"the last search reads train, the whole range, in {level.trials} trials"
    )


def _part_name(planned: PlannedPart) -> str:
    if planned.number is None:
        return planned.part
    return f"{planned.part}, window {planned.number}, searched on {planned.searched} ({planned.searched_bars:,} bars)"


def _as_json(level: Level, parts: list[PlannedPart]) -> dict[str, object]:
    return {
        "level": level.name,
        "title": level.title,
        "direction": level.direction,
        "strategy": level.strategy,
        "ranges": {name: [*bounds] for name, bounds in level.ranges.items()},
        "objective": [*level.objective],
        "sampler": str(level.used_sampler),
        "pruner": str(level.used_pruner),
        "trials": level.trials,
        "retries": level.retries,
        "trials_by_attempt": trials_by_attempt(level),
        "retry": level.retry.model_dump(mode="json"),
        "inherit": level.inherit.model_dump(mode="json"),
        "costs": level.costs.model_dump(mode="json"),
        "position_fraction": level.position_fraction,
        "drawdown_limit": level.drawdown_limit,
        "risk": level.risk.model_dump(mode="json") if level.risk else None,
        "embargo_days": level.split.embargo_days,
        "scheme": level.split.scheme,
        "window_trials": window_level(level, 1).trials if level.split.is_walk_forward else None,
        "datasets": [
            {"dataset": each.dataset, "window": str(each.window), "rule": each.rule or None} for each in level.datasets
        ],
        "parts": [_part_as_json(each) for each in parts],
    }


def _part_as_json(planned: PlannedPart) -> dict[str, object]:
    return {
        "dataset": planned.dataset,
        "part": planned.part,
        "number": planned.number,
        "searched": str(planned.searched) if planned.searched else None,
        "searched_bars": planned.searched_bars,
        "start": planned.window.start.isoformat(),
        "end": planned.window.end.isoformat(),
        "expected": planned.expected,
        "stored": planned.stored,
        "warm_up": planned.warm_up,
        "lead_in": planned.lead_in,
        "judged": planned.evaluated,
    }
