"""SMA crossover: long when the fast moving average crosses above the slow one, short when it crosses below."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from optimizer.bars.preparation import Prepared
from optimizer.bars.sign_changes import mark_changes
from optimizer.compilation.jit import njit
from optimizer.level.spec import Bounds, Direction
from optimizer.strategies.protocol import IntParameter, Parameter
from optimizer.strategies.trade_management import MANAGED
from tradeschool.markets.timeframes import Timeframe

MIN_DISTANCE = 5
"""Minimum difference in bars between the slow and the fast average."""


@dataclass(frozen=True, slots=True)
class SmaCross:
    """Crossover of two simple moving averages of closes, with a stop and a target in multiples of the ATR.

    Searched by default: fast, slow, atr_period, stop_atr, target_atr. Off unless a level gives them a range: vol_low,
    vol_high, trend, trend_period, hour_start, hour_length, weekdays, cooldown_bars, trail_atr, max_bars,
    position_fraction, position_units, atr_risk, position_volatility. See `optimizer.strategies.trade_management` for
    their rules.
    """

    name: str = "sma_cross"
    parameters: tuple[Parameter, ...] = (
        IntParameter(name="fast", low=2, high=100, default=20, search=(5, 60), meaning="Bars of the fast average."),
        IntParameter(name="slow", low=7, high=250, default=100, search=(20, 250), meaning="Bars of the slow average."),
        *MANAGED,
    )

    def warm_up(self, bounds: Mapping[str, Bounds], timeframe: Timeframe) -> int:
        """Return the length of the longest average; a crossover also uses the previous bar."""
        del timeframe
        return int(max(bounds["slow"][1], bounds["fast"][1] + MIN_DISTANCE))

    def repair(self, parameters: Mapping[str, float]) -> dict[str, float]:
        """Return the parameters with a slow average longer than the fast one."""
        return {**parameters, "slow": max(parameters["slow"], parameters["fast"] + MIN_DISTANCE)}

    def signals(self, candles: Prepared, parameters: Mapping[str, float], direction: Direction) -> NDArray[np.int8]:
        """Return both kinds of crossovers; a side that the level does not trade acts as an exit."""
        del direction
        fast, slow = int(parameters["fast"]), int(parameters["slow"])
        signals = np.zeros(len(candles), dtype=np.int8)
        if len(candles) > slow:
            signs = np.empty(len(candles) - slow + 1, dtype=np.int8)
            _compare_averages(candles.close_sums, fast, slow, signs)
            mark_changes(signs, signals[slow - 1 :])
        return signals


@njit
def _compare_averages(sums: NDArray[np.float64], fast: int, slow: int, signs: NDArray[np.int8]) -> None:
    # Averages are compared by cross-multiplied sums, which are whole numbers below 2^53, so rounding cannot create a
    # crossover. Three plain slices let the compiler vectorise the loop.
    ends, fast_starts, slow_starts = sums[slow:], sums[slow - fast : sums.size - fast], sums[: sums.size - slow]
    for place in range(signs.size):
        fast_sum, slow_sum = ends[place] - fast_starts[place], ends[place] - slow_starts[place]
        above = fast_sum * slow - slow_sum * fast
        signs[place] = int(above > 0) - int(above < 0)


STRATEGY = SmaCross()
