from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from fetcher.importing.timestamps import with_utc
from tradeschool.errors import InvalidCandles, SettingsError

NOON = datetime(2021, 7, 1, 12, tzinfo=UTC)
SECONDS = int(NOON.timestamp())


def read(values: list[object], zone: str | None = None, name: str = "date", **options: object) -> list[datetime]:
    return with_utc(pl.DataFrame({name: pl.Series(values, **options), "x": range(len(values))}), zone)["ts"].to_list()


@pytest.mark.parametrize(
    "value",
    [
        SECONDS,
        SECONDS * 1_000,
        SECONDS * 1_000_000,
        SECONDS * 1_000_000_000,
        float(SECONDS),
        "2021-07-01T12:00:00Z",
        "2021-07-01 12:00:00+00:00",
        "2021-07-01T14:00:00+02:00",
        "2021-07-01T12:00:00.000000000Z",
        NOON,
    ],
    ids=str,
)
def test_a_time_that_says_its_zone_needs_none(value: object) -> None:
    assert read([value]) == [NOON]


@pytest.mark.parametrize(
    ("value", "zone"),
    [
        ("2021-07-01 12:00:00", "UTC"),
        ("2021-07-01 12:00", "UTC"),
        ("2021-07-01 12-PM", "UTC"),
        ("2021.07.01 12:00", "UTC"),
        ("01.07.2021 12:00:00", "UTC"),
        ("2021-07-01 08:00:00", "America/New_York"),
        ("2021-07-01 15:00:00", "Europe/Athens"),
        (NOON.replace(tzinfo=None), "UTC"),
    ],
    ids=str,
)
def test_a_clock_is_read_in_its_declared_zone(value: object, zone: str) -> None:
    assert read([value], zone) == [NOON]


def test_a_date_is_midnight_in_its_zone() -> None:
    assert read([date(2021, 7, 1)], "UTC") == [NOON - timedelta(hours=12)]


def test_seconds_and_milliseconds_in_one_column_are_told_apart() -> None:
    assert read([SECONDS, (SECONDS + 300) * 1000]) == [NOON, NOON + timedelta(minutes=5)]


def test_newest_first_is_turned_round() -> None:
    frame = with_utc(pl.DataFrame({"unix": [SECONDS + 300, SECONDS], "x": [1, 0]}), None)

    assert frame["x"].to_list() == [0, 1]


@pytest.mark.parametrize("newest_first", [False, True])
def test_the_hour_that_a_clock_repeats_is_told_apart_by_order(newest_first: bool) -> None:
    clock = [f"2021-11-07 {hour}:30:00" for hour in ("00", "01", "01", "02")]
    found = read(clock[::-1] if newest_first else clock, "America/New_York")

    assert [time.hour for time in found] == [4, 5, 6, 7]


def test_the_first_column_of_times_in_our_order_counts() -> None:
    frame = pl.DataFrame({"date": ["2021-07-01 03:00:00"], "unix": [SECONDS]})

    assert with_utc(frame, None)["ts"].to_list() == [NOON]


@pytest.mark.parametrize(
    ("values", "zone", "error", "told"),
    [
        (["2021-07-01 12:00"], None, SettingsError, "have no time zone: give one"),
        ([SECONDS], "UTC", SettingsError, "in UTC already; omit it"),
        (["2021-07-01 12:00"], "Mars/Base", SettingsError, "unknown"),
        (["2021-03-14 02:30"], "America/New_York", InvalidCandles, "non-existent.*zone of the file"),
        (["noon"], "UTC", InvalidCandles, "time 'noon': expected ISO 8601"),
        (["2021-07-01 12:00", "2021-07-01 12:05Z"], "UTC", InvalidCandles, "some times have a time zone"),
        ([True], None, InvalidCandles, "expected times, was Boolean"),
        (["2021-07-01 12:00", None], "UTC", InvalidCandles, "1 of 2 times are missing"),
        ([], None, InvalidCandles, "no times"),
    ],
    ids=["no zone", "needless zone", "unknown zone", "skipped hour", "no time", "both", "flags", "missing", "empty"],
)
def test_what_cannot_be_read_is_told(values: list, zone: str | None, error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        read(values, zone)


def test_a_file_without_times_is_told() -> None:
    with pytest.raises(InvalidCandles, match="no times: expected rows and a column ts, unix"):
        read([1], name="when")
