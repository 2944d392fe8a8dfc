import itertools
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradeschool.markets.calendars import closed_windows, expected_slots, open_windows
from tradeschool.markets.catalogue import BTC_USD, EUR_USD, INSTRUMENTS
from tradeschool.markets.grid import grid_of
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.timeframes import Timeframe
from tradeschool.markets.windows import Window, merge

EUR_H1 = Dataset(instrument=EUR_USD, timeframe=Timeframe.H1)
PLAN = Window(datetime(2020, 1, 1, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=UTC))

MOMENTS = st.integers(0, 3 * 366 * 288).map(lambda step: datetime(2020, 1, 1, tzinfo=UTC) + timedelta(minutes=5 * step))
OUTAGES = {
    "EUR_USD": {"2020-05-31T21", "2021-11-21T22", "2021-11-21T23", "2022-05-12T06", "2022-05-12T07", "2022-06-26T21"}
    | {"2022-08-28T21", "2022-08-28T22", "2023-01-01T22"},
    "GBP_USD": {"2021-05-09T21"},
}
"""Open hours without a candle that no calendar tells: late Sundays and breaks in the provider's service."""
OUTAGES["GBP_USD"] |= OUTAGES["EUR_USD"]


def hours(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.fixture(scope="module")
def truth(shared: Path) -> dict[str, dict]:
    return json.loads((shared / "recorded" / "oanda" / "o13_H1_calendar_truth_2020-2023.json").read_text())


@pytest.mark.parametrize("symbol", ["EUR_USD", "GBP_USD"])
def test_missing_oanda_hours_are_known_outages(truth: dict, symbol: str) -> None:
    """Every missing hour of four years is closed in the calendar or a known outage."""
    absent = {int(hours(text).timestamp()) for text in truth[symbol]["missing_open_hours"]}
    outages = {int(hours(text).timestamp()) for text in OUTAGES[symbol]}

    assert absent & set(expected_slots(EUR_H1, PLAN).tolist()) == outages


@pytest.mark.parametrize("symbol", ["EUR_USD", "GBP_USD"])
def test_the_calendar_covers_every_oanda_hour(truth: dict, symbol: str) -> None:
    assert len(expected_slots(EUR_H1, PLAN)) == truth[symbol]["h1_candles"] + len(OUTAGES[symbol])


@pytest.mark.parametrize("symbol", ["EUR", "GBP"])
def test_no_candle_of_oanda_lies_outside_the_calendar(shared: Path, symbol: str) -> None:
    found = pl.read_parquet(shared / "data" / f"oanda_{symbol}-USD_1h.parquet")["ts"].dt.epoch("s").to_numpy()
    within = found[(found >= PLAN.start_seconds) & (found < PLAN.end_seconds)]

    assert not len(np.setdiff1d(within, expected_slots(EUR_H1, PLAN)))


@pytest.mark.parametrize(
    ("friday", "closes", "opens"),
    [
        ("2020-01-10", "2020-01-10T22", "2020-01-12T22"),
        ("2020-03-06", "2020-03-06T22", "2020-03-08T21"),
        ("2020-07-10", "2020-07-10T21", "2020-07-12T21"),
        ("2020-10-30", "2020-10-30T21", "2020-11-01T22"),
    ],
    ids=["winter", "clocks go forward", "summer", "clocks go back"],
)
def test_the_fx_weekend_follows_new_york_time(friday: str, closes: str, opens: str) -> None:
    around = Window(hours(friday), hours(friday) + timedelta(days=3))

    assert closed_windows("fx", around) == [Window(hours(closes), hours(opens))]


@pytest.mark.parametrize(
    ("closes", "opens"),
    [
        ("2020-12-24T22", "2020-12-27T22"),
        ("2020-12-31T22", "2021-01-03T22"),
        ("2022-12-23T22", "2022-12-26T22"),
        ("2023-12-22T22", "2023-12-25T22"),
        ("2024-12-24T22", "2024-12-25T22"),
    ],
    ids=[
        "Christmas on a Friday",
        "New Year on a Friday",
        "Christmas on a Sunday",
        "Christmas on a Monday",
        "in mid-week",
    ],
)
def test_fx_holidays_end_at_17_00_in_new_york(closes: str, opens: str) -> None:
    closed = closed_windows("fx", Window(hours("2020-12-01"), hours("2025-01-10")))

    assert Window(hours(closes), hours(opens)) in closed


def test_new_years_day_on_a_sunday_is_no_holiday() -> None:
    assert open_windows("fx", Window(hours("2023-01-01T22"), hours("2023-01-02T22")))


def test_a_range_ending_on_new_years_eve_includes_the_closure() -> None:
    """New Year's closure belongs to the next year and begins in this one."""
    assert not open_windows("fx", Window(hours("2020-12-31T22"), hours("2020-12-31T23")))


def test_crypto_is_always_open() -> None:
    m5 = Dataset(instrument=BTC_USD, timeframe=Timeframe.M5)

    assert len(expected_slots(m5, PLAN)) == 1461 * 288
    assert closed_windows("24/7", PLAN) == []


@settings(max_examples=50)
@given(st.sampled_from(INSTRUMENTS), st.sampled_from(Timeframe), st.lists(MOMENTS, min_size=3, max_size=5, unique=True))
def test_the_slots_of_a_window_equal_those_of_its_parts(instrument, timeframe, moments: list[datetime]) -> None:
    dataset = Dataset(instrument=instrument, timeframe=timeframe)
    times = np.array([int(moment.timestamp()) for moment in moments])
    bounds = [datetime.fromtimestamp(time, UTC) for time in np.unique(grid_of(dataset).floor(times)).tolist()]
    if len(bounds) < 2:
        return
    parts = [Window(start, end) for start, end in itertools.pairwise(bounds)]
    joined = np.concatenate([expected_slots(dataset, part) for part in parts])

    assert joined.tolist() == expected_slots(dataset, Window(bounds[0], bounds[-1])).tolist()


@given(st.sampled_from(["24/7", "fx", "fx-breaks"]), MOMENTS, MOMENTS)
def test_open_and_closed_ranges_cover_the_whole(calendar: str, one: datetime, other: datetime) -> None:
    if one == other:
        return
    window = Window(min(one, other), max(one, other))

    assert merge(open_windows(calendar, window) + closed_windows(calendar, window)) == [window]


@pytest.mark.parametrize("timeframe", Timeframe, ids=lambda timeframe: timeframe.name)
@pytest.mark.parametrize("instrument", [BTC_USD, EUR_USD], ids=lambda instrument: instrument.name)
def test_a_candle_is_expected_where_a_minute_of_it_is(instrument, timeframe) -> None:
    """Over both clock changes, Christmas and New Year."""
    dataset = Dataset(instrument=instrument, timeframe=timeframe)
    grid = grid_of(dataset)
    for start, end in (("2022-03-07", "2022-03-20"), ("2022-10-31", "2022-11-13"), ("2022-12-20", "2023-01-05")):
        window = grid.whole(Window(hours(start), hours(end)))

        minutes = expected_slots(dataset.at(Timeframe.M1), window)

        assert expected_slots(dataset, window).tolist() == np.unique(grid.floor(minutes)).tolist()


def test_a_trading_week_of_fx_has_five_days_and_thirty_candles_of_four_hours() -> None:
    for week in (datetime(2024, 3, 10, 12, tzinfo=UTC), datetime(2024, 7, 7, 12, tzinfo=UTC)):
        window = Window(week, week + timedelta(days=6))

        days = expected_slots(EUR_H1.at(Timeframe.D1), window).tolist()

        assert [f"{datetime.fromtimestamp(day, UTC):%a %H}" for day in days] == [
            "Sun 21",
            "Mon 21",
            "Tue 21",
            "Wed 21",
            "Thu 21",
        ]
        assert len(expected_slots(EUR_H1.at(Timeframe.H4), window)) == 30
