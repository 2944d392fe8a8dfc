from datetime import datetime
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from fetcher.importing.files.tables import LINE, Head
from fetcher.importing.rows.local_times import localised, zone_named
from tradeschool.errors import InvalidCandles, SettingsError

NEW_YORK = "America/New_York"
HEAD = Head(name="x.csv", file_name="x.csv", suffix=".csv", columns=(), has_header=True, sample=pl.DataFrame())


def converted(texts: list[str], *, zone: str = NEW_YORK, batch: int = 100) -> list[str]:
    rows = pl.DataFrame({LINE: range(2, len(texts) + 2), "ts": pl.Series(texts).str.to_datetime(time_unit="us")})
    found = pl.concat(localised(rows.iter_slices(batch), zone, HEAD))
    assert found[LINE].to_list() == rows[LINE].to_list()
    return found["ts"].dt.strftime("%H:%M").to_list()


def clock(*times: str, day: str = "2021-11-07") -> list[str]:
    return [f"{day} {time}:00" for time in times]


QUARTERS = [f"{hour}:{minute:02}" for hour in ("00", "01", "01", "02") for minute in (0, 15, 30, 45)]


@pytest.mark.parametrize("batch", [1, 3, 5, 100])
@pytest.mark.parametrize("is_newest_first", [False, True])
def test_the_hour_that_a_clock_repeats_is_told_apart_by_the_order(batch: int, is_newest_first: bool) -> None:
    texts = clock(*QUARTERS)
    found = converted(texts[::-1] if is_newest_first else texts, batch=batch)

    expected = [f"{hour:02}:{minute:02}" for hour in (4, 5, 6, 7) for minute in (0, 15, 30, 45)]
    assert found == (expected[::-1] if is_newest_first else expected)


def test_hours_are_told_apart() -> None:
    assert converted(clock("00:30", "01:30", "01:30", "02:30")) == ["04:30", "05:30", "06:30", "07:30"]


@pytest.mark.parametrize("zone", ["Europe/Athens", "Australia/Lord_Howe", "America/New_York", "UTC", "Etc/GMT+5"])
def test_every_zone_gives_what_python_gives(zone: str) -> None:
    moment = datetime(2021, 7, 1, 12)  # noqa: DTZ001
    expected = moment.replace(tzinfo=ZoneInfo(zone)).astimezone(ZoneInfo("UTC"))

    assert converted([str(moment)], zone=zone) == [f"{expected:%H:%M}"]


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        (clock("01:30", "02:30", "03:30", day="2021-03-14"), r"line 3: the time 2021-03-14 02:30:00 does not exist in"),
        (clock("00:30", "01:30", "02:30"), r"line 3: the time 2021-11-07 01:30:00 exists twice"),
        (clock("00:45", "01:00", "01:15", "01:15", "01:30", "02:00"), r"line 3: .* exists twice"),
        (clock("01:00", "01:30", "01:00", "01:30", "01:00"), r"line 2: .* exists twice"),
    ],
    ids=["skipped", "once", "repeated row", "three times"],
)
def test_a_time_that_is_not_certain_is_told_with_its_line(texts: list[str], told: str) -> None:
    with pytest.raises(InvalidCandles, match=r"x\.csv, " + told):
        converted(texts)


@pytest.mark.parametrize("name", ["Mars/Base", "", "../etc/passwd", "\x00"])
def test_an_unknown_zone_is_told(name: str) -> None:
    with pytest.raises(SettingsError, match="unknown; expected a name such as UTC"):
        zone_named(name)
