"""Opens and closes of a dataset's candles: the only place of an import that knows where they lie."""

from datetime import datetime

import polars as pl

from tradeschool.markets.instruments import Dataset


def opens_of(times: pl.Series, dataset: Dataset) -> pl.Series:
    """Return for each time the open of the candle that contains it."""
    return times.dt.truncate(f"{dataset.timeframe.seconds}s")


def closes_of(opens: pl.Series, dataset: Dataset) -> pl.Series:
    """Return the close of the candle of each open."""
    return opens + dataset.timeframe.duration


def close_of(opened: datetime, dataset: Dataset) -> datetime:
    """Return the close of the candle that opens at a time."""
    return opened + dataset.timeframe.duration
