"""Candle grids: hours of UTC, days of UTC, and trading days of New York on the days on which its clock changes."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tradeschool.markets.calendars import expected_slots
from tradeschool.markets.catalogue import BTC_USD, EUR_USD, GBP_USD
from tradeschool.markets.grid import NEW_YORK_CLOSE, UTC_MIDNIGHT, Alignment, aligned_grid, alignment_of, grid_of
from tradeschool.markets.instruments import Dataset, Instrument, Market
from tradeschool.markets.timeframes import Timeframe
from tradeschool.markets.windows import Window, merge, subtract

NEW_YORK = ZoneInfo("America/New_York")
EUR_H4, EUR_D1 = (Dataset(instrument=EUR_USD, timeframe=timeframe) for timeframe in (Timeframe.H4, Timeframe.D1))
SPRING, AUTUMN = datetime(2024, 3, 10, tzinfo=UTC), datetime(2024, 11, 3, tzinfo=UTC)
"""Sundays on which New York changes its clock."""
TIMES = st.integers(315_532_800, 4_070_908_800)  # 1980 to 2099
DATASETS = [Dataset(instrument=each, timeframe=timeframe) for each in (BTC_USD, EUR_USD) for timeframe in Timeframe]


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def opens(dataset: Dataset, start: str, end: str) -> list[str]:
    found = grid_of(dataset).opens(Window(moment(start), moment(end)))
    return [f"{datetime.fromtimestamp(time, UTC):%a %H:%M}" for time in found.tolist()]


def test_the_trading_day_of_crypto_begins_at_midnight_utc_and_that_of_fx_at_the_new_york_close() -> None:
    assert alignment_of(BTC_USD) == UTC_MIDNIGHT
    assert alignment_of(EUR_USD) == alignment_of(GBP_USD) == Alignment("America/New_York", 17) == NEW_YORK_CLOSE


def test_metals_and_indices_have_the_trading_day_of_fx_and_stocks_that_of_utc() -> None:
    for market in Market:
        instrument = Instrument(provider="oanda", base="XAU", quote="USD", market=market, decimals=2)
        is_utc = market in (Market.CRYPTO, Market.STOCK)
        assert alignment_of(instrument) == (UTC_MIDNIGHT if is_utc else NEW_YORK_CLOSE)


def test_a_day_of_gold_begins_with_its_break() -> None:
    """The market opens an hour after the start of the day; the day has its candle at 17:00 New York time."""
    gold = Instrument(provider="oanda", base="XAU", quote="USD", market=Market.METAL, decimals=2)
    for sunday in (SPRING, AUTUMN):
        window = Window(sunday - timedelta(days=2), sunday + timedelta(days=5))
        for timeframe, expected in ((Timeframe.D1, [*expected_days(window)]), (Timeframe.H4, None)):
            dataset = Dataset(instrument=gold, timeframe=timeframe)
            slots = expected_slots(dataset, window)
            minutes = expected_slots(dataset.at(Timeframe.M1), grid_of(dataset).whole(window))
            assert slots.tolist() == np.unique(grid_of(dataset).floor(minutes)).tolist()
            assert expected is None or slots.tolist() == expected


def expected_days(window: Window) -> list[int]:
    """The opens of the trading days of EUR/USD."""
    return expected_slots(EUR_D1, window).tolist()


def test_the_day_of_the_change_in_spring_has_23_hours() -> None:
    assert (
        opens(EUR_D1, "2024-03-07T22:00", "2024-03-11T21:00")
        == ["Thu 22:00", "Fri 22:00", "Sat 22:00", "Sun 21:00"][:4]
    )
    whole = grid_of(EUR_D1).opens(Window(moment("2024-03-08T22:00"), moment("2024-03-12T21:00")))
    assert (np.diff(whole) / 3600).tolist() == [24, 23, 24]


def test_the_day_of_the_change_in_autumn_has_25_hours() -> None:
    whole = grid_of(EUR_D1).opens(Window(moment("2024-11-01T21:00"), moment("2024-11-05T22:00")))

    assert (np.diff(whole) / 3600).tolist() == [24, 25, 24]


def test_four_hours_keep_their_time_of_day_in_new_york_in_spring() -> None:
    """The candle of 1:00 lasts three hours; the clock jumps from 2:00 to 3:00 inside it."""
    found = opens(EUR_H4, "2024-03-09T22:00", "2024-03-11T01:00")

    assert found == ["Sat 22:00", "Sun 02:00", "Sun 06:00", "Sun 09:00", "Sun 13:00", "Sun 17:00", "Sun 21:00"]


def test_four_hours_keep_their_time_of_day_in_new_york_in_autumn() -> None:
    """The candle of 1:00 lasts five hours; the clock shows the hour from 1:00 to 2:00 twice inside it."""
    found = opens(EUR_H4, "2024-11-02T21:00", "2024-11-04T02:00")

    assert found == ["Sat 21:00", "Sun 01:00", "Sun 05:00", "Sun 10:00", "Sun 14:00", "Sun 18:00", "Sun 22:00"]


@given(TIMES)
def test_candles_of_fx_open_at_the_same_times_of_day_in_new_york(time: int) -> None:
    for dataset, hours in ((EUR_H4, {17, 21, 1, 5, 9, 13}), (EUR_D1, {17})):
        opened = datetime.fromtimestamp(int(grid_of(dataset).floor(np.array([time]))[0]), NEW_YORK)
        assert (opened.hour in hours, opened.minute, opened.second) == (True, 0, 0)


@given(st.sampled_from(DATASETS), TIMES)
def test_a_candle_covers_its_times(dataset: Dataset, time: int) -> None:
    grid, one = grid_of(dataset), np.array([time])

    opened, closed = int(grid.floor(one)[0]), grid.close_of(time)

    assert opened <= time < closed
    assert abs(closed - opened - dataset.timeframe.seconds) in {0, 3600}
    assert grid.lies_on(np.array([opened, closed])).all()
    assert grid.number(one) + 1 == grid.number(np.array([closed]))


@given(st.sampled_from(DATASETS), TIMES, st.integers(1, 20 * 86_400))
def test_a_window_holds_the_candles_that_lie_wholly_inside(dataset: Dataset, start: int, length: int) -> None:
    grid, window = grid_of(dataset), Window.of_seconds(start, start + length)

    found = grid.opens(window)

    assert len(found) == grid.count(window)
    if not len(found):
        assert grid.whole(window) is None
        return
    assert found[0] >= start
    assert grid.close_of(int(found[-1])) <= start + length < grid.close_of(grid.close_of(int(found[-1])))
    assert grid.whole(window) == Window.of_seconds(int(found[0]), grid.close_of(int(found[-1])))
    first, last = grid.covering(window)
    assert not subtract(window, [grid.between(first, last)])


@given(st.sampled_from(DATASETS), st.lists(TIMES, min_size=3, max_size=5, unique=True))
def test_windows_cut_at_opens_share_no_candle_and_lose_none(dataset: Dataset, times: list[int]) -> None:
    grid = grid_of(dataset)
    bounds = np.unique(grid.floor(np.array(times))).tolist()
    parts = [Window.of_seconds(*bound) for bound in pairwise(bounds)]

    assert sum(grid.count(part) for part in parts) == (grid.count(merge(parts)[0]) if parts else 0)


def test_another_zone_and_hour_are_followed() -> None:
    """As a client of OANDA may ask for; Lord Howe changes its clock by half an hour."""
    grid = aligned_grid(86_400, Alignment("Australia/Lord_Howe", 6))
    window = Window(moment("2024-04-05"), moment("2024-04-09"))

    local = [datetime.fromtimestamp(time, ZoneInfo("Australia/Lord_Howe")) for time in grid.opens(window).tolist()]

    assert {each.hour for each in local} == {6}
    assert 24.5 * 3600 in np.diff(grid.opens(window))


def test_a_time_of_day_that_the_clock_jumps_over_still_begins_a_day() -> None:
    grid = aligned_grid(86_400, Alignment("America/New_York", 2))

    found = np.diff(grid.opens(Window(SPRING - timedelta(days=2), SPRING + timedelta(days=3))))

    assert (found > 22 * 3600).all()
    assert (found < 26 * 3600).all()
