"""Trade management: stops, time limits, filters and position size, applied by the engine for any strategy.

A strategy enables one of these by declaring a parameter of its name, such as those below. Undeclared ones are off. They
work the same for every strategy:

| parameter | rule |
|---|---|
| atr_period | bars of Wilder's average true range (ATR), the unit of the distances below |
| stop_atr, target_atr | distance of stop and target from the fill, in ATRs of the signal's bar; 0 is off |
| trail_atr | the stop follows the best price of the bars held so far at this distance, from the next bar on; 0 is off |
| max_bars | a position is closed at the open after this many bars, reason `time`; 0 is off |
| cooldown_bars | no entry fills for this many bars from the bar of a losing exit on; 0 is off |
| vol_low, vol_high | a signal enters only if its ATR's rank among the last 960 bars lies in this band |
| trend, trend_period | 1: a signal enters only with the slope of an average of this many closed H1 bars |
| hour_start, hour_length | a signal enters only if its bar closes in these hours of the day, UTC; 24 is always |
| weekdays | the same by day: 1 Monday, 2 Tuesday, 4 Wednesday ... 64 Sunday, added; 127 is always |
| position_fraction | notional over equity, replaces the level's; 0 uses the level's |
| position_units | units of the base currency, independent of equity; 0 is off |
| atr_risk | fraction of the equity gained or lost by a move of one ATR, notional capped as above; 0 is off |
| position_volatility | volatility a year of the position, estimated from the ATR, notional capped as above; 0 is off |

A signal rejected by a filter still closes an opposite position. `atr_risk` replaces `position_volatility`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields

from optimizer.bars.indicators import ATR_SPACING
from optimizer.level.spec import Bounds
from optimizer.strategies.protocol import FloatParameter, IntParameter
from tradeschool.markets.timeframes import Timeframe

HOUR_SECONDS = 3600
HOURS_A_DAY = 24
EVERY_DAY = 0b111_1111
VOLATILITY_BARS = 960
"""Number of bars among which a signal's ATR is ranked."""

ATR_PERIOD = IntParameter(
    name="atr_period", low=2, high=50, default=14, search=(7, 28), meaning="Bars of the average true range."
)
STOP_ATR = FloatParameter(
    name="stop_atr", low=0.25, high=20.0, default=2.0, search=(0.8, 5.0), meaning="Stop distance in ATRs."
)
TARGET_ATR = FloatParameter(
    name="target_atr", low=0.25, high=40.0, default=4.0, search=(0.8, 8.0), meaning="Target distance in ATRs."
)
STOPS = (ATR_PERIOD, STOP_ATR, TARGET_ATR)
"""Stop and target in ATRs."""


def _optional(name: str, low: float, high: float, off: float, meaning: str) -> FloatParameter:
    """A rule that a level does not search unless it gives the parameter a range; `off` is its default."""
    return FloatParameter(name=name, low=low, high=high, default=off, fixed=True, meaning=meaning)


def _optional_whole(name: str, low: int, high: int, off: int, meaning: str) -> IntParameter:
    return IntParameter(name=name, low=low, high=high, default=off, fixed=True, meaning=meaning)


OPTIONAL_STOP = _optional("stop_atr", 0.0, 20.0, 0.0, "Stop distance in ATRs; 0 is off.")
OPTIONAL_TARGET = _optional("target_atr", 0.0, 40.0, 0.0, "Target distance in ATRs; 0 is off.")
"""Stop and target of strategies whose published rules have none."""
TRAIL_ATR = _optional("trail_atr", 0.0, 40.0, 0.0, "Trailing stop in ATRs; 0 is off.")
MAX_BARS = _optional_whole("max_bars", 0, 100_000, 0, "Maximum bars in a position; 0 is off.")
COOLDOWN_BARS = _optional_whole("cooldown_bars", 0, 1_000, 0, "Bars without entry after a loss.")
VOL_LOW = _optional("vol_low", 0.0, 1.0, 0.0, "Lowest ATR rank for an entry.")
VOL_HIGH = _optional("vol_high", 0.0, 1.0, 1.0, "Highest ATR rank for an entry.")
TREND = _optional_whole("trend", 0, 1, 0, "Enter with the H1 trend only.")
TREND_PERIOD = _optional_whole("trend_period", 2, 600, 200, "H1 bars of the trend's average.")
HOUR_START = _optional_whole("hour_start", 0, 23, 0, "First hour (UTC) for entries.")
HOUR_LENGTH = _optional_whole("hour_length", 1, 24, 24, "Number of hours for entries.")
WEEKDAYS = _optional_whole("weekdays", 1, EVERY_DAY, EVERY_DAY, "Weekdays for entries, sum of Monday 1 to Sunday 64.")
FILTERS = (VOL_LOW, VOL_HIGH, TREND, TREND_PERIOD, HOUR_START, HOUR_LENGTH, WEEKDAYS, COOLDOWN_BARS)
"""Entry filters; all off unless a level gives them a range."""
EXITS = (TRAIL_ATR, MAX_BARS)
"""Additional exits; both off unless a level gives them a range."""

POSITION_FRACTION = _optional("position_fraction", 0.0, 1.0, 0.0, "Notional over equity; 0 uses the level's.")
POSITION_UNITS = _optional("position_units", 0.0, 1e9, 0.0, "Units of the base currency; 0 is off.")
ATR_RISK = _optional("atr_risk", 0.0, 0.1, 0.0, "Share of equity risked per ATR; 0 is off.")
POSITION_VOLATILITY = _optional("position_volatility", 0.0, 2.0, 0.0, "Volatility a year of a position; 0 is off.")
SIZES = (POSITION_FRACTION, POSITION_UNITS, ATR_RISK, POSITION_VOLATILITY)
"""Position size; the level's fraction of the equity unless a range or flag sets another."""
MANAGED = (*STOPS, *FILTERS, *EXITS, *SIZES)
"""All parameters: stop and target on, everything else available but off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeManagement:
    """One trial's values of these parameters; undeclared ones are off."""

    atr_period: int = 14
    stop_atr: float = 0.0
    target_atr: float = 0.0
    trail_atr: float = 0.0
    max_bars: int = 0
    cooldown_bars: int = 0
    vol_low: float = 0.0
    vol_high: float = 1.0
    trend: int = 0
    trend_period: int = 200
    hour_start: int = 0
    hour_length: int = HOURS_A_DAY
    weekdays: int = EVERY_DAY
    position_fraction: float = 0.0
    position_units: float = 0.0
    atr_risk: float = 0.0
    position_volatility: float = 0.0

    @classmethod
    def of(cls, parameters: Mapping[str, float]) -> "TradeManagement":
        """Select the management parameters among a strategy's, whole numbers as int."""
        given = {name: parameters[name] for name in NAMES if name in parameters}
        return cls(**{name: int(value) if name in WHOLE else value for name, value in given.items()})  # type: ignore[arg-type]  # mypy sees one type for all

    @property
    def needs_atr(self) -> bool:
        """Whether any rule uses the ATR."""
        distances = (self.stop_atr, self.target_atr, self.trail_atr, self.atr_risk, self.position_volatility)
        return max(distances) > 0 or self.has_band

    @property
    def has_band(self) -> bool:
        """Whether the volatility filter is on."""
        return self.vol_low > 0 or self.vol_high < 1

    @property
    def has_session(self) -> bool:
        """Whether the session filter is on."""
        return self.hour_length < HOURS_A_DAY or self.weekdays != EVERY_DAY


NAMES = tuple(field.name for field in fields(TradeManagement))
WHOLE = frozenset(field.name for field in fields(TradeManagement) if field.type is int)


def warm_up(bounds: Mapping[str, Bounds], timeframe: Timeframe) -> int:
    """Return the warm-up in bars of the rules above, for any parameters within `bounds`."""
    widest = {name: high for name, (_, high) in bounds.items()}
    bars = int(widest.get("atr_period", 0))
    if widest.get("trend", 0) > 0:
        # The closed hours of the period, the hour they are compared with, and the hour that is still open.
        bars = max(bars, (int(widest["trend_period"]) + 2) * timeframe.bars_an_hour)
    if bounds.get("vol_low", (0, 0))[1] > 0 or bounds.get("vol_high", (1, 1))[0] < 1:
        bars = max(bars, int(widest.get("atr_period", 0)) + VOLATILITY_BARS + ATR_SPACING)
    return bars
