"""Timestamp parsing for imported files: converts Unix times of any unit and texts to UTC or to naive local times."""

from datetime import UTC, datetime

import polars as pl

from fetcher.importing.files.errors import invalid
from fetcher.importing.files.tables import LINE, Table
from fetcher.importing.forms.layout import Layout
from fetcher.importing.rows import time_formats
from tradeschool.errors import InvalidCandles, SettingsError, first_line
from tradeschool.ohlcv.frame import TIME

NAIVE = pl.Datetime("us")
YEARS = datetime(1900, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
"""Range of plausible times; end excluded."""
UNIX_UNITS = {"s": 1e6, "ms": 1e3, "us": 1.0, "ns": 1e-3}
"""Microseconds per unit of `--time-format`."""
UNIX = r"^\d+(?:\.\d+)?(?:[eE]\+?\d+)?$"
DATE_LIKE = r"^(?:19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?:(?:[01]\d|2[0-3])[0-5]\d(?:[0-5]\d)?)?$"
"""Digits that are a date, with or without a time of day."""
LEAST_UNIX = 315_532_800.0
"""Unix time of 1980 in seconds: digits below it that look like a date are one."""
EXPECTED = "expected ISO 8601, such as 2020-01-31T12:00:00Z, or a Unix time; or give --time-format"


class TimeReader:
    """Reads the times of one file; the format is found when it is made.

    Raises:
        InvalidCandles: if the order of day and month is not certain.
    """

    def __init__(self, table: Table, layout: Layout, time_format: str | None) -> None:
        self._head, self._columns, self._given = table.head, layout.time, time_format
        self._formats: tuple[str, ...] = time_formats.ALWAYS
        sample = self._joined(table.head.sample)
        self._is_unix = sample.dtype.is_numeric()
        if time_format is None and sample.dtype == pl.String:
            texts = sample.drop_nulls().str.strip_chars()
            numbers = texts.filter(texts.str.contains(UNIX))
            self._is_unix = 2 * len(numbers) > len(texts) and not _are_dates(numbers)
            if texts.str.contains(time_formats.DAY_OR_MONTH).any():
                day_first = layout.day_first if layout.day_first is not None else self._is_day_first(table)
                self._formats += time_formats.DAY_FIRST if day_first else time_formats.MONTH_FIRST

    def _is_day_first(self, table: Table) -> bool:
        return time_formats.is_day_first(table.batches(self._columns[:1]), self._columns[0], self._head)

    def read(self, frame: pl.DataFrame) -> pl.Series:
        """Return the times of rows as `ts`: UTC, or naive if they have no zone.

        Raises:
            InvalidCandles: if a time is missing or cannot be parsed; names the line.
            SettingsError: if the given format is malformed.
        """
        texts = self._joined(frame)
        parsed = self._parsed(texts, frame[LINE])
        seconds = parsed.dt.epoch("s")
        first, last = (int(each.timestamp()) for each in YEARS)
        bad = parsed.is_null() | ~seconds.is_between(first, last, closed="left")
        if bad.any():
            at = int(bad.arg_max() or 0)
            raise self._error(texts, int(frame[LINE].item(at)), at, is_parsed=parsed.is_not_null().item(at))
        return parsed.alias("ts")

    def _joined(self, frame: pl.DataFrame) -> pl.Series:
        """Return the time column, or date and time of day joined by a space."""
        if len(self._columns) == 1:
            return frame[self._columns[0]]
        day, clock = (pl.col(name).cast(pl.String).str.strip_chars() for name in self._columns)
        # A time of day without colons, such as 500 for 00:05:00, has lost its zeros.
        clock = pl.when(clock.str.contains(r"^\d{5,6}$|^\d{1,3}00$")).then(clock.str.zfill(6)).otherwise(clock)
        return frame.select(pl.concat_str([day, clock], separator=" ").alias("time")).to_series()

    def _parsed(self, times: pl.Series, lines: pl.Series) -> pl.Series:
        if self._given:
            return self._by_given(times, self._given)
        if times.dtype == pl.String:
            if self._is_unix:
                return _from_unix(times.str.strip_chars().cast(pl.Float64, strict=False))
            return self._from_texts(times, lines)
        if times.dtype.is_numeric():
            return _from_unix(times.cast(pl.Float64))
        if isinstance(times.dtype, pl.Datetime):
            return times.cast(TIME if times.dtype.time_zone else NAIVE)
        if times.dtype == pl.Date:
            return times.cast(NAIVE)
        raise invalid(self._head.name, f"column {self._columns[0]!r}: expected times, was {times.dtype}")

    def _by_given(self, times: pl.Series, given: str) -> pl.Series:
        if given in UNIX_UNITS:
            value = times.cast(pl.Float64, strict=False) * UNIX_UNITS[given]
            return _from_microseconds(value)
        try:
            parsed = times.cast(pl.String).str.strip_chars().str.to_datetime(given, strict=False, time_unit="us")
        except pl.exceptions.PolarsError as error:
            raise SettingsError(f"--time-format {given}: {first_line(error)}; such as '%d/%m/%Y %H:%M'") from error
        return parsed.cast(TIME) if parsed.dtype.time_zone else parsed  # type: ignore[attr-defined]

    def _from_texts(self, times: pl.Series, lines: pl.Series) -> pl.Series:
        plain = time_formats.plain_texts(times)
        zoned = plain.to_frame("time").select(pl.col("time").str.extract_groups(time_formats.ZONED)).unnest("time")
        has_zone = zoned["2"].is_not_null()
        if not has_zone.any():
            return self._by_formats(plain)
        if not has_zone.all():
            line = int(lines.item(int((~has_zone).arg_max() or 0)))
            words = "the time has no time zone, but others of the file have one"
            raise invalid(self._head.name, words, line=line, unit=self._head.unit)
        return (self._by_formats(zoned["1"]) - _offsets(zoned["2"])).dt.replace_time_zone("UTC")

    def _by_formats(self, texts: pl.Series) -> pl.Series:
        """Parse texts in the first format that fits each; the format that fits most comes first next time."""
        found = pl.Series(texts.name, [None], dtype=NAIVE).new_from_index(0, len(texts))
        for form in self._formats:
            missing = found.is_null()
            if not missing.any():
                break
            parsed = texts.str.to_datetime(form, strict=False, time_unit="us")
            if missing.all() and parsed.is_not_null().any():
                self._formats = (form, *(each for each in self._formats if each != form))
            found = parsed.zip_with(missing, found)
        return found

    def _error(self, texts: pl.Series, line: int, at: int, *, is_parsed: bool) -> InvalidCandles:
        text = texts.to_physical().item(at)  # not every value of a time type is one of Python's
        if text is None or not str(text).strip():
            words = "the time is missing"
        elif is_parsed:
            words = f"time {_shown(text)} is not in {YEARS[0].year}..{YEARS[1].year}; is it the column of the times?"
        elif str(text).split(" ")[0].strip("<>\"' ").lower() == self._columns[0]:
            words = "repeats the header; remove it"
        else:
            expected = f"expected the format {self._given} of --time-format" if self._given else EXPECTED
            words = f"time {_shown(text)}: {expected}"
        return invalid(self._head.name, words, line=line, unit=self._head.unit)


def _are_dates(texts: pl.Series) -> bool:
    """Whether digits are dates such as 20240131 rather than Unix times."""
    if not texts.str.contains(DATE_LIKE).all():
        return False
    seconds = _from_unix(texts.cast(pl.Float64, strict=False)).dt.epoch("s")
    return bool((~seconds.is_between(LEAST_UNIX, int(YEARS[1].timestamp()))).fill_null(True).all())


def _from_unix(value: pl.Series) -> pl.Series:
    """Parse Unix times; the unit is detected per value, because vendors change units within a file."""
    column = pl.col("value")
    microseconds = (
        pl.when(column > 1e17)
        .then(column / 1e3)
        .when(column > 1e14)
        .then(column)
        .when(column > 1e11)
        .then(column * 1e3)
        .otherwise(column * 1e6)
    )
    return _from_microseconds(value.to_frame("value").select(microseconds).to_series())


def _from_microseconds(value: pl.Series) -> pl.Series:
    return value.round().cast(pl.Int64, strict=False).cast(TIME)


def _offsets(zones: pl.Series) -> pl.Series:
    """Return the offsets from UTC of texts such as `Z`, `GMT+0100` and `-05:00`."""
    parts = zones.to_frame("zone").select(pl.col("zone").str.extract_groups(r"([+-])(\d\d):?(\d\d)?")).unnest("zone")
    minutes = pl.col("2").cast(pl.Int64) * 60 + pl.col("3").cast(pl.Int64).fill_null(0)
    signed = pl.when(pl.col("1") == "-").then(-minutes).otherwise(minutes).fill_null(0)
    return parts.select(pl.duration(minutes=signed)).to_series()


def _shown(text: object) -> str:
    return repr(str(text)[:40])
