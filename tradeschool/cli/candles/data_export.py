"""`tradeschool data export`: write sealed candles to one file for other programs."""

from enum import StrEnum
from pathlib import Path

import click
import polars as pl

from tradeschool.app.context import load_settings
from tradeschool.cli.options.timerange import chosen_range, timerange_options
from tradeschool.errors import DataIncomplete, SettingsError, StoreUnwritable
from tradeschool.markets.catalogue import find_dataset
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.timerange import TimeRange, window_among
from tradeschool.ohlcv.arrays import PRICES
from tradeschool.store.frame_store import FrameStore
from tradeschool.views.terminal import console

FORMATS = (".parquet", ".csv", ".feather")


class ExportLayout(StrEnum):
    """Columns and file name of an export."""

    PLAIN = "plain"
    """The columns of the candle store, under the given file name."""
    FREQTRADE = "freqtrade"
    """The format of freqtrade: a feather file named by pair and timeframe, `date` instead of `ts`, no `half_spread`."""


@click.command()
@click.argument("dataset")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help=f"Output file ({', '.join(FORMATS)}). With --layout freqtrade also a folder, "
    "for example user_data/data/coinbase.",
)
@click.option(
    "--layout",
    type=click.Choice([each.value for each in ExportLayout]),
    default=ExportLayout.PLAIN.value,
    show_default=True,
    help="Column layout and file name.",
)
@timerange_options("everything sealed")
def export(dataset: str, out: Path, layout: str, timerange: str | None, days: int | None) -> None:
    """Write the candles of a dataset to one file."""
    source = find_dataset(dataset)
    if layout == ExportLayout.FREQTRADE and out.suffix != ".feather":
        out = out / freqtrade_name(source)
    if out.suffix not in FORMATS:
        raise SettingsError(f"--out {out}: expected a file name that ends in {', '.join(FORMATS)}")
    frame = _sealed(FrameStore(load_settings().data_location()), source, chosen_range(timerange, days))
    _write(_for_freqtrade(frame) if layout == ExportLayout.FREQTRADE else frame, out)
    console().print(f"{frame.height:,} candles in {out}", soft_wrap=True)


def freqtrade_name(dataset: Dataset) -> str:
    """Return freqtrade's file name of a dataset, for example `BTC_USD-5m.feather`."""
    return f"{dataset.instrument.base}_{dataset.instrument.quote}-{dataset.timeframe.alias}.feather"


def _sealed(store: FrameStore, source: Dataset, asked: TimeRange | None) -> pl.DataFrame:
    sealed = [seal.window for seal in store.seals(source)]
    windows = [window_among(asked, sealed)] if asked else sealed
    if not windows:
        raise DataIncomplete(f"{source}: no sealed candles in {store}; run: tradeschool fetch")
    whole = pl.concat([store.candles(source, window).frame for window in windows])
    return whole.unique("ts", maintain_order=True).sort("ts")


def _for_freqtrade(frame: pl.DataFrame) -> pl.DataFrame:
    """Return six columns in freqtrade's order, with times in milliseconds.

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
