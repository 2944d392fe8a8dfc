"""Time ranges as people write them: the one parser of every option, setting and curriculum field.

| written | range |
|---|---|
| `20230101-20230201`, `2023-01-01..2023-02-01`, `2023-01-01:2023-02-01` | from the first day to the second, excluded |
| `20230101-`, `2023-01-01..` | from that day to the last settled day |
| `-20230201`, `..2023-02-01` | from the first candle there is to that day, excluded |
| `2023`, `2023-05`, `2023-05-07` | that year, month or day |
| `1672531200-1675209600`, `1672531200000-` | Unix seconds or milliseconds |
| `2023-01-01T12:00..2023-01-02` | with a time of day |

All times are in UTC, and the end is always excluded. In a range of two parts, a year, a month and a day mean their
begin: `2023..2024` is the year 2023.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from tradeschool.errors import SettingsError
from tradeschool.markets.windows import EPOCH, Window

SETTLED_AFTER = timedelta(hours=36)
"""Age after which providers no longer revise a candle."""
EXAMPLES = "20230101-20230201, 2023-01-01..2023-02-01, 20230101-, -20230201, 2023, 2023-05"
DAY = timedelta(days=1)
UNIX_DIGITS = {9: 1, 10: 1, 12: 1000, 13: 1000}
"""Number of digits of a Unix time, and its units in a second."""
PATTERNS = (
    (re.compile(r"(\d{4})"), "year"),
    (re.compile(r"(\d{4})-(\d{1,2})"), "month"),
    (re.compile(r"(\d{4})(\d{2})"), "month"),
    (re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})"), "day"),
    (re.compile(r"(\d{4})(\d{2})(\d{2})"), "day"),
    (re.compile(r"(\d{4})-?(\d{2})-?(\d{2})[T ](\d{2}):?(\d{2})(?::?(\d{2}))?(?:Z|\+00:00)?"), "moment"),
)


@dataclass(frozen=True, slots=True)
class TimeRange:
    """A range that may be open at one or both ends."""

    text: str
    """As it was written."""
    start: datetime | None
    end: datetime | None

    def window(self, *, first: datetime, last: datetime) -> Window:
        """Return the range: `first` replaces an open start, `last` an open end.

        Raises:
            SettingsError: if the range is empty.
        """
        start, end = self.start or first, self.end or last
        if start >= end:
            raise SettingsError(
                f"time range {self.text!r}, understood as {_told(start)} to {_told(end)}, is empty: "
                "the end must be after the start"
            )
        return Window(start, end)


def parse_range(text: str) -> TimeRange:
    """Parse a range, with or without open ends.

    Raises:
        SettingsError: if the text is not a range; says what was understood, with examples.
    """
    whole = text.strip()
    if (alone := _period(whole)) is not None:
        return TimeRange(text, *alone)
    for left, right in _cuts(whole):
        if not left and not right:
            continue
        parts = [_period(part) if part else (None, None) for part in (left, right)]
        if parts[0] is not None and parts[1] is not None:
            return _checked(TimeRange(text, parts[0][0], parts[1][0]))
    raise SettingsError(f"time range {text!r}: {_misread(whole)}; expected for example {EXAMPLES}")


def window_among(found: TimeRange, there: Sequence[Window]) -> Window:
    """Return a range of stored data: an open end is that of the first or last window of `there`.

    Raises:
        SettingsError: if the range is empty, or open and nothing is there.
    """
    if not there:
        return fixed_window(found)
    return found.window(first=min(each.start for each in there), last=max(each.end for each in there))


def fixed_window(found: TimeRange) -> Window:
    """Return a range whose both ends are written.

    Raises:
        SettingsError: if an end is open.
    """
    if found.start is None or found.end is None:
        side = "start" if found.start is None else "end"
        raise SettingsError(f"time range {found.text!r} has no {side}: both are needed here, as in 20230101-20230201")
    return Window(found.start, found.end)


def parse_timerange(text: str) -> Window:
    """Parse a range whose both ends are written.

    Raises:
        SettingsError: if the text is not such a range.
    """
    return fixed_window(parse_range(text))


def parse_days(text: str | None, days: int | None) -> TimeRange | None:
    """Return the range of `--timerange` and `--days`; None if neither is given.

    `--days 90` alone means the last 90 settled days; with a range that is open at one end it sets the length.

    Raises:
        SettingsError: if the range is malformed, or both of its ends are written and a number of days as well.
    """
    if days is None:
        return parse_range(text) if text else None
    given = parse_range(text) if text else TimeRange("", None, None)
    if given.start and given.end:
        raise SettingsError(f"time range {text!r} has a start and an end: omit one of them, or --days {days}")
    if given.start:
        return TimeRange(f"{text} of {days} days", given.start, given.start + days * DAY)
    return LastDays(f"{text or 'last'} {days} days", None, given.end, days)


@dataclass(frozen=True, slots=True)
class LastDays(TimeRange):
    """A number of days before the end of a range, which is the last day there is if it is open."""

    days: int

    def window(self, *, first: datetime, last: datetime) -> Window:
        """Return the range; `first` is not used."""
        del first
        end = self.end or last
        return Window(end - self.days * DAY, end)


def parse_day(text: str) -> datetime:
    """Parse one day, such as `2023-05-07`, `20230507`, `2023-05`, `2023` or a Unix time at midnight UTC.

    Raises:
        SettingsError: if the text is no day.
    """
    found = _period(text.strip())
    if found is None:
        raise SettingsError(f"day {text!r}: {_misread(text.strip())}; expected for example 2023-05-07 or 20230507")
    start = found[0]
    if (start - EPOCH) % DAY:
        raise SettingsError(f"day {text!r}, understood as {_told(start)}: expected midnight UTC, such as 2023-05-07")
    return start


def settled_day() -> date:
    """Return the last day before which providers no longer revise a candle."""
    return (datetime.now(UTC) - SETTLED_AFTER).date()


def _checked(found: TimeRange) -> TimeRange:
    if found.start and found.end:
        found.window(first=found.start, last=found.end)
    return found


def _cuts(text: str) -> list[tuple[str, str]]:
    """Return the ways to cut a text into start and end, the most explicit separator first."""
    places = [match.span() for separator in (r"\.\.", ":", "-") for match in re.finditer(separator, text)]
    return [(text[:start].strip(), text[end:].strip()) for start, end in places]


def _period(text: str) -> tuple[datetime, datetime] | None:
    """Return begin and end of the year, month, day or moment that a text names; None if it names none."""
    if text.isascii() and text.isdigit() and (unit := UNIX_DIGITS.get(len(text))):
        moment = EPOCH + timedelta(seconds=int(text) / unit)
        return moment, moment
    for pattern, kind in PATTERNS:
        if match := pattern.fullmatch(text):
            numbers = [int(number) for number in match.groups() if number]
            try:
                return _span(kind, numbers)
            except (ValueError, OverflowError):
                return None
    return None


def _span(kind: str, numbers: list[int]) -> tuple[datetime, datetime]:
    year, month, day, hour, minute, second = [*numbers, *(1, 1, 1, 0, 0, 0)[len(numbers) :]]
    start = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    if kind == "moment":
        return start, start
    if kind == "year":
        return start, start.replace(year=start.year + 1)
    if kind == "month":
        return start, (start + 31 * DAY).replace(day=1)
    return start, start + DAY


def _misread(text: str) -> str:
    """Return what was understood of a text, and what was not."""
    if not text:
        return "nothing is written"
    understood = [
        (known, left if known == right else right)
        for left, right in _cuts(text)
        for known in (left, right)
        if left and right and _period(known) is not None
    ]
    if understood:
        known, unknown = max(understood, key=lambda pair: len(pair[0]))
        return f"understood {known!r} as {_told(_period(known)[0])}, but {unknown!r} is no date"  # type: ignore[index]
    return f"{text!r} is no date" if len(text) < 30 else "this is no date"


def _told(time: datetime) -> str:
    return f"{time:%Y-%m-%d}" if (time - EPOCH) % DAY == timedelta(0) else f"{time:%Y-%m-%d %H:%M}"
