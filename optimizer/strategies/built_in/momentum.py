"""Time-series momentum: the sign of the past return, with positions of a target volatility.

The formula of the size is that of `optimizer.backtest.volatility`.
Source: Moskowitz, Ooi and Pedersen 2012, Time Series Momentum, Journal of Financial Economics 104:228-250 (MOP).
Rule for rule:

| MOP | here |
|---|---|
| sign of an instrument's excess return over the last k months | the same of its price over the last `lookback` hours |
| position held for h months, then decided again | decided at the end of every `hold` hours, counted from 1970 |
| weight 40 % / ex-ante volatility a year | `position_volatility`, default 0.40, capped by the level's fraction |
| volatility: exponentially weighted squared daily returns | Wilder's ATR / sqrt(8 / pi), exponentially weighted too |
| its centre of mass: 60 days | `atr_period` - 1 bars |
| size set again each month | size set at the entry and kept: a repeated sign neither trades nor costs |
| equally weighted instruments | the level's portfolio: equally weighted datasets |
| no stop, no target | `stop_atr` and `target_atr` are off unless a level gives them a range |
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from optimizer.bars.hourly import hour_closes, hours_known_at
from optimizer.bars.preparation import HOUR_SECONDS, Prepared
from optimizer.level.spec import Bounds, Direction
from optimizer.strategies.protocol import IntParameter, Parameter
from optimizer.strategies.trade_management import (
    ATR_PERIOD,
    EXITS,
    FILTERS,
    OPTIONAL_STOP,
    OPTIONAL_TARGET,
    POSITION_VOLATILITY,
    SIZES,
)
from tradeschool.markets.timeframes import Timeframe

EXIT = 2
OTHER_SIZES = tuple(each for each in SIZES if each is not POSITION_VOLATILITY)


@dataclass(frozen=True, slots=True)
class Momentum:
    """Long after a positive return over the lookback, short after a negative one, flat after none.

    The return is that of closed H1 bars; of H4 and D1 candles, of those candles. A level searches lookback, hold and
    atr_period; the rules of `optimizer.strategies.trade_management` are off unless it gives them a range.
    """

    name: str = "momentum"
    parameters: tuple[Parameter, ...] = (
        IntParameter(
            name="lookback", low=2, high=10_000, default=72, search=(24, 120), meaning="H1 bars of the past return."
        ),
        IntParameter(
            name="hold", low=1, high=1_000, default=24, search=(4, 48), meaning="Hours between two decisions."
        ),
        ATR_PERIOD,
        OPTIONAL_STOP,
        OPTIONAL_TARGET,
        *FILTERS,
        *EXITS,
        *OTHER_SIZES,
        replace(POSITION_VOLATILITY, default=0.40),
    )

    def warm_up(self, bounds: Mapping[str, Bounds], timeframe: Timeframe) -> int:
        """Return the bars until the lookback has closed, plus one hour for the decision before."""
        return int(bounds["lookback"][1] + 2) * timeframe.bars_an_hour

    def repair(self, parameters: Mapping[str, float]) -> dict[str, float]:
        """Return the parameters unchanged; all combinations are valid."""
        return dict(parameters)

    def signals(self, candles: Prepared, parameters: Mapping[str, float], direction: Direction) -> NDArray[np.int8]:
        """Return the sign of the past return at each decision; a side that the level does not trade acts as an exit."""
        del direction
        lookback, hold = int(parameters["lookback"]), int(parameters["hold"])
        signals = np.zeros(len(candles), dtype=np.int8)
        closes, known_at = hour_closes(candles), hours_known_at(candles)
        decided = np.arange(lookback, len(closes))[_ends_of_periods(candles, hold)[lookback:]]
        decided = decided[known_at[decided] < len(candles)]
        signs = np.sign(closes[decided] - closes[decided - lookback])
        signals[known_at[decided]] = np.where(signs == 0, EXIT, signs)
        return signals


def _ends_of_periods(candles: Prepared, hold: int) -> NDArray[np.bool_]:
    """Return whether each H1 bar is the first to close at or after the end of a period of `hold` hours.

    Periods are counted from 1970-01-01 UTC, so that decisions do not depend on the first candle. Of timeframes longer
    than an hour, an hour is a candle.
    """
    unit = max(HOUR_SECONDS, candles.dataset.timeframe.seconds)
    ends = -(-candles.closes(candles.hour_ends) // unit)
    ends_period: NDArray[np.bool_] = np.diff(ends // hold, prepend=ends[:1] // hold) > 0
    return ends_period


STRATEGY = Momentum()
