"""Band reversion: long below the lower Bollinger band, short above the upper one, until the mean or a time stop.

The z-score of a close is its distance from the mean of the last `period` closes, itself included, in population
standard deviations of those closes; a Bollinger band is a z-score of -`width` or +`width`.
Source of the bands: John Bollinger 2001, Bollinger on Bollinger Bands (McGraw-Hill): 20 bars and 2 deviations by
default, 1.9 for 10 bars and 2.1 for 50. Source of entry and exit by z-score: Ernest P. Chan 2013, Algorithmic Trading
(Wiley), chapter 3. The stop and the time stop limit what a close that does not return can lose.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from optimizer.bars.preparation import Prepared
from optimizer.compilation.jit import inlined, njit
from optimizer.level.spec import Bounds, Direction
from optimizer.strategies.protocol import FloatParameter, IntParameter, Parameter
from optimizer.strategies.trade_management import ATR_PERIOD, FILTERS, OPTIONAL_TARGET, SIZES, STOP_ATR, TRAIL_ATR
from tradeschool.markets.timeframes import Timeframe

LARGEST_SPAN = 2**32
"""Largest product of period and range of closes in ticks up to which all sums of squares are exact in 64 bits."""


@dataclass(frozen=True, slots=True)
class BandReversion:
    """Entry when a close moves beyond a band, exit when closes reach or cross the mean, or after `max_bars` bars.

    A level also searches the stop. The target is the mean; a target in ATRs is off unless a level gives it a range.
    """

    name: str = "band_reversion"
    parameters: tuple[Parameter, ...] = (
        IntParameter(name="period", low=2, high=500, default=20, search=(10, 100), meaning="Bars of mean and bands."),
        FloatParameter(
            name="width", low=0.5, high=5.0, default=2.0, search=(1.5, 3.0), meaning="Standard deviations to a band."
        ),
        IntParameter(
            name="max_bars", low=1, high=100_000, default=40, search=(10, 120), meaning="Maximum bars in a position."
        ),
        ATR_PERIOD,
        STOP_ATR,
        OPTIONAL_TARGET,
        *FILTERS,
        TRAIL_ATR,
        *SIZES,
    )

    def warm_up(self, bounds: Mapping[str, Bounds], timeframe: Timeframe) -> int:
        """Return the bars of the bands; a crossing also uses the previous bar."""
        del timeframe
        return int(bounds["period"][1])

    def repair(self, parameters: Mapping[str, float]) -> dict[str, float]:
        """Return the parameters unchanged; all combinations are valid."""
        return dict(parameters)

    def signals(self, candles: Prepared, parameters: Mapping[str, float], direction: Direction) -> NDArray[np.int8]:
        """Return entries beyond a band and exits at the mean; a side that the level does not trade acts as an exit."""
        del direction
        period, width = int(parameters["period"]), float(parameters["width"])
        signals = np.zeros(len(candles), dtype=np.int8)
        if len(candles) > period:
            lowest, highest = int(candles.close.min()), int(candles.close.max())
            mark = _mark_exactly if period * (highest - lowest) <= LARGEST_SPAN else _mark_by_window
            mark(candles.close, period, width * width, (lowest + highest) // 2, signals)
        return signals


@njit
def _mark_exactly(
    close: NDArray[np.signedinteger], period: int, width_squared: float, middle: int, signals: NDArray[np.int8]
) -> None:
    # Sums of closes and of their squares move with the window. As whole numbers they are exact, so no signal depends on
    # where the candles begin. Distances from the middle of all closes keep them small and cancel out.
    total = squares = 0
    for bar in range(period - 1):
        price = int(close[bar]) - middle
        total += price
        squares += price * price
    side = beyond = 0
    for bar in range(period - 1, close.size):
        price = int(close[bar]) - middle
        total += price
        squares += price * price
        distance = period * price - total
        variance = float(period * squares - total * total)  # times period^2, as the square of the distance
        before, side = side, int(distance > 0) - int(distance < 0)
        beyond_before, beyond = beyond, _beyond(distance, variance, width_squared)
        if bar >= period:
            signals[bar] = _signal(side, before, beyond, beyond_before)
        oldest = int(close[bar - period + 1]) - middle
        total -= oldest
        squares -= oldest * oldest


@njit
def _mark_by_window(
    close: NDArray[np.signedinteger], period: int, width_squared: float, middle: int, signals: NDArray[np.int8]
) -> None:
    # For prices whose sums of squares exceed 64 bits: each window is summed on its own, in float64.
    side = beyond = 0
    for bar in range(period - 1, close.size):
        total = 0
        for each in range(bar - period + 1, bar + 1):
            total += int(close[each]) - middle
        squares = 0.0
        for each in range(bar - period + 1, bar + 1):
            deviation = float(period * (int(close[each]) - middle) - total)
            squares += deviation * deviation
        distance = period * (int(close[bar]) - middle) - total
        before, side = side, int(distance > 0) - int(distance < 0)
        beyond_before, beyond = beyond, _beyond(distance, squares / period, width_squared)
        if bar >= period:
            signals[bar] = _signal(side, before, beyond, beyond_before)


@inlined
def _beyond(distance: int, variance: float, width_squared: float) -> int:
    """Return 1 for a close on or above the upper band, -1 on or below the lower one, 0 between them."""
    side = int(distance > 0) - int(distance < 0)
    return side * int(float(distance) * float(distance) >= width_squared * variance)


@inlined
def _signal(side: int, before: int, beyond: int, beyond_before: int) -> int:
    """Return an entry against a close that has just moved beyond a band, or an exit if it has reached the mean."""
    entry = -beyond * int(beyond != beyond_before)
    return entry + 2 * int(side != before) * int(entry == 0)  # without branches, which no processor could foresee


STRATEGY = BandReversion()
