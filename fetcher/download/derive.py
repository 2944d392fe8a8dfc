"""Aggregation of candles to a longer timeframe."""

import polars as pl
from polars.dataframe.group_by import DynamicGroupBy, GroupBy

from tradeschool.markets.grid import UTC_MIDNIGHT, alignment_of, grid_of
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.timeframes import Timeframe
from tradeschool.ohlcv.arrays import MICROSECONDS
from tradeschool.ohlcv.frame import TIME, Candles, schema


def derive(candles: Candles, timeframe: Timeframe) -> Candles:
    """Aggregate candles to a longer timeframe; a candle exists if at least one base candle exists.

    The base must contain all candles of its first and of its last bucket; `grid.whole` finds such a range.

    Open and half_spread come from the first base candle, close from the last one; volume is the sum. For OANDA and
    Coinbase the result equals the native candles, because both build every timeframe from the same prices and grid.
    Source: compared on about 22,000 OANDA candles (all equal) and 19,589 Coinbase candles (all prices equal).
    """
    dataset = candles.dataset.at(timeframe)
    aggregated = [
        pl.col("open").first(),
        pl.col("high").max(),
        pl.col("low").min(),
        pl.col("close").last(),
        pl.col("volume").sum().round(8),
    ]
    if "half_spread" in candles.frame.columns:
        aggregated.append(pl.col("half_spread").first())
    buckets = _bucketed(candles, dataset).agg(aggregated)
    return Candles(dataset, buckets.select(schema(dataset).keys()))


def _bucketed(candles: Candles, dataset: Dataset) -> DynamicGroupBy | GroupBy:
    """Group base candles by the candle of `dataset` that contains them; `ts` becomes its open."""
    if alignment_of(dataset.instrument) == UTC_MIDNIGHT or not dataset.timeframe.is_day_aligned:
        return candles.frame.group_by_dynamic("ts", every=f"{dataset.timeframe.seconds}s")
    opened = pl.Series("ts", grid_of(dataset).floor(candles.times) * MICROSECONDS, dtype=TIME)
    return candles.frame.with_columns(opened).group_by("ts", maintain_order=True)
