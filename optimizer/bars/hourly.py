"""H1 aggregates at each bar of a dataset, from closed H1 bars only; of H4 and D1 datasets, the bars themselves."""

import numpy as np
from numpy.typing import NDArray

from optimizer.bars.preparation import HOUR_SECONDS, Prepared


def closed_hours(candles: Prepared, bars: NDArray[np.int32] | None = None) -> NDArray[np.int64]:
    """Return the number of closed H1 bars at the close of each bar, or of the given bars.

    An hour is closed once a bar ends at its end or a later bar opens: if the hour's last bar is missing, this is known
    only when the next bar opens. Hours without a bar do not count. A bar longer than an hour counts as one.
    """
    chosen = np.arange(len(candles), dtype=np.int32) if bars is None else bars
    ends_an_hour = candles.closes(chosen) % HOUR_SECONDS == 0
    closed: NDArray[np.int64] = np.searchsorted(candles.hour_ends, chosen, side="left") + ends_an_hour
    return closed


def hour_closes(candles: Prepared) -> NDArray[np.int64]:
    """Return the close of each H1 bar in ticks, shape (n_hours,); the last bar may still be open."""
    return candles.close[candles.hour_ends].astype(np.int64)


def hours_known_at(candles: Prepared) -> NDArray[np.int64]:
    """Return the bar at whose close each H1 bar is closed, by the rule of `closed_hours`; shape (n_hours,).

    It is the number of bars if the last H1 bar is still open.
    """
    known_at = candles.hour_ends.astype(np.int64)
    known_at += candles.closes(candles.hour_ends) % HOUR_SECONDS != 0
    return known_at


def hour_trend(candles: Prepared, period: int, bars: NDArray[np.int32] | None = None) -> NDArray[np.int8]:
    """Return the slope of the simple average of the last `period` closed H1 bars: +1 up, -1 down, 0 flat or unknown.

    The average rises exactly when the close that enters it is above the one that leaves it.
    """
    closes, closed = hour_closes(candles), closed_hours(candles, bars)
    known = closed > period
    newest, oldest = closes[np.maximum(closed - 1, 0)], closes[np.maximum(closed - 1 - period, 0)]
    return np.where(known, np.sign(newest - oldest), 0).astype(np.int8)
