"""`tradeschool data export`: sealed candles as one file for other programs."""

from enum import StrEnum
from pathlib import Path

import click
import polars as pl

from tradeschool.cli.context import console, load_settings
from tradeschool.columns import PRICES
from tradeschool.errors import DataIncomplete, SettingsError, StoreUnwritable
from tradeschool.market import Dataset, find_dataset, parse_timerange
from tradeschool.store.frames import FrameStore

FORMATS = (".parquet", ".csv", ".feather")


class Layout(StrEnum):
    """Columns and name of an exported file."""

    PLAIN = "plain"
    """Our columns, under the name that is asked for."""
    FREQTRADE = "freqtrade"
    """What freqtrade reads: a feather file named by pair and timeframe, with date in place of ts and no half_spread."""


@click.command()
@click.argument("dataset")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help=f"A file: one of {', '.join(FORMATS)}. With freqtrade's layout the folder, such as user_data/data/coinbase.",
)
@click.option(
    "--layout",
    type=click.Choice([each.value for each in Layout]),
    default=Layout.PLAIN.value,
    help="Whose columns and file name.",
)
@click.option("--timerange", help="Such as 20200101-20220101; all that is sealed when not given.")
def export(dataset: str, out: Path, layout: str, timerange: str | None) -> None:
    """Write a dataset's candles to one file."""
    source = find_dataset(dataset)
    if layout == Layout.FREQTRADE and out.suffix != ".feather":
        out = out / freqtrade_name(source)
    if out.suffix not in FORMATS:
        raise SettingsError(f"--out {out}: expected a name that ends in {', '.join(FORMATS)}")
    frame = _sealed(FrameStore(load_settings().data_dir), source, timerange)
    _write(_for_freqtrade(frame) if layout == Layout.FREQTRADE else frame, out)
    console().print(f"{frame.height:,} candles in {out}", soft_wrap=True)


def freqtrade_name(dataset: Dataset) -> str:
    """Such as `BTC_USD-5m.feather`."""
    minutes = dataset.timeframe.seconds // 60
    timeframe = f"{minutes}m" if minutes < 60 else f"{minutes // 60}h"
    return f"{dataset.instrument.base}_{dataset.instrument.quote}-{timeframe}.feather"


def _sealed(store: FrameStore, source: Dataset, timerange: str | None) -> pl.DataFrame:
    windows = [parse_timerange(timerange)] if timerange else [seal.window for seal in store.seals(source)]
    if not windows:
        raise DataIncomplete(f"{source}: nothing is sealed in {store.root}; run: tradeschool fetch")
    whole = pl.concat([store.candles(source, window).frame for window in windows])
    return whole.unique("ts", maintain_order=True).sort("ts")


def _for_freqtrade(frame: pl.DataFrame) -> pl.DataFrame:
    """Six columns, taken by their place; times to the millisecond.

    Source: freqtrade, data/history/datahandlers/featherdatahandler.py.
    """
    return frame.select(pl.col("ts").dt.cast_time_unit("ms").alias("date"), *PRICES, "volume")


def _write(frame: pl.DataFrame, out: Path) -> None:
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.suffix == ".csv":
            frame.write_csv(out)
        elif out.suffix == ".feather":
            frame.write_ipc(out, compression="lz4")
        else:
            frame.write_parquet(out)
    except OSError as error:
        raise StoreUnwritable(f"cannot write {out}: {error.strerror or error}") from error
