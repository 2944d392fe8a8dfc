"""Indicators on whole ticks."""

import numpy as np
from numpy.typing import NDArray

from optimizer.backtest.jit import njit


def wilder_atr(
    high: NDArray[np.int32], low: NDArray[np.int32], close: NDArray[np.int32], period: int
) -> NDArray[np.float64]:
    """Average true range in ticks, shape (n_bars,); NaN before bar `period - 1`.

    The first value is the mean of `period` true ranges; then atr += (true range - atr) * (1 / period), in
    float64 and in this order of operations, which is part of the contract. The first bar has no close before
    it: its true range is high - low.
    Source: J. Welles Wilder, New Concepts in Technical Trading Systems (1978), "Volatility Index".
    """
    average = np.full(len(close), np.nan)
    if len(close) >= period:
        _fill_atr(high, low, close, period, average)
    return average


@njit
def _fill_atr(
    high: NDArray[np.int32],
    low: NDArray[np.int32],
    close: NDArray[np.int32],
    period: int,
    average: NDArray[np.float64],
) -> None:
    total = int(high[0]) - int(low[0])
    for bar in range(1, period):
        total += _true_range(high[bar], low[bar], close[bar - 1])
    atr = total / period
    average[period - 1] = atr
    weight = 1.0 / period
    for bar in range(period, close.size):
        atr += (_true_range(high[bar], low[bar], close[bar - 1]) - atr) * weight
        average[bar] = atr


@njit
def _true_range(high: np.int32, low: np.int32, previous_close: np.int32) -> int:
    return max(int(high), int(previous_close)) - min(int(low), int(previous_close))
