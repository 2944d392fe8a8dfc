"""Text formats of times: which exist, and whether the day or the month comes first."""

from collections.abc import Iterable, Sequence
from datetime import date
from itertools import pairwise

import polars as pl

from fetcher.importing.files.errors import invalid
from fetcher.importing.files.tables import LINE, Head

CLOCKS = (" %H:%M:%S%.f", " %H:%M", "", " %I:%M:%S %p", " %I:%M %p")
COMPACT_CLOCKS = (" %H%M%S", " %H:%M:%S%.f", " %H:%M", " %H%M", "%H%M%S", "%H%M", "")
YEAR_FIRST = tuple(f"%Y-%m-%d{clock}" for clock in CLOCKS)
DAY_FIRST = tuple(f"%d-%m-%Y{clock}" for clock in CLOCKS)
MONTH_FIRST = tuple(f"%m-%d-%Y{clock}" for clock in CLOCKS)
COMPACT = tuple(f"%Y%m%d{clock}" for clock in COMPACT_CLOCKS)
NAMED_MONTHS = tuple(f"{day}{clock}" for day in ("%d-%b-%Y", "%d %b %Y", "%b %d %Y") for clock in CLOCKS)
ALWAYS = (*YEAR_FIRST, *COMPACT, *NAMED_MONTHS)
"""Formats that mean one time whatever the order of day and month."""
DAY_OR_MONTH = r"^(\d{1,2})([-./])(\d{1,2})[-./](\d{4})"
ZONED = r"(?i)^(.*\d:\d\d(?::\d\d)?(?:\.\d+)?)\s*(Z|(?:UTC|GMT)?[+-]\d\d(?::?\d\d)?|UTC|GMT)$"
"""A time that ends with its zone: base and zone."""
LONGEST_PAUSE = 5
"""Days between two trading days of a file, at most, for the order of day and month to be certain."""


def plain_texts(times: pl.Series) -> pl.Series:
    """Return times with hyphens in the date, one space before the time of day, and minutes after an hour."""
    return (
        times.str.strip_chars()
        .str.replace(r"^(\d{1,4})[./](\d{1,2})[./](\d{1,4})", "${1}-${2}-${3}")
        .str.replace(r"(\d)[Tt](\d)", "${1} ${2}")
        .str.replace_all(",", "", literal=True)
        .str.replace(r"(\d{4}),? {2,}", "${1} ")
        .str.replace(r"(?i) (\d{1,2})-([ap]m)$", " ${1}:00 ${2}")
    )


def is_day_first(times: Iterable[pl.DataFrame], column: str, head: Head) -> bool:
    """Return whether dates such as 01/02/2024 begin with the day, by evidence over all times of a file.

    A first number above 12 is a day, a second one too. If no number is above 12, the order counts in which the dates
    of consecutive rows follow each other within a few days. Points stand for day first.

    Raises:
        InvalidCandles: if both orders are possible, or none.
    """
    dates, separator, line = _dates(times, column)
    first, second = {pair[0] for pair in dates}, {pair[1] for pair in dates}
    is_possible = {True: max(second) <= 12, False: max(first) <= 12}
    if not any(is_possible.values()):
        raise invalid(head.name, f"column {column!r} mixes dates with the day and with the month first; split the file")
    if all(is_possible.values()) and any(a != b for a, b, _ in dates):
        if separator == ".":
            return True
        is_possible = {order: _is_steady(dates, day_first=order) for order in (True, False)}
    if is_possible[True] == is_possible[False] and any(a != b for a, b, _ in dates):
        a, b, year = dates[0]
        shown = f"{a:02}{separator}{b:02}{separator}{year}"
        raise invalid(
            head.name,
            f"the date {shown} may begin with the day or with the month: give "
            f"--time-format '%d{separator}%m{separator}%Y %H:%M' or '%m{separator}%d{separator}%Y %H:%M'",
            line=line,
            unit=head.unit,
        )
    return is_possible[True]


def _dates(times: Iterable[pl.DataFrame], column: str) -> tuple[list[tuple[int, int, int]], str, int]:
    """Return the dates of a file, consecutive equal ones once, with the first one's separator and line."""
    found: list[tuple[int, int, int]] = []
    separator, line = "", 0
    for batch in times:
        groups = batch.select(LINE, pl.col(column).str.strip_chars().str.extract_groups(DAY_OR_MONTH)).unnest(column)
        groups = groups.drop_nulls("1")
        if not groups.height:
            continue
        separator, line = separator or groups["2"].item(0), line or groups[LINE].item(0)
        changes = groups.filter(pl.struct("1", "3", "4").rle_id().is_first_distinct())
        found += [(int(a), int(b), int(year)) for a, b, year in changes.select("1", "3", "4").rows()]
    return found, separator, line


def _is_steady(dates: Sequence[tuple[int, int, int]], *, day_first: bool) -> bool:
    """Whether consecutive dates, read in an order, are a few days apart and never turn round."""
    try:
        days = [date(year, b if day_first else a, a if day_first else b).toordinal() for a, b, year in dates]
    except ValueError:
        return False
    steps = [after - before for before, after in pairwise(days) if after != before]
    return all(0 < step <= LONGEST_PAUSE for step in steps) or all(0 < -step <= LONGEST_PAUSE for step in steps)
