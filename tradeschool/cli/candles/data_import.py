"""`tradeschool data import`: understand, validate and seal candles from files."""

import asyncio
from functools import partial
from typing import Any

import click

from fetcher.importing.forms.layout import FileFormat, Side
from fetcher.importing.importer import ImportResult, import_candles
from fetcher.importing.request import ImportRequest
from tradeschool.app.context import data_lock, load_settings
from tradeschool.atomic_files import sweep
from tradeschool.cli.options.output import json_option
from tradeschool.errors import SettingsError
from tradeschool.markets.catalogue import find_dataset
from tradeschool.markets.instruments import Market
from tradeschool.markets.timeframes import find_timeframe
from tradeschool.markets.timerange import parse_timerange
from tradeschool.store import Store
from tradeschool.store.frame_store import FrameStore
from tradeschool.views.import_result import ImportProgress, import_json, show_import
from tradeschool.views.terminal import now, print_json

REPLACED = ("provider", "pair", "timeframe", "tick", "calendar", "kind")
"""Options that say the same as `--dataset`."""


@click.command("import")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@click.option("--dataset", help="Dataset of all files, for example coinbase/BTC-USD/M5. [default: found by file names]")
@click.option("--pair", help="Pair of all files, for example BTC/USDT or binance:BTC/USDT.")
@click.option("--provider", help="Provider of the candles, for example binance; any name together with --tick.")
@click.option("--timeframe", help="Timeframe to store, for example M5. [default: that of the files]")
@click.option("--tick", help="Price step, for example 0.01; defines the instrument if it is not known.")
@click.option("--calendar", help="Trading calendar of a defined instrument, for example 24/7 or fx.")
@click.option(
    "--kind", type=click.Choice([each.value for each in Market]), help="Market of a defined instrument, for example fx."
)
@click.option("--resample", is_flag=True, help="Aggregate finer candles to the timeframe of the dataset.")
@click.option("--dry-run", is_flag=True, help="Show what is understood of each file; store nothing.")
@click.option(
    "--format",
    "form",
    type=click.Choice([each.value for each in FileFormat]),
    default=FileFormat.AUTO.value,
    show_default=True,
    help="Form of the files.",
)
@click.option(
    "--columns", help="Meaning of columns, for example ts=0,open=1,high=2,low=3,close=4,volume=5 or ts=Date+Time."
)
@click.option("--time-format", help="Format of times, for example '%d/%m/%Y %H:%M', or s, ms, us, ns for Unix times.")
@click.option("--time-zone", "zone", help="Time zone of naive timestamps, for example UTC or America/New_York.")
@click.option("--decimal-mark", type=click.Choice([".", ","]), help="Decimal mark, where the files leave it open.")
@click.option("--side", type=click.Choice([each.value for each in Side]), help="Side of the prices of FX files.")
@click.option("--spread-pips", type=click.FloatRange(min=0), help="Spread in pips, for FX files without a spread.")
@click.option("--timerange", help="Time range in UTC, for example 2023-05 or 20230101-20230201. [default: the files]")
@json_option
def import_(paths: tuple[str, ...], *, as_json: bool, dry_run: bool, **options: Any) -> None:
    """Validate and seal candles from files.

    PATH is a file, a folder, a glob or an archive: CSV, parquet, feather, JSON, .gz and .zip. The form, the columns and
    the time format are recognised; docs/how-to/import.md lists the forms. Nothing is stored if a row is invalid.
    """
    store = FrameStore(load_settings().data_location())
    work = partial(
        import_candles, paths, _request(**options), store, now=now(), dry_run=dry_run, progress=ImportProgress()
    )
    result = work() if dry_run else asyncio.run(_with_lock(store, work))
    if as_json:
        print_json(import_json(result, dry_run=dry_run))
    else:
        show_import(result, dry_run=dry_run)


def _request(
    *,
    dataset: str | None,
    timeframe: str | None,
    form: str,
    side: str | None,
    timerange: str | None,
    **same: Any,
) -> ImportRequest:
    if dataset and (given := [name for name in REPLACED if same.get(name) or (name == "timeframe" and timeframe)]):
        raise SettingsError(f"--dataset {dataset}: it says the same as --{given[0]}; omit one of them")
    return ImportRequest(
        dataset=find_dataset(dataset) if dataset else None,
        timeframe=find_timeframe(timeframe) if timeframe else None,
        form=FileFormat(form),
        side=Side(side) if side else None,
        window=parse_timerange(timerange) if timerange else None,
        **same,
    )


async def _with_lock(store: Store, work: partial[ImportResult]) -> ImportResult:
    """Import while no fetcher uses the folder, after removing what a killed one left."""
    async with data_lock(store):
        sweep(store.root)
        return work()
