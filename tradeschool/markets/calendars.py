"""Trading calendar: opening hours of each market and the candles that a window should contain.

Crypto trades all the time. FX trades from Sunday 17:00 to Friday 17:00 New York time, except for the 24 hours that
end on Christmas Day at 17:00 and on New Year's Day at 17:00. If Christmas falls on a Sunday, the closure ends on
Monday 17:00 instead; if New Year's Day falls on a Sunday, there is no additional closure.
Source: OANDA v20 EUR_USD and GBP_USD H1 candles 2019-2024; every missing hour was examined.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from tradeschool.markets.grid import grid_of
from tradeschool.markets.instruments import Dataset, Market
from tradeschool.markets.windows import Window, subtract

NEW_YORK = ZoneInfo("America/New_York")
ROLLOVER = time(17)
"""Time of day in New York at which the FX week begins and ends."""
SUNDAY = 6


def expected_slots(dataset: Dataset, window: Window) -> NDArray[np.int64]:
    """Return the open of every candle that `window` should contain: Unix seconds, ascending, shape (n_slots,).

    A window contains the candles that lie wholly inside it. One is expected if the market is open during a part of it.
    """
    grid = grid_of(dataset)
    opens = grid.opens(window)
    if dataset.instrument.market is Market.CRYPTO or not len(opens):
        return opens
    closes = grid.close(opens)
    parts = open_windows(dataset.instrument.market, window)
    starts = np.array([part.start_seconds for part in parts], dtype=np.int64)
    ends = np.array([part.end_seconds for part in parts], dtype=np.int64)
    following = np.searchsorted(ends, opens, side="right")
    is_open = following < len(parts)
    is_open[is_open] = starts[following[is_open]] < closes[is_open]
    return opens[is_open]


def open_windows(market: Market, window: Window) -> list[Window]:
    """Return the parts of `window` in which the market is open, in order."""
    if market is Market.CRYPTO:
        return [window]
    return [part for week in _fx_weeks(window) for part in subtract(week, _closures(week))]


def closed_windows(market: Market, window: Window) -> list[Window]:
    """Return the parts of `window` in which the market is closed by calendar, in order."""
    return subtract(window, open_windows(market, window))


def _fx_weeks(window: Window) -> Iterator[Window]:
    sunday = window.start.astimezone(NEW_YORK).date() - timedelta(days=7)
    sunday += timedelta(days=(SUNDAY - sunday.weekday()) % 7)
    while _rollover(sunday) < window.end:
        week = Window(_rollover(sunday), _rollover(sunday + timedelta(days=5)))
        if part := week.overlap(window):
            yield part
        sunday += timedelta(days=7)


def _closures(window: Window) -> list[Window]:
    closures = []
    for year in range(window.start.year, window.end.year + 2):  # New Year's closure begins in the year before
        closures.append(_day_until_rollover(_christmas_observed(year)))
        if date(year, 1, 1).weekday() != SUNDAY:
            closures.append(_day_until_rollover(date(year, 1, 1)))
    return [closure for closure in closures if closure.overlap(window)]


def _christmas_observed(year: int) -> date:
    day = date(year, 12, 25)
    return day + timedelta(days=1) if day.weekday() == SUNDAY else day


def _day_until_rollover(day: date) -> Window:
    return Window(_rollover(day - timedelta(days=1)), _rollover(day))


def _rollover(day: date) -> datetime:
    return datetime.combine(day, ROLLOVER, NEW_YORK).astimezone(UTC)
