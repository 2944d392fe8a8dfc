"""Opens and closes of a dataset's candles: the only place of an import that knows where they lie."""

from datetime import UTC, datetime

import polars as pl

from tradeschool.markets.grid import grid_of
from tradeschool.markets.instruments import Dataset
from tradeschool.ohlcv.arrays import MICROSECONDS
from tradeschool.ohlcv.frame import TIME

HOUR = 3600
"""Longest timeframe whose candles open at whole multiples of it in UTC for every instrument."""


def opens_of(times: pl.Series, dataset: Dataset) -> pl.Series:
    """Return for each time the open of the candle that contains it."""
    if dataset.timeframe.seconds <= HOUR:
        return times.dt.truncate(f"{dataset.timeframe.seconds}s")
    opens = grid_of(dataset).floor(times.dt.epoch("s").to_numpy())
    return pl.Series(times.name, opens * MICROSECONDS).cast(TIME)


def closes_of(opens: pl.Series, dataset: Dataset) -> pl.Series:
    """Return the close of the candle of each open."""
    closes = grid_of(dataset).close(opens.dt.epoch("s").to_numpy())
    return pl.Series(opens.name, closes * MICROSECONDS).cast(TIME)


def close_of(opened: datetime, dataset: Dataset) -> datetime:
    """Return the close of the candle that opens at a time."""
    return datetime.fromtimestamp(grid_of(dataset).close_of(int(opened.timestamp())), UTC)
