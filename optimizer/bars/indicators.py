"""Wilder's average true range (ATR) on whole ticks, for every bar or for single bars from precomputed marks.

The first value, at bar `period - 1`, is the mean of `period` true ranges; then atr += (true range - atr) * (1 /
period), in float64. The order of operations is part of the contract: every function here gives the same bits. The first
bar has no previous close: its true range is high - low.
Source: J. Welles Wilder, New Concepts in Technical Trading Systems (1978), "Volatility Index".
"""

import numpy as np
from numpy.typing import NDArray

from optimizer.compilation.jit import inlined, njit

HIGH, LOW, CLOSE = 1, 2, 3
"""Columns of the price array, as in `Prepared.prices`."""
ATR_SPACING = 24
"""Bars between two marks."""


def wilder_atr(prices: NDArray[np.signedinteger], period: int) -> NDArray[np.float64]:
    """Return the ATR in ticks, shape (n_bars,); NaN before bar `period - 1`."""
    average = np.full(len(prices), np.nan)
    if len(prices) >= period:
        _fill_atr(prices, period, average)
    return average


def atr_marks(prices: NDArray[np.signedinteger], periods: range) -> NDArray[np.float64]:
    """Return the ATR at bars 23, 47, 71, ..., one row for each of consecutive periods.

    All periods are computed in one pass, because a single period would wait for its own previous value.
    """
    marks = np.full((len(prices) // ATR_SPACING, len(periods)), np.nan)
    if len(periods) and len(prices) > periods[-1]:
        chosen = np.array(periods, dtype=np.int64)
        _fill_marks(prices, chosen, 1.0 / chosen, np.empty(len(chosen)), marks)
    return np.ascontiguousarray(marks.T)


def marks_of(average: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the marks of one period from the ATR of every bar."""
    marks = average[ATR_SPACING - 1 :: ATR_SPACING].copy()
    marks.flags.writeable = False  # as in `Prepared.atr_marks`: writable arrays are another type to the compiler
    return marks


def atr_at(
    bars: NDArray[np.int32],
    prices: NDArray[np.signedinteger],
    period: int,
    marks: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the ATR at some bars, none before bar `period - 1`, computed from the preceding marks."""
    average = np.empty(len(bars))
    _fill_atr_at(bars, prices, period, marks, average)
    return average


@njit
def _fill_atr(
    prices: NDArray[np.signedinteger],
    period: int,
    average: NDArray[np.float64],
) -> None:
    atr = _first_atr(prices, period)
    average[period - 1] = atr
    weight = 1.0 / period
    for bar in range(period, len(prices)):
        atr += (_true_range(prices, bar) - atr) * weight
        average[bar] = atr


@njit
def _fill_marks(
    prices: NDArray[np.signedinteger],
    periods: NDArray[np.int64],
    weights: NDArray[np.float64],
    atr: NDArray[np.float64],
    marks: NDArray[np.float64],
) -> None:
    longest = periods[-1]
    for number in range(periods.size):
        atr[number] = _begin_marks(prices, periods[number], weights[number], longest, number, marks)
    for bar in range(longest, len(prices)):
        true_range = float(_true_range(prices, bar))
        for number in range(periods.size):
            atr[number] += (true_range - atr[number]) * weights[number]
        if bar % ATR_SPACING == ATR_SPACING - 1:
            for number in range(periods.size):
                marks[bar // ATR_SPACING, number] = atr[number]


@inlined
def _begin_marks(
    prices: NDArray[np.signedinteger], period: int, weight: float, longest: int, number: int, marks: NDArray[np.float64]
) -> float:
    """Compute one period's ATR and marks up to the bar at which the longest period begins."""
    atr = _first_atr(prices, period)
    for bar in range(period - 1, longest):
        if bar >= period:
            atr += (_true_range(prices, bar) - atr) * weight
        if bar % ATR_SPACING == ATR_SPACING - 1:
            marks[bar // ATR_SPACING, number] = atr
    return atr


@njit
def _fill_atr_at(
    bars: NDArray[np.int32],
    prices: NDArray[np.signedinteger],
    period: int,
    marks: NDArray[np.float64],
    average: NDArray[np.float64],
) -> None:
    weight, reached, atr = 1.0 / period, -1, 0.0
    for place in range(bars.size):
        last = bars[place]
        start = last // ATR_SPACING * ATR_SPACING
        if start <= reached <= last:  # bars usually ascend: continue from the one before
            start = reached + 1
        elif start >= period:
            atr = marks[start // ATR_SPACING - 1]
        else:
            atr = _first_atr(prices, period)
            start = period
        for bar in range(start, last + 1):
            atr += (_true_range(prices, bar) - atr) * weight
        average[place], reached = atr, last


@inlined
def _first_atr(prices: NDArray[np.signedinteger], period: int) -> float:
    total = int(prices[0, HIGH]) - int(prices[0, LOW])
    for bar in range(1, period):
        total += _true_range(prices, bar)
    return total / period


@inlined
def _true_range(prices: NDArray[np.signedinteger], bar: int) -> int:
    before = int(prices[bar - 1, CLOSE])
    return max(int(prices[bar, HIGH]), before) - min(int(prices[bar, LOW]), before)
