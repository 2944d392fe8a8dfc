"""Daily breaks of metals and indices, and exchanges of `exchange_calendars`."""

import itertools
from datetime import UTC, datetime

import numpy as np
import pytest

from tradeschool.errors import SettingsError
from tradeschool.markets import exchange_sessions
from tradeschool.markets.calendars import check_calendar, closed_windows, expected_slots, open_windows
from tradeschool.markets.instruments import Dataset, Instrument, Market
from tradeschool.markets.timeframes import Timeframe
from tradeschool.markets.windows import Window


def window(start: str, end: str) -> Window:
    return Window(*(datetime.fromisoformat(each).replace(tzinfo=UTC) for each in (start, end)))


def dataset(market: Market, timeframe: Timeframe, calendar: str = "") -> Dataset:
    instrument = Instrument(
        provider="files", base="ANY", quote="USD", market=market, decimals=2, calendar_code=calendar
    )
    return Dataset(instrument=instrument, timeframe=timeframe)


GOLD_H1 = dataset(Market.METAL, Timeframe.H1)


@pytest.mark.parametrize(
    ("day", "following", "breaks"),
    [
        ("2023-01-10", "2023-01-11", {"22"}),  # 17:00 New York is 22:00 UTC in winter
        ("2023-07-11", "2023-07-12", {"21"}),  # and 21:00 in summer
        ("2023-03-14", "2023-03-15", {"21"}),  # two days after New York changed
        ("2023-11-07", "2023-11-08", {"22"}),
    ],
)
def test_metals_have_an_hour_of_break_a_day(day: str, following: str, breaks: set[str]) -> None:
    slots = expected_slots(GOLD_H1, window(day, following))
    hours = {datetime.fromtimestamp(int(each), UTC).strftime("%H") for each in slots}

    assert {f"{hour:02}" for hour in range(24)} - hours == breaks


def test_the_week_of_a_metal_begins_an_hour_after_that_of_fx() -> None:
    weekend = closed_windows("fx-breaks", window("2023-01-06T12:00", "2023-01-09T12:00"))

    assert weekend == [window("2023-01-06T22:00", "2023-01-08T23:00")]


@pytest.mark.parametrize("market", [Market.METAL, Market.INDEX, Market.COMMODITY, Market.BOND])
def test_cfds_have_breaks_and_spreads(market: Market) -> None:
    instrument = dataset(market, Timeframe.M5).instrument

    assert (instrument.calendar, instrument.has_spread) == ("fx-breaks", True)


def test_slots_of_a_longer_window_are_those_of_its_parts() -> None:
    whole, middle = window("2023-03-06", "2023-03-20"), datetime(2023, 3, 12, 3, 40, tzinfo=UTC)
    for timeframe in Timeframe:
        gold = dataset(Market.METAL, timeframe)
        parts = [expected_slots(gold, Window(whole.start, middle)), expected_slots(gold, Window(middle, whole.end))]

        assert np.concatenate(parts).tolist() == expected_slots(gold, whole).tolist()


def test_an_unknown_calendar_and_a_missing_package_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange_sessions, "PACKAGE", "no_such_package")

    with pytest.raises(SettingsError) as error:
        check_calendar("XNYS")

    assert str(error.value) == (
        "calendar XNYS needs the package no_such_package: install tradeschool[calendars], or use 24/7, fx or fx-breaks"
    )


class TestWithThePackage:
    """Sessions of real exchanges; skipped without the optional package."""

    @pytest.fixture(autouse=True)
    def _package(self) -> None:
        pytest.importorskip("exchange_calendars")

    def test_an_unknown_code_is_told(self) -> None:
        with pytest.raises(SettingsError, match="unknown calendar 'XMOON': expected 24/7, fx, fx-breaks or a code of"):
            open_windows("XMOON", window("2023-01-01", "2023-01-02"))

    def test_new_york_is_open_from_half_past_nine_without_holidays(self) -> None:
        assert open_windows("XNYS", window("2023-07-03", "2023-07-06")) == [
            window("2023-07-03T13:30", "2023-07-03T17:00"),  # the day before a holiday ends early
            window("2023-07-05T13:30", "2023-07-05T20:00"),
        ]

    def test_both_daylight_saving_changes(self) -> None:
        opens = [part.start.hour for part in open_windows("XNYS", window("2023-03-09", "2023-03-15"))]
        closes = [part.end.hour for part in open_windows("XNYS", window("2023-11-02", "2023-11-08"))]

        assert (opens, closes) == ([14, 14, 13, 13], [20, 20, 21, 21])

    def test_a_candle_that_begins_before_the_session_is_expected(self) -> None:
        stock = dataset(Market.STOCK, Timeframe.H1, "XNYS")

        slots = expected_slots(stock, window("2023-07-05", "2023-07-06"))

        assert [datetime.fromtimestamp(int(each), UTC).hour for each in slots] == [13, 14, 15, 16, 17, 18, 19]

    def test_sessions_over_new_year_are_found_once(self) -> None:
        sessions = open_windows("CMES", window("2022-12-28", "2023-01-06"))

        assert sessions == sorted(set(sessions))
        assert all(before.end <= after.start for before, after in itertools.pairwise(sessions))
        assert sessions[0].start == window("2022-12-28", "2022-12-29").start

    def test_a_lunch_break_is_closed(self) -> None:
        day = open_windows("XHKG", window("2023-05-03", "2023-05-04"))

        assert day == [window("2023-05-03T01:30", "2023-05-03T04:00"), window("2023-05-03T05:00", "2023-05-03T08:00")]

    def test_years_without_sessions_are_told(self) -> None:
        with pytest.raises(SettingsError, match="calendar AIXK has no sessions for 2010"):
            open_windows("AIXK", window("2010-01-04", "2010-01-05"))
