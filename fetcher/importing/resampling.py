"""Resampling: collects rows in the candles of a longer timeframe, batch by batch, and merges the parts of each.

A part holds the rows of one candle in one batch. Without resampling, each row is a part of its own.
"""

import polars as pl

from fetcher.importing.files.tables import LINE
from tradeschool.ohlcv.arrays import PRICES

FILE = "file"
"""Column with the position of the file of a part's first row."""
SAME = ("ts", "first", "last", "rows", *PRICES, "volume")
"""Columns by which two parts are the same candle from two files."""


def parts_of(rows: pl.DataFrame, opens: pl.Series, file: int) -> pl.DataFrame:
    """Return the parts of a file's rows, oldest first; `opens` are the opens of the candles that contain them."""
    table = rows.with_columns(opens.alias("open_time"), pl.lit(file, dtype=pl.Int32).alias(FILE))
    if (rows["ts"] == opens).all():
        table = table.with_columns(first="ts", last="ts", rows=pl.lit(1, dtype=pl.UInt32))
        return table.drop("ts").rename({"open_time": "ts"}).select(_columns(rows))
    spread = [pl.col("half_spread").first()] if "half_spread" in rows.columns else []
    grouped = table.group_by("open_time", maintain_order=True).agg(
        pl.col("open").first(),
        pl.col("high").max(),
        pl.col("low").min(),
        pl.col("close").last(),
        pl.col("volume").sum(),
        *spread,
        pl.col("ts").first().alias("first"),
        pl.col("ts").last().alias("last"),
        pl.len().alias("rows"),
        pl.col(LINE, FILE).first(),
    )
    return grouped.rename({"open_time": "ts"}).select(_columns(rows))


def merged(parts: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame, int]:
    """Merge the parts of each candle.

    Returns:
        The candles, oldest first; the parts that overlap another one, each before it in time; and how many parts were
        in two files alike, of which one was used.
    """
    ordered = parts if parts["first"].is_sorted() else parts.sort("first", FILE, LINE)
    is_overlapping = (pl.col("first") <= pl.col("last").shift(1)).fill_null(False)
    clash, repeated = ordered.clear(), 0
    if ordered.select(is_overlapping.any()).item():  # only then, because to compare all values takes much memory
        distinct = ordered.unique(SAME, keep="first", maintain_order=True)
        repeated = ordered.height - distinct.height
        clash = distinct.filter(is_overlapping | is_overlapping.shift(-1, fill_value=False))
        ordered = distinct
    if not clash.height and ordered["ts"].is_duplicated().any():
        ordered = _joined(ordered)
    volume = pl.when(pl.col("rows") > 1).then(pl.col("volume").round(8)).otherwise(pl.col("volume"))
    return ordered.with_columns(volume), clash, repeated


def _joined(parts: pl.DataFrame) -> pl.DataFrame:
    spread = [pl.col("half_spread").first()] if "half_spread" in parts.columns else []
    return parts.group_by("ts", maintain_order=True).agg(
        pl.col("open").first(),
        pl.col("high").max(),
        pl.col("low").min(),
        pl.col("close").last(),
        pl.col("volume").sum(),
        *spread,
        pl.col("first").first(),
        pl.col("last").last(),
        pl.col("rows").sum(),
        pl.col(LINE, FILE).first(),
    )


def _columns(rows: pl.DataFrame) -> list[str]:
    spread = ["half_spread"] if "half_spread" in rows.columns else []
    return ["ts", *PRICES, "volume", *spread, "first", "last", "rows", LINE, FILE]
