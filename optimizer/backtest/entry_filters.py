"""Entry filters by session, trend and volatility; each uses only bars up to the signal's own."""

import numpy as np
from numpy.typing import NDArray

from optimizer.bars.hourly import hour_trend
from optimizer.bars.indicators import ATR_SPACING
from optimizer.bars.preparation import DAY_SECONDS, HOUR_SECONDS, Prepared
from optimizer.strategies.trade_management import HOURS_A_DAY, VOLATILITY_BARS, TradeManagement

EPOCH_WEEKDAY = 3
"""1970-01-01 was a Thursday; Monday is 0."""
MARKS = VOLATILITY_BARS // ATR_SPACING


def in_session(prepared: Prepared, management: TradeManagement, bars: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Return whether each bar closes in the session's hours and weekdays, UTC.

    A bar that closes at midnight belongs to hour 0 of the next day, the first moment its signal can fill.
    """
    closes = prepared.closes(bars)
    hour = closes // HOUR_SECONDS % HOURS_A_DAY
    weekday = (closes // DAY_SECONDS + EPOCH_WEEKDAY) % 7
    in_hours = (hour - management.hour_start) % HOURS_A_DAY < management.hour_length
    inside: NDArray[np.bool_] = in_hours & ((management.weekdays >> weekday) & 1 == 1)
    return inside


def with_trend(
    prepared: Prepared, management: TradeManagement, bars: NDArray[np.int32], signals: NDArray[np.int8]
) -> NDArray[np.bool_]:
    """Return whether each signal has the sign of the trend of closed H1 bars."""
    agrees: NDArray[np.bool_] = hour_trend(prepared, management.trend_period, bars) == signals
    return agrees


def in_band(
    management: TradeManagement, bars: NDArray[np.int32], atr: NDArray[np.float64], marks: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Return whether each bar's ATR rank among the previous 960 bars lies within the band (0 lowest, 1 highest).

    The rank is the share of every 24th of those bars whose ATR is lower. `marks`: ATRs at bars 23, 47, ... Bars without
    960 earlier bars are outside.
    """
    newest = bars // ATR_SPACING
    inside = newest >= MARKS
    places = np.maximum(newest[:, None] - 1 - np.arange(MARKS), 0)
    rank = np.mean(marks[places] < atr[:, None], axis=1) if len(marks) else np.zeros(len(bars))
    return inside & (rank >= management.vol_low) & (rank <= management.vol_high)
