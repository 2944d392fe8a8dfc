"""Timestamp parsing for imported files: converts Unix times of any unit, ISO 8601 texts and local times to UTC."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import polars as pl

from tradeschool.errors import InvalidCandles, SettingsError, first_line
from tradeschool.ohlcv.frame import TIME

NAMES = ("ts", "unix", "timestamp", "time", "datetime", "date", "open_time")
"""Lower-case names of columns with the candle's open; the first one that exists is used."""
TEXT_FORMS = ("%Y-%m-%d %I-%p", "%Y.%m.%d %H:%M", "%Y.%m.%d %H:%M:%S", "%d.%m.%Y %H:%M:%S")
"""Formats besides ISO 8601: hours of CryptoDataDownload, and exports of MetaTrader and Dukascopy."""
NAIVE = pl.Datetime("us")
YEARS = datetime(1900, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
"""Range of plausible times; end excluded."""


def with_utc(frame: pl.DataFrame, zone: str | None) -> pl.DataFrame:
    """Replace the time column by `ts` in UTC and sort newest-first rows oldest first.

    The repeated hour at the end of daylight saving time is resolved by the order of the rows.

    Raises:
        InvalidCandles: if there is no time column, or a time cannot be parsed or does not exist in the zone.
        SettingsError: if a zone is required but not given, given but not required, or unknown.
    """
    name = next((name for name in NAMES if name in frame.columns), None)
    if name is None or frame.is_empty():
        raise InvalidCandles(
            f"no times: expected rows and a column {', '.join(NAMES)}; found {', '.join(frame.columns)}"
        )
    parsed = frame.drop(name).insert_column(0, _parsed(frame[name]).alias("ts"))
    if parsed["ts"].null_count():
        raise InvalidCandles(f"column {name!r}: {parsed['ts'].null_count()} of {frame.height} times are missing")
    _check_years(parsed["ts"], name)
    if parsed["ts"].item(0) > parsed["ts"].item(-1):
        parsed = parsed.reverse()
    if parsed.schema["ts"] == NAIVE:
        return _localised(parsed, _declared(zone, frame[name]))
    if zone is not None:
        raise SettingsError(f"--time-zone {zone}: times such as {frame[name].item(0)} are in UTC already; omit it")
    return parsed


def _check_years(times: pl.Series, name: str) -> None:
    """Refuse times that no candle has: compared as numbers, because Python cannot represent all of them."""
    seconds = times.dt.epoch("s")
    first, last = (int(each.timestamp()) for each in YEARS)
    if outside := int(((seconds < first) | (seconds >= last)).sum()):
        raise InvalidCandles(
            f"column {name!r}: {outside} of {len(times)} times are not in {YEARS[0].year}..{YEARS[1].year}; "
            "is it the column of the candles' times?"
        )


def _parsed(times: pl.Series) -> pl.Series:
    """Parse times to UTC, or to naive times if they have no zone."""
    if times.dtype.is_numeric():
        return _from_unix(times)
    if times.dtype == pl.String:
        return _from_text(times)
    if isinstance(times.dtype, pl.Datetime):
        return times.cast(TIME if times.dtype.time_zone else NAIVE)
    if times.dtype == pl.Date:
        return times.cast(NAIVE)
    raise InvalidCandles(f"column {times.name!r}: expected times, was {times.dtype}")


def _from_unix(times: pl.Series) -> pl.Series:
    """Parse Unix times; the unit is detected per value, because vendors change units within a file."""
    value = pl.col(times.name).cast(pl.Float64)
    microseconds = (
        pl.when(value > 1e17)
        .then(value / 1e3)
        .when(value > 1e14)
        .then(value)
        .when(value > 1e11)
        .then(value * 1e3)
        .otherwise(value * 1e6)
    )
    return times.to_frame().select(microseconds.round().cast(pl.Int64).cast(TIME)).to_series()


def _from_text(times: pl.Series) -> pl.Series:
    parsed = [None if text is None else _of_text(text.strip()) for text in times]
    zoned = {time.tzinfo is not None for time in parsed if time}
    if len(zoned) > 1:
        raise InvalidCandles(f"column {times.name!r}: some times have a time zone and some do not")
    return pl.Series(times.name, parsed, dtype=TIME if True in zoned else NAIVE)


def _of_text(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        pass
    for form in TEXT_FORMS:
        try:
            return datetime.strptime(text, form)  # noqa: DTZ007  # the user gives the zone
        except ValueError:
            continue
    raise InvalidCandles(f"time {text!r}: expected ISO 8601, such as 2020-01-31T12:00:00Z, or a Unix time")


def _declared(zone: str | None, times: pl.Series) -> str:
    if zone is None:
        raise SettingsError(f"times such as {times.item(0)} have no time zone: give one, such as --time-zone UTC")
    try:
        return ZoneInfo(zone).key
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise SettingsError(f"--time-zone {zone}: unknown; expected a name such as UTC or America/New_York") from None


def _localised(frame: pl.DataFrame, zone: str) -> pl.DataFrame:
    first = pl.when(pl.col("ts").is_first_distinct()).then(pl.lit("earliest")).otherwise(pl.lit("latest"))
    try:
        return frame.with_columns(pl.col("ts").dt.replace_time_zone(zone, ambiguous=first).cast(TIME))
    except pl.exceptions.PolarsError as error:
        raise InvalidCandles(
            f"--time-zone {zone}: {first_line(error)}; check that it is the time zone of the file"
        ) from error
