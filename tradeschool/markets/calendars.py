"""Trading calendars: opening hours of each market and the candles that a window should contain.

| code | hours |
|---|---|
| `24/7` | always open: crypto |
| `fx` | Sunday 17:00 to Friday 17:00 New York time, without the closures below |
| `fx-breaks` | as `fx`, opens on Sunday at 18:00, with a break from 17:00 to 18:00 on the other days: metals, indices |
| any code of `exchange_calendars` | the sessions of that exchange, such as `XNYS`; needs `tradeschool[calendars]` |

FX is closed for the 24 hours that end on Christmas Day at 17:00 and on New Year's Day at 17:00. If Christmas falls on a
Sunday, the closure ends on Monday 17:00 instead; if New Year's Day falls on a Sunday, there is no additional closure.
Sources: OANDA v20 EUR_USD and GBP_USD H1 candles 2019-2024, of which every missing hour was examined; OANDA "Hours of
operation" for the daily break of metals and index CFDs.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from tradeschool.errors import SettingsError
from tradeschool.markets.exchange_sessions import is_exchange, sessions
from tradeschool.markets.grid import grid_of
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.windows import Window, subtract

ALWAYS, FX, FX_BREAKS = "24/7", "fx", "fx-breaks"
"""Codes of the calendars of this module."""
FX_CALENDARS = (FX, FX_BREAKS)
NEW_YORK = ZoneInfo("America/New_York")
ROLLOVER = time(17)
"""Time of day in New York at which the FX week begins and ends."""
BREAK = timedelta(hours=1)
SUNDAY = 6


def expected_slots(dataset: Dataset, window: Window) -> NDArray[np.int64]:
    """Return the open of every candle that `window` should contain: Unix seconds, ascending, shape (n_slots,).

    A window contains the candles that lie wholly inside it. One is expected if the market is open during a part of it.
    """
    grid = grid_of(dataset)
    opens = grid.opens(window)
    if dataset.instrument.calendar == ALWAYS or not len(opens):
        return opens
    closes = grid.close(opens)
    parts = open_windows(dataset.instrument.calendar, window)
    starts = np.array([part.start_seconds for part in parts], dtype=np.int64)
    ends = np.array([part.end_seconds for part in parts], dtype=np.int64)
    following = np.searchsorted(ends, opens, side="right")
    is_open = following < len(parts)
    is_open[is_open] = starts[following[is_open]] < closes[is_open]
    return opens[is_open]


def check_calendar(code: str) -> None:
    """Refuse an unknown calendar code.

    Raises:
        SettingsError: if the code is unknown, or needs a package that is not installed.
    """
    if code not in (ALWAYS, FX, FX_BREAKS) and not is_exchange(code):
        raise SettingsError(
            f"unknown calendar {code!r}: expected {ALWAYS}, {FX}, {FX_BREAKS} or a code of exchange_calendars, such as "
            "XNYS"
        )


def open_windows(calendar: str, window: Window) -> list[Window]:
    """Return the parts of `window` in which a market with this calendar is open, in order.

    Raises:
        SettingsError: if the calendar is unknown, or needs a package that is not installed.
    """
    if calendar == ALWAYS:
        return [window]
    if calendar not in FX_CALENDARS:
        check_calendar(calendar)
        return [part for session in sessions(calendar, window) if (part := session.overlap(window))]
    weeks = [part for week in _fx_weeks(window) for part in subtract(week, _closures(week))]
    if calendar == FX:
        return weeks
    breaks = _breaks(window)
    return [part for week in weeks for part in subtract(week, breaks)]


def closed_windows(calendar: str, window: Window) -> list[Window]:
    """Return the parts of `window` in which a market with this calendar is closed, in order.

    Raises:
        SettingsError: as `open_windows`.
    """
    return subtract(window, open_windows(calendar, window))


def _breaks(window: Window) -> list[Window]:
    first = window.start.astimezone(NEW_YORK).date() - timedelta(days=1)
    days = [first + timedelta(days=day) for day in range((window.end - window.start).days + 4)]
    return [Window(_rollover(day), _rollover(day) + BREAK) for day in days]


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
