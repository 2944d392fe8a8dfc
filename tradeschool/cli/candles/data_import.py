"""`tradeschool data import`: validate and seal candles from a file."""

import asyncio
from functools import partial
from pathlib import Path

import click

from fetcher.importing.file_formats import FileFormat
from fetcher.importing.importer import import_file
from tradeschool.app.context import data_lock, load_settings
from tradeschool.cli.options.output import json_option
from tradeschool.markets.catalogue import find_dataset
from tradeschool.markets.windows import parse_timerange
from tradeschool.store import Seal, Store
from tradeschool.store.frame_store import FrameStore
from tradeschool.views.terminal import console, now, print_json


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--dataset", required=True, help="Dataset of the candles, for example coinbase/BTC-USD/M5.")
@click.option("--time-zone", help="Time zone of naive timestamps, for example UTC or America/New_York.")
@click.option(
    "--format",
    "form",
    type=click.Choice([each.value for each in FileFormat]),
    default=FileFormat.AUTO.value,
    show_default=True,
    help="Format of the file.",
)
@click.option("--spread-pips", type=click.FloatRange(min=0), help="Spread in pips, for FX files without half_spread.")
@click.option("--timerange", help="Time range, for example 20200101-20240101. [default: the whole file]")
@json_option
def import_(
    file: Path,
    dataset: str,
    time_zone: str | None,
    form: str,
    spread_pips: float | None,
    timerange: str | None,
    *,
    as_json: bool,
) -> None:
    """Validate and seal candles from a file.

    Supported formats: CSV, parquet, feather and freqtrade JSON.
    """
    store = FrameStore(load_settings().data_dir)
    work = partial(
        import_file,
        file,
        find_dataset(dataset),
        store,
        form=FileFormat(form),
        zone=time_zone,
        spread_pips=spread_pips,
        window=parse_timerange(timerange) if timerange else None,
        now=now(),
    )
    _show(asyncio.run(_with_lock(store, work)), as_json=as_json)


async def _with_lock(store: Store, work: partial[Seal]) -> Seal:
    """Import while no fetcher uses the folder."""
    async with data_lock(store):
        return work()


def _show(seal: Seal, *, as_json: bool) -> None:
    if as_json:
        print_json(seal.model_dump(mode="json", exclude={"files", "gaps"}) | {"missing": seal.missing})
        return
    show = partial(console().print, soft_wrap=True, highlight=False)
    show(f"{seal.dataset}: {seal.rows:,} of {seal.expected:,} candles in {seal.window} sealed, {seal.source}")
    for finding in seal.findings:
        show(f"{finding.kind} ({finding.start:%Y}): {finding.message}")
