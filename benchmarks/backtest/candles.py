"""The candles that are measured on: the default catalogue's twelve datasets, 2020 to 2023, about two million bars.

Crypto and H1 of currencies are real. M5 and M15 of currencies are ten real months of M5, repeated week by week until
they fill the four years. They are read from the folder that SHARED_FOLDER names; without one, made up by a random walk.
"""

import os
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl

from optimizer.bars.random_walk import random_walk
from tradeschool.markets.catalogue import CURRICULUM_INSTRUMENTS
from tradeschool.markets.instruments import Dataset, Instrument, Market
from tradeschool.markets.timeframes import DEFAULT_TIMEFRAMES, Timeframe
from tradeschool.markets.windows import Window
from tradeschool.ohlcv.arrays import CandleArrays

WINDOW = Window(datetime(2020, 1, 1, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=UTC))
HALF_SPREAD = 7e-5
WEEK_SECONDS = 7 * 86_400
FOLDER = Path(os.environ.get("SHARED_FOLDER", Path(__file__).resolve().parents[3] / "shared")) / "data"


def is_real() -> bool:
    """Whether there are real candles to measure on."""
    return FOLDER.is_dir()


def catalogue() -> list[CandleArrays]:
    """Every dataset of the catalogue over the window, in its order."""
    return [
        candles_of(Dataset(instrument=instrument, timeframe=timeframe))
        for instrument in CURRICULUM_INSTRUMENTS
        for timeframe in DEFAULT_TIMEFRAMES
    ]


def candles_of(dataset: Dataset) -> CandleArrays:
    """One dataset over the window."""
    if not is_real():
        return random_walk(dataset, WINDOW, seed=sum(dataset.name.encode()))
    frame = _frame(dataset.instrument, dataset.timeframe)
    numbers = {name: frame[name].to_numpy() for name in ("open", "high", "low", "close", "volume")}
    if dataset.instrument.market is Market.FX:
        numbers["half_spread"] = np.full(frame.height, HALF_SPREAD)
    return CandleArrays.of(dataset, frame["ts"].dt.epoch("s").to_numpy(), numbers)


def _frame(instrument: Instrument, timeframe: Timeframe) -> pl.DataFrame:
    if instrument.market is Market.CRYPTO:
        return _joined(_read(f"binance_{instrument.base}-USDT_5m"), timeframe)
    if timeframe is Timeframe.H1:
        return _within(_read(f"oanda_{instrument.name}_1h"))
    return _joined(_repeated(_read(f"mt5a_{instrument.name}_5m")), timeframe)


def _read(name: str) -> pl.DataFrame:
    return pl.read_parquet(FOLDER / f"{name}.parquet")


def _within(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.filter(pl.col("ts").is_between(WINDOW.start, WINDOW.end, closed="left"))


def _joined(frame: pl.DataFrame, timeframe: Timeframe) -> pl.DataFrame:
    if timeframe is Timeframe.M5:
        return _within(frame)
    columns = (pl.col("open").first(), pl.col("high").max(), pl.col("low").min(), pl.col("close").last())
    return _within(frame.group_by_dynamic("ts", every=f"{timeframe.seconds}s").agg(*columns, pl.col("volume").sum()))


def _repeated(frame: pl.DataFrame) -> pl.DataFrame:
    """The same weeks over and over, from before the window to after it."""
    time = frame["ts"].dt.epoch("s").to_numpy()
    weeks = int(time[-1] - time[0]) // WEEK_SECONDS
    whole = frame.filter(pl.Series(time < time[0] + weeks * WEEK_SECONDS))
    first = (WINDOW.start_seconds - int(time[0])) // (weeks * WEEK_SECONDS) * weeks
    last = (WINDOW.end_seconds - int(time[0])) // (weeks * WEEK_SECONDS) * weeks
    return pl.concat(
        [whole.with_columns(pl.col("ts") + pl.duration(weeks=shift)) for shift in range(first, last + 1, weeks)]
    )
