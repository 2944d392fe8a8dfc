"""Donchian breakout: long on a close above the channel of the previous bars, short on a close below it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from optimizer.bars.preparation import Prepared
from optimizer.compilation.jit import inlined, njit
from optimizer.level.spec import Bounds, Direction
from optimizer.strategies.protocol import IntParameter, Parameter
from optimizer.strategies.trade_management import MANAGED
from tradeschool.markets.timeframes import Timeframe


@dataclass(frozen=True, slots=True)
class DonchianBreakout:
    """Breakouts of the Donchian channel, with a stop and a target in multiples of the ATR."""

    name: str = "donchian_breakout"
    parameters: tuple[Parameter, ...] = (
        IntParameter(name="channel", low=2, high=500, default=55, search=(10, 100), meaning="Bars of the channel."),
        *MANAGED,
    )

    def warm_up(self, bounds: Mapping[str, Bounds], timeframe: Timeframe) -> int:
        """Return the length of the channel."""
        del timeframe
        return int(bounds["channel"][1])

    def repair(self, parameters: Mapping[str, float]) -> dict[str, float]:
        """Return the parameters unchanged; all combinations are valid."""
        return dict(parameters)

    def signals(self, candles: Prepared, parameters: Mapping[str, float], direction: Direction) -> NDArray[np.int8]:
        """Return a signal for every close outside the channel; a side that the level does not trade acts as an exit."""
        del direction
        signals = np.zeros(len(candles), dtype=np.int8)
        _mark_breaks(candles.high, candles.low, candles.close, int(parameters["channel"]), signals)
        return signals


@njit
def _mark_breaks(
    high: NDArray[np.signedinteger],
    low: NDArray[np.signedinteger],
    close: NDArray[np.signedinteger],
    channel: int,
    signals: NDArray[np.int8],
) -> None:
    top = bottom = -1
    for bar in range(channel, close.size):
        top = _place_of_extreme(high, bar - channel, bar, top, 1)
        bottom = _place_of_extreme(low, bar - channel, bar, bottom, -1)
        if close[bar] > high[top]:
            signals[bar] = 1
        elif close[bar] < low[bottom]:
            signals[bar] = -1


@inlined
def _place_of_extreme(prices: NDArray[np.signedinteger], start: int, end: int, before: int, sign: int) -> int:
    """Return the last index of the highest (sign 1) or lowest (sign -1) price in [start, end).

    `before` is the index for the range one bar earlier: while it is inside, only the newest bar can replace it.
    """
    place = max(before, start)
    first = end - 1 if before >= start else start + 1
    for bar in range(first, end):
        if sign * prices[bar] >= sign * prices[place]:
            place = bar
    return place


STRATEGY = DonchianBreakout()
