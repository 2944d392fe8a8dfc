"""RSI mean reversion: long when the RSI leaves the oversold zone, short when it leaves the overbought zone."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from optimizer.bars.preparation import Prepared
from optimizer.compilation.jit import njit
from optimizer.level.spec import Bounds, Direction
from optimizer.strategies.protocol import FloatParameter, IntParameter, Parameter
from optimizer.strategies.trade_management import MANAGED
from tradeschool.markets.timeframes import Timeframe

PERIODS_TO_FORGET = 20
"""Number of periods after which the first bar's weight is below e^-20, two billionths."""


@dataclass(frozen=True, slots=True)
class RsiReversion:
    """Wilder's RSI leaving its extreme zones, with a stop and a target in multiples of the ATR."""

    name: str = "rsi_reversion"
    parameters: tuple[Parameter, ...] = (
        IntParameter(
            name="period", low=2, high=100, default=14, search=(5, 14), meaning="Bars of the relative strength index."
        ),
        FloatParameter(
            name="oversold",
            low=5.0,
            high=45.0,
            default=30.0,
            search=(15.0, 40.0),
            meaning="Index below which it is oversold.",
        ),
        FloatParameter(
            name="overbought",
            low=55.0,
            high=95.0,
            default=70.0,
            search=(60.0, 85.0),
            meaning="Index above which it is overbought.",
        ),
        *MANAGED,
    )

    def warm_up(self, bounds: Mapping[str, Bounds], timeframe: Timeframe) -> int:
        """Return the bars until the exponentially smoothed start value is negligible."""
        del timeframe
        return int(bounds["period"][1]) * PERIODS_TO_FORGET

    def repair(self, parameters: Mapping[str, float]) -> dict[str, float]:
        """Return the parameters unchanged; all combinations are valid."""
        return dict(parameters)

    def signals(self, candles: Prepared, parameters: Mapping[str, float], direction: Direction) -> NDArray[np.int8]:
        """Return both kinds of signals; a side that the level does not trade acts as an exit."""
        del direction
        signals = np.zeros(len(candles), dtype=np.int8)
        index = relative_strength(candles.close, int(parameters["period"]))
        before, now = index[:-1], index[1:]
        signals[1:][(before < parameters["oversold"]) & (now >= parameters["oversold"])] = 1
        signals[1:][(before > parameters["overbought"]) & (now <= parameters["overbought"])] = -1
        return signals


def relative_strength(close: NDArray[np.signedinteger], period: int) -> NDArray[np.float64]:
    """Return the RSI in 0 to 100, shape (n_bars,); NaN before bar `period`, 50 if no close has moved.

    Source: J. Welles Wilder, New Concepts in Technical Trading Systems (1978), "Relative Strength Index".
    """
    index = np.full(len(close), np.nan)
    if len(close) > period:
        _fill_index(close, period, index)
    return index


@njit
def _fill_index(close: NDArray[np.signedinteger], period: int, index: NDArray[np.float64]) -> None:
    gain = loss = 0.0
    weight = 1.0 / period
    for bar in range(1, close.size):
        change = float(close[bar]) - float(close[bar - 1])
        if bar <= period:  # the first value is a simple mean
            gain += max(change, 0.0) * weight
            loss += max(-change, 0.0) * weight
        else:
            gain += (max(change, 0.0) - gain) * weight
            loss += (max(-change, 0.0) - loss) * weight
        if bar >= period:
            index[bar] = 100.0 * gain / (gain + loss) if gain + loss > 0 else 50.0


STRATEGY = RsiReversion()
