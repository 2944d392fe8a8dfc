import itertools
import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradeschool.errors import SettingsError
from tradeschool.markets.catalogue import (
    BTC_USD,
    BTC_USDT,
    EUR_USD,
    HOLDOUT_WINDOW,
    INSTRUMENTS,
    default_catalogue,
    find_dataset,
    find_instrument,
    holdout_catalogue,
)
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.timeframes import DEFAULT_TIMEFRAMES, Timeframe, find_timeframe
from tradeschool.markets.timerange import parse_timerange
from tradeschool.markets.windows import Window, merge, subtract

SPAN = 60  # of the small axis on which properties are tried, in units of five minutes
FIRST, NEXT = datetime(2015, 1, 1, tzinfo=UTC), datetime(2015, 1, 2, tzinfo=UTC)
POINTS = st.integers(0, SPAN)


def of_steps(start: int, end: int) -> Window:
    return Window.of_seconds(start * 300, end * 300)


def steps(windows: list[Window]) -> set[int]:
    return {step for each in windows for step in range(each.start_seconds // 300, each.end_seconds // 300)}


WINDOWS = st.tuples(POINTS, POINTS).filter(lambda ends: ends[0] < ends[1]).map(lambda ends: of_steps(*ends))


@given(st.lists(WINDOWS))
def test_merging_ranges_keeps_exactly_the_same_moments(windows: list[Window]) -> None:
    assert steps(merge(windows)) == steps(windows)


@given(st.lists(WINDOWS))
def test_merged_ranges_are_minimal_and_ordered(windows: list[Window]) -> None:
    merged = merge(windows)

    assert all(earlier.end < later.start for earlier, later in itertools.pairwise(merged))


@given(WINDOWS, st.lists(WINDOWS))
def test_subtraction_leaves_exactly_the_uncovered_ranges(wanted: Window, present: list[Window]) -> None:
    assert steps(subtract(wanted, present)) == steps([wanted]) - steps(present)


@given(WINDOWS, st.lists(WINDOWS))
def test_remaining_ranges_are_minimal_and_ordered(wanted: Window, present: list[Window]) -> None:
    missing = subtract(wanted, present)

    assert missing == merge(missing)


@given(WINDOWS, WINDOWS)
def test_overlap_is_the_shared_range(one: Window, other: Window) -> None:
    shared = one.overlap(other)

    assert steps([shared] if shared else []) == steps([one]) & steps([other])


@given(st.integers(0, 3650), st.integers(1, 3000))
def test_the_years_of_a_range_cover_it(first: int, days: int) -> None:
    start = FIRST + timedelta(days=first, hours=3)
    whole = Window(start, start + timedelta(days=days))
    years = dict(whole.years())

    assert merge(list(years.values())) == [whole]
    assert all(part.start.year == year for year, part in years.items())


@pytest.mark.parametrize(
    "bounds",
    [
        (FIRST.replace(tzinfo=None), NEXT.replace(tzinfo=None)),
        (FIRST, NEXT.replace(tzinfo=None)),
        (FIRST.replace(tzinfo=timezone(timedelta(hours=2))), NEXT),
    ],
    ids=["naive", "half naive", "two hours east"],
)
def test_a_range_that_is_not_in_utc_is_refused(bounds: tuple[datetime, datetime]) -> None:
    with pytest.raises(SettingsError, match="is not in UTC"):
        Window(*bounds)


def test_an_empty_range_is_refused_with_its_bounds() -> None:
    with pytest.raises(SettingsError, match=re.escape("time range 2020-01-01 00:00..2020-01-01 00:00 is empty")):
        Window(datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 1, 1, tzinfo=UTC))


def test_a_range_name_has_days_and_minutes_if_needed() -> None:
    assert parse_timerange("20200101-20220101").name == "20200101-20220101"
    assert of_steps(0, 1).name == "19700101-19700101T0005"


@pytest.mark.parametrize("text", ["BTC/USD", "BTC-USD", "btc_usd", "BtcUsd"])
def test_an_instrument_is_found_in_any_spelling(text: str) -> None:
    assert find_instrument(text) is BTC_USD


def test_an_unknown_pair_is_reported_with_the_known_ones() -> None:
    with pytest.raises(SettingsError, match="unknown pair 'DOGE/USD'; find others with: tradeschool markets"):
        find_instrument("DOGE/USD")


def test_an_unknown_timeframe_is_reported_with_the_known_ones() -> None:
    with pytest.raises(
        SettingsError, match=r"unknown timeframe 'M6', nearest M5 or M15: expected one of M1 \(1m\), M5"
    ):
        find_timeframe("M6")


@pytest.mark.parametrize("instrument", INSTRUMENTS, ids=lambda instrument: instrument.name)
@pytest.mark.parametrize("timeframe", Timeframe, ids=lambda timeframe: timeframe.name)
def test_a_dataset_is_found_by_its_name(instrument, timeframe) -> None:
    dataset = Dataset(instrument=instrument, timeframe=timeframe)

    assert find_dataset(dataset.name) == dataset


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("BTC-USD/M5", "expected provider/PAIR/timeframe"),
        ("oanda/BTC-USD/M5", "unknown pair 'BTC-USD': did you mean coinbase:BTC/USD?"),
        ("coinbase/BTC-USD/D2", "unknown timeframe 'D2'"),
    ],
)
def test_a_wrong_dataset_name_is_reported_by_its_wrong_part(name: str, problem: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(problem)):
        find_dataset(name)


def test_the_catalogue_holds_twelve_datasets() -> None:
    assert len({want.dataset for want in default_catalogue()}) == 12


def test_datasets_outside_the_curriculum_are_fetched_only_by_name() -> None:
    assert BTC_USDT not in {want.dataset.instrument for want in (*default_catalogue(), *holdout_catalogue())}
    assert [str(want.window) for want in default_catalogue([BTC_USDT])] == ["2020-01-01..2024-01-01"] * 3
    assert {want.dataset.name for want in holdout_catalogue([BTC_USDT])} == {
        f"binance/BTC-USDT/{timeframe.name}" for timeframe in DEFAULT_TIMEFRAMES
    }


def test_no_curriculum_range_overlaps_the_holdout_period() -> None:
    assert not any(want.window.overlap(HOLDOUT_WINDOW) for want in default_catalogue())
    assert {want.dataset for want in holdout_catalogue()} == {want.dataset for want in default_catalogue()}


def test_a_tick_is_the_smallest_step_of_a_price() -> None:
    assert (BTC_USD.tick, EUR_USD.tick) == (0.01, 0.00001)
