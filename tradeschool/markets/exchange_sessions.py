"""Trading sessions of stock and futures exchanges, from the optional package `exchange_calendars`."""

import warnings
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.util import find_spec
from typing import Any

from tradeschool.errors import SettingsError
from tradeschool.markets.windows import Window

PACKAGE = "exchange_calendars"


def is_exchange(code: str) -> bool:
    """Return whether a code is one of `exchange_calendars`.

    Raises:
        SettingsError: if the package is not installed.
    """
    return code in _library(code).get_calendar_names()


def sessions(code: str, window: Window) -> list[Window]:
    """Return the sessions of an exchange that overlap a window, in order, without breaks such as lunch.

    Raises:
        SettingsError: if the package is not installed, or it knows no sessions for these years.
    """
    years = range(window.start.year, (window.end + timedelta(days=1)).year + 1)  # a session may begin the day before
    return sorted({session for year in years for session in _year(code, year) if session.overlap(window)})


@cache
def _year(code: str, year: int) -> tuple[Window, ...]:
    """Return the sessions whose day, in the exchange's time zone, lies in a year or up to a day beside it."""
    library = _library(code)
    try:
        with warnings.catch_warnings(action="ignore"):  # it uses functions that the newest pandas deprecates
            calendar = library.get_calendar(code, start=f"{year - 1}-12-31", end=f"{year}-12-31")
            schedule = calendar.schedule[["open", "break_start", "break_end", "close"]]
    except (ValueError, library.errors.CalendarError) as error:
        raise SettingsError(f"calendar {code} has no sessions for {year}: {str(error).splitlines()[0]}") from error
    parts = [part for row in schedule.itertuples(index=False) for part in _parts(*row)]
    start = datetime(year, 1, 1, tzinfo=UTC)
    return tuple(part for part in parts if part.end > start)


def _parts(opens: Any, break_start: Any, break_end: Any, closes: Any) -> list[Window]:
    bounds = [(opens, break_start), (break_end, closes)] if break_start == break_start else [(opens, closes)]
    return [Window.of_seconds(int(start.timestamp()), int(end.timestamp())) for start, end in bounds]


def _library(code: str) -> Any:
    if find_spec(PACKAGE) is None:
        raise SettingsError(
            f"calendar {code} needs the package {PACKAGE}: install tradeschool[calendars], or use 24/7, fx or fx-breaks"
        )
    import exchange_calendars  # optional, and it imports pandas

    return exchange_calendars
