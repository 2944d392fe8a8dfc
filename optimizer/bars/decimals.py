"""Decimals of candle prices: the number of decimal places in which all prices of a history are whole ticks."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tradeschool.markets.instrument_file import MAX_DECIMALS
from tradeschool.ohlcv.arrays import PRICES, CandleArrays

FINER_DECIMALS = 6
"""Decimal places that older candles may have more than today's tick."""
TICK_TOLERANCE = 1e-4
"""Maximum distance of a price in ticks from a whole number. A decimal price as float is off by at most 1e-6 ticks."""


def with_fitting_decimals(candles: CandleArrays) -> CandleArrays:
    """Return the candles with the first number of decimals, from the instrument's on, in which all prices are whole.

    A provider changes its tick over the years, and its product list tells today's only.
    """
    instrument = candles.dataset.instrument
    if not instrument.has_finer_history:
        return candles
    for decimals in range(instrument.decimals, min(instrument.decimals + FINER_DECIMALS, MAX_DECIMALS) + 1):
        if all(_are_whole(getattr(candles, name) * 10.0**decimals) for name in PRICES):
            finer = replace(candles.dataset, instrument=replace(instrument, decimals=decimals))
            return replace(candles, dataset=finer)
    return candles


def _are_whole(ticks: NDArray[np.float64]) -> bool:
    return bool((np.abs(ticks - np.rint(ticks)) <= TICK_TOLERANCE).all())
