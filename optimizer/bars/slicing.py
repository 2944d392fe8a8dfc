"""Slices and variants of prepared candles: without later bars, without earlier bars, or with one column replaced."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from optimizer.bars.indicators import ATR_SPACING
from optimizer.bars.preparation import BLOCK, Prepared, extremes_of_blocks
from tradeschool.ohlcv.arrays import PRICES


def head(prepared: Prepared, bars: int) -> Prepared:
    """Return the candles before bar `bars`, with at least one judged bar."""
    days = int(np.searchsorted(prepared.day_starts, bars))
    hours = prepared.hour_ends[prepared.hour_ends < bars]
    if not len(hours) or hours[-1] != bars - 1:
        hours = np.append(hours, np.int32(bars - 1))
    return replace(
        _bars(prepared, slice(0, bars)),
        close_sums=prepared.close_sums[: bars + 1],
        day_starts=np.append(prepared.day_starts[:days], np.int32(bars)),
        hour_ends=hours,
        blocks=prepared.blocks[: bars // BLOCK],
        atr_marks=prepared.atr_marks[:, : bars // ATR_SPACING].copy(),
    )


def tail(prepared: Prepared, start: int, warm_up: int) -> Prepared:
    """Return the candles from bar `start` on; judged bars stay judged except for the new warm-up."""
    first_judged = max(prepared.first_evaluated - start, warm_up)
    return replace(
        _derived(_bars(prepared, slice(start, None))),
        first_evaluated=first_judged,
        day_starts=np.maximum(prepared.day_starts - start, first_judged).astype(np.int32),
        hour_ends=prepared.hour_ends[prepared.hour_ends >= start] - np.int32(start),
    )


def changed(prepared: Prepared, column: str, values: NDArray[np.signedinteger] | NDArray[np.float32]) -> Prepared:
    """Return the candles with one column replaced; the caller keeps the prices of a bar consistent."""
    if column == "half_spread":
        return replace(prepared, spreads=values.astype(np.float32))
    prices = prepared.prices.copy()
    prices[:, PRICES.index(column)] = values
    return _derived(replace(prepared, prices=prices))


def _bars(prepared: Prepared, bars: slice) -> Prepared:
    return replace(
        prepared,
        slots=prepared.slots[bars],
        prices=prepared.prices[bars],
        spreads=prepared.spreads[bars] if len(prepared.spreads) > 1 else prepared.spreads,
    )


def _derived(prepared: Prepared) -> Prepared:
    """Recompute the columns derived from prices."""
    sums = np.concatenate(([0], np.cumsum(prepared.close, dtype=np.int64)))
    return replace(
        prepared,
        close_sums=sums.astype(np.float64),
        blocks=extremes_of_blocks(prepared.prices),
        atr_marks=np.empty((0, 0)),
    )
