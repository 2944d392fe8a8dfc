"""Timeframes: the distance between two candles, and the names that people write for them."""

import re
from datetime import timedelta
from difflib import get_close_matches
from enum import Enum

from tradeschool.errors import SettingsError


class Timeframe(Enum):
    """Length of one candle; the enum value is in seconds, shortest first."""

    M1 = 60
    M5 = 300
    M15 = 900
    M30 = 1800
    H1 = 3600
    H4 = 14400
    D1 = 86400

    @property
    def seconds(self) -> int:
        """Length of one candle in seconds; the candles of a day with a clock change may differ (see `grid`)."""
        return self.value

    @property
    def duration(self) -> timedelta:
        """Length of one candle as a timedelta."""
        return timedelta(seconds=self.value)

    @property
    def bars_an_hour(self) -> int:
        """Candles of an hour; 1 for timeframes longer than an hour."""
        return max(1, HOUR // self.value)

    @property
    def is_day_aligned(self) -> bool:
        """Whether candles are counted from the start of the trading day, as opposed to the full hour."""
        return self.value > HOUR

    @property
    def alias(self) -> str:
        """Short name as exchanges write it, such as `5m`, `4h` or `1d`."""
        unit, name = max((unit for unit in UNITS.items() if self.value % unit[0] == 0), key=lambda unit: unit[0])
        return f"{self.value // unit}{name}"

    @property
    def finer(self) -> tuple["Timeframe", ...]:
        """Shorter timeframes from which this one can be derived, shortest first; each divides the next one."""
        return tuple(each for each in Timeframe if each.value < self.value)

    @property
    def coarser(self) -> tuple["Timeframe", ...]:
        """Longer timeframes, shortest first."""
        return tuple(each for each in Timeframe if each.value > self.value)


HOUR = 3600
UNITS = {60: "m", 3600: "h", 86400: "d"}
DEFAULT_TIMEFRAMES = (Timeframe.M5, Timeframe.M15, Timeframe.H1)
"""Timeframes of the default catalogue."""
UNIT_SECONDS = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1),
    **dict.fromkeys(("", "m", "t", "min", "mins", "minute", "minutes"), 60),
    **dict.fromkeys(("h", "hr", "hour", "hours"), 3600),
    **dict.fromkeys(("d", "day", "days"), 86400),
    **dict.fromkeys(("w", "wk", "week", "weeks"), 604_800),
}
"""Seconds by unit; a number without a unit is in minutes, as in MetaTrader and TradingView."""
MONTH = 30 * 86400
WORDS = {
    "h": 3600,
    "hourly": 3600,
    "d": 86400,
    "day": 86400,
    "daily": 86400,
    "w": 604_800,
    "weekly": 604_800,
    **dict.fromkeys(("mn", "mn1", "1mo", "monthly"), MONTH),
}
MOST_DIGITS = 6


def find_timeframe(text: str) -> Timeframe:
    """Return the timeframe of a name such as `M5`, `m5`, `5m`, `5min`, `5`, `60m`, `240`, `1h`, `D` or `1d`.

    `1M` is a month, as exchanges write it, and never a minute.

    Raises:
        SettingsError: if no such timeframe exists; names the nearest ones and all.
    """
    seconds = _seconds(text.strip())
    for timeframe in Timeframe:
        if timeframe.seconds == seconds:
            return timeframe
    known = ", ".join(f"{timeframe.name} ({timeframe.alias})" for timeframe in Timeframe)
    raise SettingsError(f"unknown timeframe {text!r}, nearest {_nearest(text, seconds)}: expected one of {known}")


def find_timeframes(text: str) -> tuple[Timeframe, ...]:
    """Return the timeframes of a comma-separated list of names, shortest first.

    Raises:
        SettingsError: if a name is unknown.
    """
    named = {find_timeframe(name) for name in text.split(",")}
    return tuple(timeframe for timeframe in Timeframe if timeframe in named)


def _seconds(text: str) -> int | None:
    """Return the length that a name means; None if it means none."""
    if text == "1M":
        return MONTH
    name = text.lower().removeprefix("period_")
    if name in WORDS:
        return WORDS[name]
    number_first = re.fullmatch(r"(\d+)\s*([a-z]*)", name)
    unit_first = re.fullmatch(r"([a-z]+)(\d+)", name)
    if number_first:
        number, unit = number_first.groups()
    elif unit_first:
        unit, number = unit_first.groups()
    else:
        return None
    if unit not in UNIT_SECONDS or len(number) > MOST_DIGITS:
        return None
    return int(number) * UNIT_SECONDS[unit]


def _nearest(text: str, seconds: int | None) -> str:
    """Return the next shorter and longer timeframe of a length, or the name that is most alike."""
    if seconds:
        near = [each.name for each in Timeframe if each.seconds < seconds][-1:]
        near += [each.name for each in Timeframe if each.seconds > seconds][:1]
    else:
        named = {name: each.name for each in Timeframe for name in (each.name, each.alias)}
        near = [named[name] for name in get_close_matches(text, named, n=1, cutoff=0.0)]
    return " or ".join(near)
