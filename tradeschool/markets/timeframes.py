"""Timeframes: the distance between two candles."""

from datetime import timedelta
from enum import Enum

from tradeschool.errors import SettingsError


class Timeframe(Enum):
    """Length of one candle; the enum value is in seconds."""

    M5 = 300
    M15 = 900
    H1 = 3600

    @property
    def seconds(self) -> int:
        """Length of one candle in seconds."""
        return self.value

    @property
    def duration(self) -> timedelta:
        """Length of one candle as a timedelta."""
        return timedelta(seconds=self.value)


def find_timeframe(text: str) -> Timeframe:
    """Return the timeframe named `M5`, `M15` or `H1`; the case is ignored.

    Raises:
        SettingsError: if no such timeframe exists.
    """
    try:
        return Timeframe[text.strip().upper()]
    except KeyError:
        known = ", ".join(timeframe.name for timeframe in Timeframe)
        raise SettingsError(f"unknown timeframe {text!r}: expected one of {known}") from None
