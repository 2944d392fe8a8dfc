"""`tradeschool data repair`: remove damaged or suspect candles and print the commands that fetch them again."""

import asyncio
from collections.abc import Iterator, Sequence

import click

from fetcher.download import repair as repairing
from fetcher.download.page_ledger import PageLedger
from fetcher.download.repair import RepairResult
from tradeschool.app.context import candles_of, chosen_datasets, data_lock, holdout_candles_of, load_settings
from tradeschool.cli.options.output import json_option
from tradeschool.markets.instruments import Dataset, Instrument
from tradeschool.markets.windows import Window
from tradeschool.store import Store
from tradeschool.store.fetch_command import fetch_command
from tradeschool.views.terminal import console, print_json


@click.command()
@click.argument("names", metavar="[DATASET]...", nargs=-1)
@click.option("--gaps", is_flag=True, help="Also request candles again that the provider confirmed not to exist.")
@click.option("--holdout", is_flag=True, help="Repair the holdout period instead.")
@json_option
def repair(names: tuple[str, ...], *, gaps: bool, holdout: bool, as_json: bool) -> None:
    """Remove damaged or suspect candles and their seals.

    The command removes the seals of damaged ranges, and damaged or suspect pages, and prints the fetch commands that
    download them again.
    """
    settings = load_settings()
    store = holdout_candles_of(settings) if holdout else candles_of(settings)
    done = [
        each for each in asyncio.run(_with_lock(store, chosen_datasets(names, store), gaps=gaps)) if not each.is_empty
    ]
    commands = [command + " --holdout" * holdout for command in _commands(done)]
    if as_json:
        print_json({"repaired": [_repair_json(each) for each in done], "run": commands})
        return
    for each in done:
        for line in _lines(each):
            console().print(line, soft_wrap=True, highlight=False)
    console().print("\n".join(["run:", *commands]) if commands else "nothing to repair", soft_wrap=True)


async def _with_lock(store: Store, datasets: list[Dataset], *, gaps: bool) -> list[RepairResult]:
    """Repair while no fetcher uses the folder."""
    async with data_lock(store):
        with PageLedger(store.root) as ledger:
            return repairing.repair(datasets, store, ledger, gaps=gaps)


def _lines(done: RepairResult) -> Iterator[str]:
    for name in done.unreadable:
        yield f"{done.dataset}: {name}: unreadable, removed"
    for each in done.unsealed:
        yield f"{each.dataset}: {each.window}: seal removed"
    for source in done.imported:
        yield f"{done.dataset}: {source}: seal removed; import the file again, or fetch the range"
    for window in done.forgotten:
        yield f"{done.dataset}: {window}: will be requested again"


def _commands(done: Sequence[RepairResult]) -> list[str]:
    """Return one command per range; plain `fetch` if only an unfinished download lost pages."""
    ranges: dict[tuple[Instrument, Window], list[Dataset]] = {}
    for each in done:
        for lost in each.unsealed:
            ranges.setdefault((lost.dataset.instrument, lost.window), []).append(lost.dataset)
    named = [fetch_command(datasets, window) for (_, window), datasets in ranges.items()]
    under_way = any(not each.unsealed for each in done)
    return [*named, *(["tradeschool fetch"] if under_way else [])]


def _repair_json(done: RepairResult) -> dict[str, object]:
    return {
        "dataset": done.dataset.name,
        "unsealed": [{"dataset": each.dataset.name, "range": each.window.name} for each in done.unsealed],
        "imported": list(done.imported),
        "unreadable": list(done.unreadable),
        "forgotten": [window.name for window in done.forgotten],
    }
