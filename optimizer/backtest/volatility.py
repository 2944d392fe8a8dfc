"""Volatility targeting: a position's volatility a year as a risk per average true range (ATR)."""

from datetime import UTC, datetime
from functools import lru_cache
from math import pi, sqrt

from tradeschool.markets.calendars import expected_slots
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.windows import Window

RANGE_OVER_DEVIATION = sqrt(8 / pi)
"""Expected range of a Brownian motion without drift over its standard deviation, 1.596.

Sources: Feller 1951, The asymptotic distribution of the range of sums of independent random variables, Annals of
Mathematical Statistics 22:427-432; Parkinson 1980, The extreme value method for estimating the variance of the rate of
return, Journal of Business 53:61-65.
"""
COUNTED_YEAR = Window(datetime(2023, 1, 1, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=UTC))
"""Year whose candles are counted."""


def risk_of_one_atr(volatility: float, dataset: Dataset) -> float:
    """Return the fraction of the equity that a move of one ATR gains or loses in a position of a volatility a year.

    With n bars a year, a bar's standard deviation is estimated as s = ATR / (price sqrt(8 / pi)), and the notional over
    the equity is w = volatility / (s sqrt(n)). So w ATR / price = volatility sqrt(8 / pi) / sqrt(n), whatever the ATR.
    """
    return volatility * RANGE_OVER_DEVIATION / sqrt(bars_a_year(dataset)) if volatility > 0 else 0.0


@lru_cache(maxsize=256)
def bars_a_year(dataset: Dataset) -> int:
    """Return the number of candles that the dataset's calendar expects in 2023."""
    return len(expected_slots(dataset, COUNTED_YEAR))
