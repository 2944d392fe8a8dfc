"""SMA crossover: long when the fast moving average crosses above the slow one, short when it crosses below."""

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

MIN_DISTANCE = 5
"""Minimum difference in bars between the slow and the fast average."""
CHUNK = 512
"""Signs that are computed at once; they stay in the processor's nearest memory."""
WORD = 8
"""Signs compared per step."""
EIGHT_TIMES = np.uint64(0x0101010101010101)
"""Factor that repeats a byte in all eight bytes of a word."""


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
        signals = np.zeros(len(candles), dtype=np.int8)
        bars, crossings = _crossings_of(candles, parameters, 0)
        signals[bars] = crossings
        return signals

    def judged_signals(
        self, candles: Prepared, parameters: Mapping[str, float]
    ) -> tuple[NDArray[np.int32], NDArray[np.int8]]:
        """Return judged bars with a crossover, ascending, and the signals: `signals` without its zeros."""
        return _crossings_of(candles, parameters, candles.first_evaluated)


def _crossings_of(
    candles: Prepared, parameters: Mapping[str, float], first: int
) -> tuple[NDArray[np.int32], NDArray[np.int8]]:
    """Return the bars of crossovers from bar `first` on, and their directions."""
    fast, slow = int(parameters["fast"]), int(parameters["slow"])
    most = max(0, len(candles) - max(slow, first))
    bars, signals, signs = np.empty(most, dtype=np.int32), np.empty(most, dtype=np.int8), np.empty(CHUNK, dtype=np.int8)
    count = _cross(candles.close_sums, fast, slow, first, signs, signs.view(np.uint64), bars, signals) if most else 0
    return bars[:count].copy(), signals[:count].copy()


@njit
def _cross(
    sums: NDArray[np.float64],
    fast: int,
    slow: int,
    first: int,
    signs: NDArray[np.int8],
    words: NDArray[np.uint64],
    bars: NDArray[np.int32],
    signals: NDArray[np.int8],
) -> int:
    """Write bar and sign of every crossover and return their number; `words` is a view of `signs`.

    A crossover is a sign of the averages' difference that is not zero and not that of the bar before. Most signs
    repeat, so eight are compared at once.
    """
    begin, count = max(0, first - slow), 0
    _compare_averages(sums, fast, slow, begin, 1, signs)
    before = signs[0]
    for start in range(begin + 1, sums.size - slow, CHUNK):
        size = min(CHUNK, sums.size - slow - start)
        _compare_averages(sums, fast, slow, start, size, signs)
        for word in range((size + WORD - 1) // WORD):
            if (word + 1) * WORD <= size and words[word] == np.uint64(np.uint8(before)) * EIGHT_TIMES:
                continue
            for place in range(word * WORD, min(size, word * WORD + WORD)):
                sign = signs[place]
                if sign != before and sign != 0:
                    bars[count], signals[count] = start + place + slow - 1, sign
                    count += 1
                before = sign
    return count


@inlined
def _compare_averages(
    sums: NDArray[np.float64], fast: int, slow: int, start: int, size: int, signs: NDArray[np.int8]
) -> None:
    """Write the signs of `size` differences of the averages, from that of bar `start + slow - 1` on."""
    # Averages are compared by cross-multiplied sums, which are whole numbers below 2^53, so rounding cannot create a
    # crossover. Three plain slices let the compiler vectorise the loop.
    ends = sums[start + slow : start + slow + size]
    fast_starts = sums[start + slow - fast : start + slow - fast + size]
    slow_starts = sums[start : start + size]
    for place in range(size):
        fast_sum, slow_sum = ends[place] - fast_starts[place], ends[place] - slow_starts[place]
        above = fast_sum * slow - slow_sum * fast
        signs[place] = int(above > 0) - int(above < 0)


STRATEGY = SmaCross()
