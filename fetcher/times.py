"""The times of a strange file as UTC: Unix times of any unit, ISO texts, and clocks of a declared zone."""

from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import polars as pl

from tradeschool.candles import TIME
from tradeschool.errors import InvalidCandles, SettingsError

NAMES = ("ts", "unix", "timestamp", "time", "datetime", "date", "open_time")
"""Of columns that hold a candle's open, in lower case; the first that is there is taken."""
TEXT_FORMS = ("%Y-%m-%d %I-%p", "%Y.%m.%d %H:%M", "%Y.%m.%d %H:%M:%S", "%d.%m.%Y %H:%M:%S")
"""Beside ISO 8601: CryptoDataDownload's hours, and MetaTrader's and Dukascopy's exports."""
NAIVE = pl.Datetime("us")


def with_utc(frame: pl.DataFrame, zone: str | None) -> pl.DataFrame:
    """The rows with `ts` in UTC instead of their column of times; oldest first where they came newest first.

    A clock's repeated hour at the end of summer time is told apart by the order of its rows.

    Raises:
        InvalidCandles: if no column holds times, or one of them cannot be read or does not exist in the zone.
        SettingsError: if a zone is needed and not declared, declared and not needed, or unknown.
    """
    name = next((name for name in NAMES if name in frame.columns), None)
    if name is None or frame.is_empty():
        raise InvalidCandles(f"no times: expected rows and one of {', '.join(NAMES)}, was {', '.join(frame.columns)}")
    parsed = frame.drop(name).insert_column(0, _parsed(frame[name]).alias("ts"))
    if parsed["ts"].null_count():
        raise InvalidCandles(f"column {name!r}: {parsed['ts'].null_count()} of {frame.height} times are missing")
    if parsed["ts"].item(0) > parsed["ts"].item(-1):
        parsed = parsed.reverse()
    if parsed.schema["ts"] == NAIVE:
        return _localised(parsed, _declared(zone, frame[name]))
    if zone is not None:
        raise SettingsError(f"--time-zone {zone}: times such as {frame[name].item(0)} are in UTC already; leave it out")
    return parsed


def _parsed(times: pl.Series) -> pl.Series:
    """In UTC, or naive where the times do not say their zone."""
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
    """Each value by its own size, because vendors change units in the middle of a file."""
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
        raise InvalidCandles(f"column {times.name!r}: some times carry a zone and some do not")
    return pl.Series(times.name, parsed, dtype=TIME if True in zoned else NAIVE)


def _of_text(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        pass
    for form in TEXT_FORMS:
        try:
            return datetime.strptime(text, form)  # noqa: DTZ007  # its zone is declared by the user
        except ValueError:
            continue
    raise InvalidCandles(f"time {text!r}: expected ISO 8601, such as 2020-01-31T12:00:00Z, or a Unix time")


def _declared(zone: str | None, times: pl.Series) -> str:
    if zone is None:
        raise SettingsError(f"times such as {times.item(0)} carry no zone: declare it, such as --time-zone UTC")
    try:
        return ZoneInfo(zone).key
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise SettingsError(f"--time-zone {zone}: unknown; expected a name such as UTC or America/New_York") from None


def _localised(frame: pl.DataFrame, zone: str) -> pl.DataFrame:
    first = pl.when(pl.col("ts").is_first_distinct()).then(pl.lit("earliest")).otherwise(pl.lit("latest"))
    try:
        return frame.with_columns(pl.col("ts").dt.replace_time_zone(zone, ambiguous=first).cast(TIME))
    except pl.exceptions.PolarsError as error:
        reason = str(error).splitlines()[0]
        raise InvalidCandles(f"--time-zone {zone}: {reason}; is it the zone of the file?") from error
