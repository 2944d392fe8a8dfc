"""H1 pullback: enters when price returns to its average, in the direction of the trend of closed H1 bars."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from optimizer.bars.hourly import closed_hours, hour_closes
from optimizer.bars.preparation import Prepared
from optimizer.level.spec import Bounds, Direction
from optimizer.strategies.protocol import IntParameter, Parameter
from optimizer.strategies.trade_management import MANAGED
from tradeschool.markets.timeframes import Timeframe

MIN_DISTANCE = 2
"""Minimum difference in hours between the slow and the fast average."""


@dataclass(frozen=True, slots=True)
class HourPullback:
    """Long if the fast H1 average is above the slow one and a bar closes back above its own average.

    Short in the opposite case; exit when the H1 averages cross. An H1 bar counts from its close; on H1 candles both
    timeframes are the same.
    """

    name: str = "hour_pullback"
    parameters: tuple[Parameter, ...] = (
        IntParameter(
            name="hour_fast", low=2, high=100, default=20, search=(5, 30), meaning="H1 bars of the fast average."
        ),
        IntParameter(
            name="hour_slow", low=4, high=400, default=100, search=(20, 120), meaning="H1 bars of the slow average."
        ),
        IntParameter(
            name="pullback",
            low=2,
            high=250,
            default=20,
            search=(5, 60),
            meaning="Bars of the average that prices return to.",
        ),
        *MANAGED,
    )

    def warm_up(self, bounds: Mapping[str, Bounds], timeframe: Timeframe) -> int:
        """Return the bars until the slow average has enough closed hours, plus one hour to compare with."""
        slow = max(bounds["hour_slow"][1], bounds["hour_fast"][1] + MIN_DISTANCE)
        return int(max((slow + 2) * timeframe.bars_an_hour, bounds["pullback"][1] + 1))

    def repair(self, parameters: Mapping[str, float]) -> dict[str, float]:
        """Return the parameters with a slow average longer than the fast one."""
        return {**parameters, "hour_slow": max(parameters["hour_slow"], parameters["hour_fast"] + MIN_DISTANCE)}

    def signals(self, candles: Prepared, parameters: Mapping[str, float], direction: Direction) -> NDArray[np.int8]:
        """Return pullback entries with the trend, and an exit when the trend changes."""
        del direction
        trend = _trend(candles, int(parameters["hour_fast"]), int(parameters["hour_slow"]))
        side = _side_of_average(candles, int(parameters["pullback"]))
        signals = np.zeros(len(candles), dtype=np.int8)
        returns = (side[1:] != side[:-1]) & (side[1:] == trend[1:])
        signals[1:] = np.where(trend[1:] != trend[:-1], 2, 0)
        signals[1:][returns] = side[1:][returns]
        return signals


def _trend(candles: Prepared, fast: int, slow: int) -> NDArray[np.int8]:
    """Return the sign of fast minus slow average of the hours closed at each bar; 0 during the warm-up."""
    sums = np.concatenate(([0], np.cumsum(hour_closes(candles))))
    ends = np.arange(slow, len(sums))
    above = (sums[ends] - sums[ends - fast]) * slow - (sums[ends] - sums[ends - slow]) * fast
    by_closed_hours = np.concatenate((np.zeros(min(slow, len(sums)), dtype=np.int8), np.sign(above).astype(np.int8)))
    trend: NDArray[np.int8] = by_closed_hours[closed_hours(candles)]
    return trend


def _side_of_average(candles: Prepared, period: int) -> NDArray[np.int8]:
    """Return the sign of each close minus the average of the last `period` closes; 0 during the warm-up."""
    side = np.zeros(len(candles), dtype=np.int8)
    sums = candles.close_sums
    average_times_period = sums[period:] - sums[:-period]
    side[period - 1 :] = np.sign(candles.close[period - 1 :] * np.int64(period) - average_times_period)
    return side


STRATEGY = HourPullback()
