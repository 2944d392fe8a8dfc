"""Follow the trend: long when the fast average of closes rises above the slow one, short when it falls below."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from optimizer.backtest.jit import njit
from optimizer.backtest.prepare import Prepared
from optimizer.level import Bounds, Direction
from optimizer.strategy import AtrStops, FloatParameter, IntParameter, Parameter

LEAST_DISTANCE = 5
"""Bars by which the slow average is longer than the fast one, at least."""
ATR_STOPS = AtrStops(period="atr_period", stop="stop_atr", target="target_atr")


@dataclass(frozen=True, slots=True)
class SmaCross:
    """Crossing of two simple moving averages of closes, with a stop and a target in multiples of the ATR."""

    name: str = "sma_cross"
    parameters: tuple[Parameter, ...] = (
        IntParameter(name="fast", low=2, high=100, default=20, meaning="Bars of the fast average."),
        IntParameter(name="slow", low=7, high=250, default=100, meaning="Bars of the slow average."),
        IntParameter(name="atr_period", low=2, high=50, default=14, meaning="Bars of the average true range."),
        FloatParameter(name="stop_atr", low=0.25, high=20.0, default=2.0, meaning="Stop distance in ATRs."),
        FloatParameter(name="target_atr", low=0.25, high=40.0, default=4.0, meaning="Target distance in ATRs."),
    )
    stops: AtrStops | None = ATR_STOPS

    def warm_up(self, bounds: Mapping[str, Bounds]) -> int:
        """As many bars as the longest average: a crossing compares the bar before, too."""
        longest_slow = max(bounds["slow"][1], bounds["fast"][1] + LEAST_DISTANCE)
        return int(max(longest_slow, bounds["atr_period"][1]))

    def repair(self, parameters: Mapping[str, float]) -> dict[str, float]:
        """The same, with a slow average that is slower than the fast one."""
        return {**parameters, "slow": max(parameters["slow"], parameters["fast"] + LEAST_DISTANCE)}

    def signals(self, prepared: Prepared, parameters: Mapping[str, float], direction: Direction) -> NDArray[np.int8]:
        """Both crossings whatever the direction: the one that a level does not trade is its exit."""
        signals = np.zeros(len(prepared), dtype=np.int8)
        _mark_crossings(prepared.close_sums, int(parameters["fast"]), int(parameters["slow"]), signals)
        return signals


@njit
def _mark_crossings(sums: NDArray[np.float64], fast: int, slow: int, signals: NDArray[np.int8]) -> None:
    # Averages are compared by cross-multiplied sums, which are whole numbers below 2^53: no rounding, so no
    # crossing that is only an artefact of it.
    before = np.nan
    for bar in range(slow - 1, signals.size):
        end = sums[bar + 1]
        above = (end - sums[bar + 1 - fast]) * slow - (end - sums[bar + 1 - slow]) * fast
        if before <= 0 < above:
            signals[bar] = 1
        elif before >= 0 > above:
            signals[bar] = -1
        before = above


STRATEGY = SmaCross()
