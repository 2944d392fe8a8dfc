"""Entry filters by session, trend and volatility; each uses only bars up to the signal's own."""

import numpy as np
from numpy.typing import NDArray

from optimizer.bars.indicators import ATR_SPACING
from optimizer.bars.preparation import CLOSE, HOUR_SECONDS, Prepared
from optimizer.compilation.jit import njit
from optimizer.strategies.trade_management import HOURS_A_DAY, VOLATILITY_BARS, TradeManagement

EPOCH_WEEKDAY = 3
"""1970-01-01 was a Thursday; Monday is 0."""
MARKS = VOLATILITY_BARS // ATR_SPACING


def in_session(prepared: Prepared, management: TradeManagement, bars: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Return whether each bar closes in the session's hours and weekdays, UTC.

    A bar that closes at midnight belongs to hour 0 of the next day, the first moment its signal can fill.
    """
    inside = np.ones(len(bars), dtype=np.bool_)
    start, length, weekdays = management.hour_start, management.hour_length, management.weekdays
    _keep_session(inside, prepared.closes(bars), int(start), int(length), int(weekdays))
    return inside


def with_trend(
    prepared: Prepared, management: TradeManagement, bars: NDArray[np.int32], signals: NDArray[np.int8]
) -> NDArray[np.bool_]:
    """Return whether each signal has the sign of the trend of closed H1 bars, as `hour_trend` defines it."""
    agrees = np.ones(len(bars), dtype=np.bool_)
    closes, period = prepared.closes(bars), int(management.trend_period)
    _keep_trend(agrees, bars, signals, closes, prepared.hour_ends, prepared.prices, period)
    return agrees


def in_band(
    management: TradeManagement, bars: NDArray[np.int32], atr: NDArray[np.float64], marks: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Return whether each bar's ATR rank among the previous 960 bars lies within the band (0 lowest, 1 highest).

    The rank is the share of every 24th of those bars whose ATR is lower. `marks`: ATRs at bars 23, 47, ... Bars without
    960 earlier bars are outside.
    """
    inside = np.empty(len(bars), dtype=np.bool_)
    _rank(inside, bars, atr, marks, float(management.vol_low), float(management.vol_high))
    return inside


@njit
def _keep_session(inside: NDArray[np.bool_], closes: NDArray[np.int64], start: int, length: int, weekdays: int) -> None:
    for place in range(inside.size):
        hour = closes[place] // HOUR_SECONDS
        weekday = (hour // HOURS_A_DAY + EPOCH_WEEKDAY) % 7
        in_hours = (hour % HOURS_A_DAY - start) % HOURS_A_DAY < length
        inside[place] = in_hours and (weekdays >> weekday) & 1 == 1


@njit
def _keep_trend(
    agrees: NDArray[np.bool_],
    bars: NDArray[np.int32],
    signals: NDArray[np.int8],
    closes: NDArray[np.int64],
    hour_ends: NDArray[np.int32],
    prices: NDArray[np.signedinteger],
    period: int,
) -> None:
    """Bars ascend, so the hours that are closed at each are counted on."""
    ended = 0
    for place in range(agrees.size):
        while ended < hour_ends.size and hour_ends[ended] < bars[place]:
            ended += 1
        closed = ended + (closes[place] % HOUR_SECONDS == 0)
        trend = 0
        if closed > period:
            newest = np.int64(prices[hour_ends[closed - 1], CLOSE])
            oldest = np.int64(prices[hour_ends[closed - 1 - period], CLOSE])
            trend = int(newest > oldest) - int(newest < oldest)
        agrees[place] = trend == signals[place]


@njit
def _rank(
    inside: NDArray[np.bool_],
    bars: NDArray[np.int32],
    atr: NDArray[np.float64],
    marks: NDArray[np.float64],
    low: float,
    high: float,
) -> None:
    for place in range(inside.size):
        newest = bars[place] // ATR_SPACING
        if newest < MARKS:
            inside[place] = False
            continue
        lower = 0
        for mark in range(newest - MARKS, newest):
            lower += marks[mark] < atr[place]
        inside[place] = low <= lower / MARKS <= high
