"""Against the move: long when the relative strength index comes back from oversold, short from overbought."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from optimizer.backtest.jit import njit
from optimizer.backtest.prepare import Prepared
from optimizer.level import Bounds, Direction
from optimizer.management import MANAGED
from optimizer.strategy import FloatParameter, IntParameter, Parameter
from tradeschool.market import Timeframe

PERIODS_TO_FORGET = 20
"""Periods after which the first bar weighs less than e^-20, two billionths."""


@dataclass(frozen=True, slots=True)
class RsiReversion:
    """Returns of Wilder's RSI from its ends, with a stop and a target in multiples of the ATR."""

    name: str = "rsi_reversion"
    parameters: tuple[Parameter, ...] = (
        IntParameter(name="period", low=2, high=100, default=14, meaning="Bars of the relative strength index."),
        FloatParameter(name="oversold", low=5.0, high=45.0, default=30.0, meaning="Index below which it is oversold."),
        FloatParameter(
            name="overbought", low=55.0, high=95.0, default=70.0, meaning="Index above which it is overbought."
        ),
        *MANAGED,
    )

    def warm_up(self, bounds: Mapping[str, Bounds], timeframe: Timeframe) -> int:
        """Until the start is forgotten: the index is a smoothed one and never ends to remember."""
        del timeframe
        return int(bounds["period"][1]) * PERIODS_TO_FORGET

    def repair(self, parameters: Mapping[str, float]) -> dict[str, float]:
        """Any parameters make sense together."""
        return dict(parameters)

    def signals(self, candles: Prepared, parameters: Mapping[str, float], direction: Direction) -> NDArray[np.int8]:
        """Both returns whatever the direction: the one that a level does not trade is its exit."""
        del direction
        signals = np.zeros(len(candles), dtype=np.int8)
        index = relative_strength(candles.close, int(parameters["period"]))
        before, now = index[:-1], index[1:]
        signals[1:][(before < parameters["oversold"]) & (now >= parameters["oversold"])] = 1
        signals[1:][(before > parameters["overbought"]) & (now <= parameters["overbought"])] = -1
        return signals


def relative_strength(close: NDArray[np.int32], period: int) -> NDArray[np.float64]:
    """RSI of 0 to 100, shape (n_bars,); NaN before bar `period`, 50 where no close has moved.

    Source: J. Welles Wilder, New Concepts in Technical Trading Systems (1978), "Relative Strength Index".
    """
    index = np.full(len(close), np.nan)
    if len(close) > period:
        _fill_index(close, period, index)
    return index


@njit
def _fill_index(close: NDArray[np.int32], period: int, index: NDArray[np.float64]) -> None:
    gain = loss = 0.0
    weight = 1.0 / period
    for bar in range(1, close.size):
        change = float(close[bar]) - float(close[bar - 1])
        if bar <= period:  # the first value is a plain mean
            gain += max(change, 0.0) * weight
            loss += max(-change, 0.0) * weight
        else:
            gain += (max(change, 0.0) - gain) * weight
            loss += (max(-change, 0.0) - loss) * weight
        if bar >= period:
            index[bar] = 100.0 * gain / (gain + loss) if gain + loss > 0 else 50.0


STRATEGY = RsiReversion()
