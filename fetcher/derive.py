"""M15 and H1 from M5."""

import polars as pl

from tradeschool.candles import Candles, schema
from tradeschool.market import Timeframe


def derive(candles: Candles, timeframe: Timeframe) -> Candles:
    """Candles of a longer timeframe; a bucket exists where at least one of its parts does.

    Open and half_spread are the first part's, close the last one's, volume the sum. For OANDA and Coinbase
    this equals the provider's own candles: both build every timeframe from the same prices on the same grid.
    Source: compared on about 22,000 OANDA buckets (all equal) and 19,589 Coinbase ones (prices all equal).
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
