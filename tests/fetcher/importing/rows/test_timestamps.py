from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from fetcher.importing.files.tables import LINE, Head, Progress, no_progress
from fetcher.importing.forms.layout import FileFormat, Layout
from fetcher.importing.rows.timestamps import TimeReader
from tradeschool.errors import InvalidCandles, SettingsError

NOON = datetime(2021, 7, 1, 12, tzinfo=UTC)
SECONDS = int(NOON.timestamp())


class OneColumn:
    """A table whose rows are given."""

    def __init__(self, times: pl.Series) -> None:
        self._frame = times.alias("time").to_frame().with_row_index(LINE, offset=2)
        self.head = Head(
            name="x.csv",
            file_name="x.csv",
            suffix=".csv",
            columns=("time",),
            has_header=True,
            sample=self._frame.head(3),
        )

    def batches(self, columns: Sequence[str], progress: Progress = no_progress) -> Iterator[pl.DataFrame]:
        yield from self._frame.select(LINE, *columns).iter_slices(2)


def read(values: list[object], time_format: str | None = None, **options: object) -> list[datetime]:
    table = OneColumn(pl.Series(values, **options))
    reader = TimeReader(table, Layout(form=FileFormat.PLAIN, time=("time",), columns={}), time_format)
    return [time for batch in table.batches(["time"]) for time in reader.read(batch).to_list()]


@pytest.mark.parametrize(
    "value",
    [
        SECONDS,
        SECONDS * 1_000,
        SECONDS * 1_000_000,
        SECONDS * 1_000_000_000,
        float(SECONDS),
        f"{SECONDS}",
        f"{SECONDS}.0",
        "1.6251408e9",
        "2021-07-01T12:00:00Z",
        "2021-07-01 12:00:00+00:00",
        "2021-07-01T14:00:00+02:00",
        "2021-07-01T14:00+02",
        "2021-07-01 07:00:00-0500",
        "2021-07-01T12:00:00.000000000Z",
        "01.07.2021 14:00:00.000 GMT+0200",
        "2021-07-01 12:00:00 UTC",
        NOON,
    ],
    ids=str,
)
def test_a_time_with_a_zone_is_utc(value: object) -> None:
    assert read([value]) == [NOON]


@pytest.mark.parametrize(
    "value",
    [
        "2021-07-01 12:00:00",
        "2021-07-01T12:00",
        "2021-07-01 12-PM",
        "2021.07.01 12:00",
        "2021/07/01 12:00:00.000",
        "2021-7-1 12:00",
        "01.07.2021 12:00:00",
        "20210701 120000",
        "20210701 12:00",
        "20210701120000",
        "202107011200",
        "1 Jul 2021 12:00",
        "Jul 1, 2021 12:00 PM",
        "01-Jul-2021 12:00:00",
        "2021-07-01 12:00:00 PM",
        NOON.replace(tzinfo=None),
    ],
    ids=str,
)
def test_a_time_without_a_zone_is_naive(value: object) -> None:
    assert read([value]) == [NOON.replace(tzinfo=None)]


def test_a_date_is_midnight() -> None:
    assert read([date(2021, 7, 1)]) == read(["2021-07-01"]) == read(["20210701"]) == [datetime(2021, 7, 1)]  # noqa: DTZ001


@pytest.mark.parametrize("is_text", [False, True])
def test_seconds_and_milliseconds_in_one_column_are_distinguished(is_text: bool) -> None:
    values: list[object] = [SECONDS, (SECONDS + 300) * 1000]

    assert read([str(value) for value in values] if is_text else values) == [NOON, NOON + timedelta(minutes=5)]


def test_formats_may_change_within_a_file() -> None:
    found = read(["2021-07-01 11-AM", "2021-07-01 12:00:00", "2021.07.01 13:00"])

    assert [time.hour for time in found] == [11, 12, 13]


@pytest.mark.parametrize(
    ("values", "days"),
    [
        (["13/02/2024 00:00", "14/02/2024 00:00"], [13, 14]),
        (["02/13/2024 00:00", "02/14/2024 00:00"], [13, 14]),
        (["01/02/2024 00:00", "02/02/2024 00:00", "03/02/2024 00:00"], [1, 2, 3]),
        (["02/01/2024 00:00", "02/02/2024 00:00", "02/03/2024 00:00"], [1, 2, 3]),
        (["03-02-2024 00:00", "02-02-2024 00:00", "01-02-2024 00:00"], [3, 2, 1]),
        (["03.02.2024 00:00"], [3]),
        (["02/02/2024 00:00", "02/02/2024 00:05"], [2, 2]),
    ],
    ids=["day above 12", "month first", "steady days", "steady, month first", "newest first", "points", "either"],
)
def test_the_order_of_day_and_month_is_found(values: list[object], days: list[int]) -> None:
    found = read(values)

    assert [time.day for time in found] == days
    assert {time.month for time in found} == {2}


@pytest.mark.parametrize("time_format", ["%m/%d/%Y %H:%M", "%d/%m/%Y %H:%M"])
def test_a_given_format_decides(time_format: str) -> None:
    expected = datetime.strptime("05/02/2024 00:00", time_format)  # noqa: DTZ007

    assert read(["05/02/2024 00:00"], time_format) == [expected]


@pytest.mark.parametrize(("unit", "scale"), [("s", 1), ("ms", 1e3), ("us", 1e6), ("ns", 1e9)])
def test_a_given_unit_decides(unit: str, scale: float) -> None:
    assert read([SECONDS * scale], unit) == [NOON]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (["2021-07-01 12:00", "noon"], r"line 3: time 'noon': expected ISO 8601"),
        (["2021-07-01 12:00Z", "2021-07-01 12:05"], r"line 3: the time has no time zone, but others"),
        ([True], r"expected times, was Boolean"),
        (["2021-07-01 12:00", None], r"line 3: the time is missing"),
        (["2021-07-01 12:00", " "], r"line 3: the time is missing"),
        (["2021-07-01 12:00", "time"], r"line 3: repeats the header"),
        (["2021-02-30 12:00"], r"line 2: time '2021-02-30 12:00': expected"),
        ([99_999_999_999], r"line 2: time .* is not in 1900\.\.2200"),
        (["05/02/2024 00:00"], r"line 2: the date 05/02/2024 may begin with the day .*--time-format"),
        (["13/02/2024 00:00", "02/14/2024 00:00"], "mixes dates with the day and with the month first"),
    ],
    ids=[
        *("no time", "no zone", "flags", "null", "blank", "header", "no such day", "range", "day or month", "both"),
    ],
)
def test_a_time_that_cannot_be_read_is_told_with_its_line(values: list[object], told: str) -> None:
    with pytest.raises(InvalidCandles, match=r"x\.csv.*" + told):
        read(values)


def test_a_malformed_format_is_told() -> None:
    with pytest.raises(SettingsError, match="--time-format %Y-%H"):
        read(["2021-07"], "%Y-%H")


def test_a_text_that_does_not_fit_the_given_format_is_told() -> None:
    with pytest.raises(InvalidCandles, match=r"line 2: time '2021-07-01': expected the format %d/%m/%Y"):
        read(["2021-07-01"], "%d/%m/%Y %H:%M")
