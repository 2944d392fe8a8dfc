"""Time ranges as people write them."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.level.constraints import StressWindow
from optimizer.level.level_dataset import LevelDataset
from tradeschool.errors import SettingsError
from tradeschool.markets.timerange import (
    TimeRange,
    fixed_window,
    parse_day,
    parse_days,
    parse_range,
    parse_timerange,
    window_among,
)
from tradeschool.markets.windows import Window

FIRST, LAST = datetime(2020, 1, 1, tzinfo=UTC), datetime(2024, 6, 1, tzinfo=UTC)
MOMENTS = st.datetimes(datetime(1980, 1, 1), datetime(2100, 1, 1)).map(lambda it: it.replace(microsecond=0, tzinfo=UTC))  # noqa: DTZ001


def resolved(text: str) -> str:
    return str(parse_range(text).window(first=FIRST, last=LAST))


@pytest.mark.parametrize(
    "text",
    [
        "20230101-20230201",
        "2023-01-01..2023-02-01",
        "2023-01-01:2023-02-01",
        "2023-01-01-2023-02-01",
        "2023-01..2023-02",
        "202301-202302",
        "2023-01",
        "202301",
        " 20230101 - 20230201 ",
        "1672531200-1675209600",
        "1672531200..1675209600",
        "1672531200000-1675209600000",
        "2023-01-01T00:00..2023-02-01T00:00Z",
        "2023-01-01 00:00:2023-02-01",
        "2023-1-1..2023-2-1",
    ],
)
def test_a_month_in_every_spelling(text: str) -> None:
    assert resolved(text) == "2023-01-01..2023-02-01"
    assert parse_timerange(text) == Window(datetime(2023, 1, 1, tzinfo=UTC), datetime(2023, 2, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("20230101-", "2023-01-01..2024-06-01"),
        ("2023-01-01..", "2023-01-01..2024-06-01"),
        ("2023:", "2023-01-01..2024-06-01"),
        ("1672531200-", "2023-01-01..2024-06-01"),
        ("-20230201", "2020-01-01..2023-02-01"),
        ("..2023-02-01", "2020-01-01..2023-02-01"),
        (":2023", "2020-01-01..2023-01-01"),
        ("2023", "2023-01-01..2024-01-01"),
        ("2023-12", "2023-12-01..2024-01-01"),
        ("2024-02", "2024-02-01..2024-03-01"),
        ("2024-02-29", "2024-02-29..2024-03-01"),
        ("20240229", "2024-02-29..2024-03-01"),
        ("2022-2024", "2022-01-01..2024-01-01"),
        ("2023-01-01T12:30..2023-01-02 01:00", "2023-01-01 12:30..2023-01-02 01:00"),
        ("2023-01-01 12:30:2023-01-02 01:00", "2023-01-01 12:30..2023-01-02 01:00"),
    ],
)
def test_open_ends_periods_and_times_of_day(text: str, expected: str) -> None:
    assert resolved(text) == expected


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "nothing is written"),
        ("yesterday", "'yesterday' is no date"),
        ("-", "'-' is no date"),
        ("20230230-20230301", "understood '20230301' as 2023-03-01, but '20230230' is no date"),
        ("2023-01-01..soon", "understood '2023-01-01' as 2023-01-01, but 'soon' is no date"),
        ("2023-13", "understood '2023' as 2023-01-01, but '13' is no date"),
        ("20230201-20230101", "understood as 2023-02-01 to 2023-01-01, is empty"),
        ("20230101-20230101", "is empty: the end must be after the start"),
        ("2023-01-01..2023-02-01..2023-03-01", "is no date"),
        ("9999", "'9999' is no date"),
        ("9" * 500, "this is no date"),
    ],
)
def test_what_is_no_range_is_told_with_what_was_understood(text: str, told: str) -> None:
    with pytest.raises(SettingsError) as raised:
        parse_range(text)

    assert told in str(raised.value)
    assert "\n" not in str(raised.value)
    assert "expected for example 20230101-20230201, " in str(raised.value) or "is empty" in str(raised.value)


def test_an_open_end_before_the_start_is_empty() -> None:
    with pytest.raises(SettingsError, match="'20250101-', understood as 2025-01-01 to 2024-06-01, is empty"):
        resolved("20250101-")


def test_where_both_ends_are_needed_an_open_one_is_refused() -> None:
    with pytest.raises(SettingsError, match="time range '20230101-' has no end: both are needed here"):
        parse_timerange("20230101-")
    with pytest.raises(SettingsError, match="has no start"):
        fixed_window(parse_range("-20230101"))


@pytest.mark.parametrize(
    ("text", "days", "expected"),
    [
        (None, 90, "2024-03-03..2024-06-01"),
        ("20230101-", 30, "2023-01-01..2023-01-31"),
        ("-20230201", 31, "2023-01-01..2023-02-01"),
        ("2023", None, "2023-01-01..2024-01-01"),
    ],
)
def test_a_number_of_days_gives_the_end_that_is_open(text: str | None, days: int | None, expected: str) -> None:
    asked = parse_days(text, days)
    assert asked

    assert str(asked.window(first=FIRST, last=LAST)) == expected


def test_days_do_not_fit_to_a_range_with_both_ends() -> None:
    with pytest.raises(SettingsError, match="'2023' has a start and an end: omit one of them, or --days 3"):
        parse_days("2023", 3)
    assert parse_days(None, None) is None


def test_a_range_of_stored_candles_ends_where_they_end() -> None:
    there = [Window(FIRST, FIRST + timedelta(days=9)), Window(LAST - timedelta(days=9), LAST)]

    assert window_among(parse_range("-2023"), there) == Window(FIRST, datetime(2023, 1, 1, tzinfo=UTC))
    assert window_among(parse_range("2023-"), there) == Window(datetime(2023, 1, 1, tzinfo=UTC), LAST)
    with pytest.raises(SettingsError, match="has no end"):
        window_among(parse_range("2023-"), [])


@given(MOMENTS, MOMENTS)
def test_what_is_printed_is_read_again(one: datetime, other: datetime) -> None:
    if one.replace(second=0) >= other.replace(second=0):
        return
    window = Window(one.replace(second=0), other.replace(second=0))

    assert parse_timerange(str(window)) == parse_timerange(window.name) == window


@given(st.text(max_size=40))
def test_any_text_is_a_range_or_a_refusal_of_one_line(text: str) -> None:
    try:
        found = parse_range(text)
    except SettingsError as error:
        assert len(str(error).splitlines()) == 1
    else:
        assert isinstance(found, TimeRange)


@pytest.mark.parametrize("text", ["2023-05-07", "20230507", "1683417600", "2023-05-07T00:00"])
def test_a_day_in_every_spelling(text: str) -> None:
    assert parse_day(text) == datetime(2023, 5, 7, tzinfo=UTC)


def test_what_is_no_day_is_refused() -> None:
    with pytest.raises(SettingsError, match="understood as 2023-05-07 12:00: expected midnight UTC"):
        parse_day("2023-05-07 12:00")
    with pytest.raises(SettingsError, match="day 'may': 'may' is no date; expected for example"):
        parse_day("may")


@pytest.mark.parametrize(
    "given",
    [
        {"timerange": "2023"},
        {"timerange": "20230101-20240101"},
        {"start": "2023", "end": "2024-01"},
        {"start": date(2023, 1, 1), "end": date(2024, 1, 1)},
        {"start": "20230101", "end": 1704067200},
    ],
)
def test_the_days_of_a_level_are_read_by_the_same_parser(given: dict[str, object]) -> None:
    dataset = LevelDataset.model_validate({"dataset": "coinbase/BTC-USD/1h", **given})

    assert (dataset.start, dataset.end) == (date(2023, 1, 1), date(2024, 1, 1))
    assert dataset.dataset == "coinbase/BTC-USD/H1"
    assert StressWindow.model_validate({"name": "x", **given}).window == dataset.window


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"timerange": "2023-"}, "has no end"),
        ({"timerange": "20240101-20230101"}, "is empty"),
        ({"timerange": "2023-01-01T12:00..2024"}, "expected whole days"),
        ({"timerange": "2023", "start": "2022"}, "either timerange, or start and end"),
        ({"start": "soon", "end": "2024"}, "'soon' is no date"),
    ],
)
def test_days_of_a_level_that_are_none_are_told(given: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        LevelDataset.model_validate({"dataset": "coinbase/BTC-USD/H1", **given})
