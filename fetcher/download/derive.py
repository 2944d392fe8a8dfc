"""Aggregation of M5 candles to M15 and H1."""

import polars as pl

from tradeschool.markets.timeframes import Timeframe
from tradeschool.ohlcv.frame import Candles, schema


def derive(candles: Candles, timeframe: Timeframe) -> Candles:
    """Aggregate candles to a longer timeframe; a candle exists if at least one base candle exists.

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
    buckets = candles.frame.group_by_dynamic("ts", every=f"{timeframe.seconds}s").agg(aggregated)
    return Candles(dataset, buckets.select(schema(dataset).keys()))
