"""Bid, ask and spread: converts prices of one side, or of both, to mid prices and half the spread."""

import polars as pl

from fetcher.importing.files.errors import invalid
from fetcher.importing.files.tables import LINE, Head
from fetcher.importing.forms.layout import Layout, Side
from tradeschool.markets.instruments import Instrument
from tradeschool.ohlcv.arrays import PRICES

TICKS_PER_PIP = 10
DECIMALS_OF_A_TICK = 4
"""Decimal places of a tick to which half a spread is rounded, so that 6 points of 0.00001 give 0.00003."""
HALF_UP = 0.5 + 1e-6
"""Half a tick is rounded up, whatever its last binary digit is."""


def has_spread(instrument: Instrument) -> bool:
    """Whether candles of an instrument have a spread."""
    return instrument.has_spread


def to_ticks(instrument: Instrument) -> list[pl.Expr]:
    """Return expressions that round prices to whole ticks."""
    tick, decimals = instrument.tick, instrument.decimals
    return [((pl.col(name) / tick + HALF_UP).floor() * tick).round(decimals).alias(name) for name in PRICES]


def with_spread(
    frame: pl.DataFrame, layout: Layout, instrument: Instrument, spread_pips: float | None, head: Head
) -> pl.DataFrame:
    """Convert the prices of a file to mid prices with `half_spread`, as far as the file and the option allow.

    Prices of one side move by half the spread. Files of one side without a spread stay as they are, to be joined with
    those of the other side.

    Raises:
        InvalidCandles: if an ask price is below its bid price.
    """
    if layout.is_both:
        return _of_both_sides(frame, instrument, head)
    if not has_spread(instrument):
        return frame
    if spread_pips is not None:
        half = spread_pips * TICKS_PER_PIP * instrument.tick / 2
        frame = frame.with_columns(half_spread=pl.lit(round(half, instrument.decimals + DECIMALS_OF_A_TICK)))
    elif "spread" in layout.columns:
        half_points = pl.col("spread") * instrument.tick / 2
        frame = frame.with_columns(half_spread=half_points.round(instrument.decimals + DECIMALS_OF_A_TICK))
    if layout.side is Side.MID or "half_spread" not in frame.columns:
        return frame
    sign = 1 if layout.side is Side.BID else -1
    moved = frame.with_columns(pl.col(name) + sign * pl.col("half_spread") for name in PRICES)
    return moved.with_columns(to_ticks(instrument))


def mid_of(frame: pl.DataFrame, instrument: Instrument) -> pl.DataFrame:
    """Return rows with `bid_` and `ask_` prices as mid prices in whole ticks with half the spread at the open."""
    mids = [((pl.col(f"bid_{name}") + pl.col(f"ask_{name}")) / 2).alias(name) for name in PRICES]
    half = (
        ((pl.col("ask_open") - pl.col("bid_open")) / 2)
        .round(instrument.decimals + DECIMALS_OF_A_TICK)
        .alias("half_spread")
    )
    return frame.with_columns(*mids, half).with_columns(to_ticks(instrument))


def _of_both_sides(frame: pl.DataFrame, instrument: Instrument, head: Head) -> pl.DataFrame:
    crossed = frame.filter(pl.col("ask_open") < pl.col("bid_open"))
    if crossed.height:
        row = crossed.row(0, named=True)
        raise invalid(
            head.name,
            f"the ask {row['ask_open']} is below the bid {row['bid_open']}",
            line=row[LINE],
            unit=head.unit,
        )
    frame = mid_of(frame, instrument)
    return frame if has_spread(instrument) else frame.drop("half_spread")
