"""Values that shell completion offers: run names, levels, pairs, timeframes, strategies and datasets.

Completion reads names of folders and shipped tables only. It starts no service, and an error offers nothing.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import click
from click.shell_completion import CompletionItem

Values = Callable[[click.Context], Iterable[str]]
MAX_BYTES = 8_000_000
"""Maximum size of a run's record that is read for the names of its levels."""


def complete_values(command: click.Command) -> None:
    """Give the parameters of a command, and of all its subcommands, their values for shell completion."""
    for parameter in command.params:
        values = _values_of(parameter)
        if values:
            parameter.shell_complete = _completer(values, many=parameter.name in LISTS)  # type: ignore[method-assign, assignment]
    if isinstance(command, click.Group):
        for each in command.commands.values():
            complete_values(each)


def _values_of(parameter: click.Parameter) -> Values | None:
    name = parameter.name or ""
    if isinstance(parameter, click.Argument) and name in RUN_ARGUMENTS:
        return run_names
    return VALUES.get(name)


def _completer(values: Values, *, many: bool) -> Callable[[click.Context, str], list[CompletionItem]]:
    """Return the completer of one parameter; `many`: several values, separated by commas."""

    def complete(ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        before, comma, last = incomplete.rpartition(",") if many else ("", "", incomplete)
        try:
            found = [value for value in values(ctx) if value.startswith(last)]
        except Exception:  # noqa: BLE001  # an error here would be printed into the user's command line
            return []
        return [CompletionItem(f"{before}{comma}{value}") for value in found]

    return complete


def run_names(ctx: click.Context) -> list[str]:
    """Return the runs in the results folder, latest first."""
    folders = [path for path in _results_dir(ctx).iterdir() if (path / "run.json").is_file()]
    return [path.name for path in sorted(folders, key=lambda path: -path.stat().st_mtime)]


def level_names(ctx: click.Context) -> list[str]:
    """Return the levels of the run that is named before, or those of the built-in curriculum."""
    # While the value of an option is typed, click has not assigned the arguments before it.
    run = ctx.params.get("run_name") or next(iter(ctx.args), None)
    if run is None:
        from optimizer.curriculum.level_files import load_levels

        return [level.name for level in load_levels()]
    path = _results_dir(ctx) / str(run) / "run.json"
    if path.stat().st_size > MAX_BYTES:
        return []
    return [str(level["name"]) for level in json.loads(path.read_bytes())["levels"]]


def pair_names(ctx: click.Context) -> list[str]:
    """Return the pairs of all shipped instruments."""
    del ctx
    from tradeschool.markets.catalogue import INSTRUMENTS

    return [f"{each.base}/{each.quote}" for each in INSTRUMENTS]


def timeframe_names(ctx: click.Context) -> list[str]:
    """Return all timeframes."""
    del ctx
    from tradeschool.markets.timeframes import Timeframe

    return [each.name for each in Timeframe]


def strategy_names(ctx: click.Context) -> list[str]:
    """Return the built-in strategies."""
    del ctx
    from optimizer.strategies.registry import built_in_names

    return built_in_names()


def dataset_names(ctx: click.Context) -> list[str]:
    """Return the stored datasets, else those of the shipped instruments."""
    stored = sorted({"/".join(path.parts[-4:-1]) for path in _data_dir(ctx).glob("*/*/*/year=*")})
    if stored:
        return stored
    from tradeschool.markets.catalogue import INSTRUMENTS

    names = [f"{each.provider}/{each.base}-{each.quote}" for each in INSTRUMENTS]
    return [f"{name}/{timeframe}" for name in names for timeframe in timeframe_names(ctx)]


def provider_names(ctx: click.Context) -> list[str]:
    """Return the providers of the shipped instruments."""
    del ctx
    from tradeschool.markets.catalogue import INSTRUMENTS

    return [*dict.fromkeys(each.provider for each in INSTRUMENTS)]


def metric_names(ctx: click.Context) -> Sequence[str]:
    """Return the figures by which trials are sorted."""
    del ctx
    from optimizer.level.metric_names import METRICS

    return ("number", "value", "seconds", *METRICS)


def _results_dir(ctx: click.Context) -> Path:
    return _settings_dir(ctx, "results_dir")


def _data_dir(ctx: click.Context) -> Path:
    return _settings_dir(ctx, "data_root")


def _settings_dir(ctx: click.Context, name: str) -> Path:
    from tradeschool.settings import loading

    folder = getattr(loading.load({}, file=ctx.find_root().params.get("settings_file")), name)
    assert isinstance(folder, Path)
    return folder


RUN_ARGUMENTS = ("run_name", "run_names", "first", "second")
"""Arguments that name a run."""
LISTS = ("pairs", "timeframes")
"""Parameters that take several values, separated by commas."""
VALUES: dict[str, Values] = {
    "run_name": run_names,
    "level_name": level_names,
    "level_names": level_names,
    "pairs": pair_names,
    "timeframes": timeframe_names,
    "timeframe": timeframe_names,
    "strategy": strategy_names,
    "strategy_name": strategy_names,
    "strategies": strategy_names,
    "dataset": dataset_names,
    "dataset_name": dataset_names,
    "datasets": dataset_names,
    "names": dataset_names,
    "providers": provider_names,
    "sort": metric_names,
}
"""Values by the name of a parameter."""
