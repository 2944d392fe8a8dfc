from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetcher.download.plan import DownloadPlan, downloads, halves, pages
from fetcher.protocol.provider import Page
from fetcher.provider_registry import find
from tradeschool.errors import SettingsError
from tradeschool.markets.catalogue import (
    BTC_USD,
    CURRICULUM_WINDOW,
    ETH_USD,
    EUR_USD,
    EUR_USD_BULL_WINDOW,
    GBP_USD,
    DatasetRange,
    default_catalogue,
)
from tradeschool.markets.grid import grid_of
from tradeschool.markets.instruments import Dataset, Instrument
from tradeschool.markets.timeframes import Timeframe
from tradeschool.markets.windows import Window, merge

M1, M5, M15, M30, H1, H4, D1 = Timeframe
BTC_M5 = Dataset(instrument=BTC_USD, timeframe=M5)
FIRST = datetime(2020, 1, 1, tzinfo=UTC)


def want(timeframe: Timeframe, start: int, end: int, instrument: Instrument = BTC_USD) -> DatasetRange:
    """A timeframe over days of 2020, counted from 0."""
    window = Window(FIRST + timedelta(days=start), FIRST + timedelta(days=end))
    return DatasetRange(dataset=Dataset(instrument=instrument, timeframe=timeframe), window=window)


def requests(instruments: set[Instrument], *, native: bool) -> int:
    """Pages of the curriculum's four years."""
    wanted = [each for each in default_catalogue() if each.dataset.instrument in instruments]
    plan = downloads([each for each in wanted if each.window == CURRICULUM_WINDOW], native=native)
    return sum(
        len(pages(each.dataset, each.wanted.window, [], find(each.dataset.instrument.provider).slots_per_page))
        for each in plan
    )


@pytest.mark.parametrize(
    ("instruments", "native", "expected"),
    [
        ({BTC_USD, ETH_USD}, False, 2806),
        ({EUR_USD, GBP_USD}, False, 170),
        ({BTC_USD, ETH_USD}, True, 3976),
        ({EUR_USD, GBP_USD}, True, 244),
    ],
    ids=["Coinbase", "OANDA", "Coinbase, native", "OANDA, native"],
)
def test_a_plan_of_four_years_has_the_minimum_of_requests(
    instruments: set[Instrument], native: bool, expected: int
) -> None:
    assert requests(instruments, native=native) == expected


STEPS = st.integers(0, 3000)
RANGES = (
    st.tuples(STEPS, STEPS).filter(lambda it: it[0] < it[1]).map(lambda it: Window.of_seconds(it[0] * 300, it[1] * 300))
)


@given(RANGES, st.lists(RANGES, max_size=5), st.integers(1, 700))
def test_pages_cover_exactly_the_missing_ranges(window: Window, covered: list[Window], size: int) -> None:
    asked = [page.window for page in pages(BTC_M5, window, covered, size)]

    assert merge([*asked, *covered]) == merge([window, *covered])
    assert not any(each.overlap(other) for each in asked for other in covered)


@given(RANGES, st.lists(RANGES, max_size=5), st.integers(1, 700))
def test_no_page_is_too_long_or_requested_twice(window: Window, covered: list[Window], size: int) -> None:
    asked = [page.window for page in pages(BTC_M5, window, covered, size)]

    assert all(each.end_seconds - each.start_seconds <= size * 300 for each in asked)
    assert all(one.end <= other.start for one, other in pairwise(asked))


def test_pages_are_aligned_if_the_range_is_not() -> None:
    window = Window(FIRST + timedelta(minutes=1), FIRST + timedelta(minutes=9))

    assert [page.window for page in pages(BTC_M5, window, [], 300)] == [Window(FIRST, FIRST + timedelta(minutes=10))]


@given(RANGES)
def test_the_halves_of_a_page_cover_it(window: Window) -> None:
    parts = [each.window for each in halves(Page(dataset=BTC_M5, window=window))]

    assert merge(parts) == [window]
    assert len(parts) == min(2, (window.end_seconds - window.start_seconds) // 300)


def test_longer_timeframes_are_derived_if_their_base_is_requested() -> None:
    base, quarter, hour = want(M5, 0, 10), want(M15, 0, 10), want(H1, 2, 8)

    assert downloads([base, quarter, hour], native=False) == [DownloadPlan(wanted=base, derived=(quarter, hour))]


def test_longer_timeframes_are_derived_from_the_shortest_requested_one() -> None:
    hour, quarter = want(H1, 0, 10), want(M15, 0, 10)

    assert downloads([hour, quarter], native=False) == [DownloadPlan(wanted=quarter, derived=(hour,))]


def test_a_longer_timeframe_is_asked_for_where_no_shorter_one_is_wanted() -> None:
    hour, later = want(H1, 0, 10), want(M15, 10, 20)

    assert downloads([hour, later], native=False) == [DownloadPlan(wanted=hour), DownloadPlan(wanted=later)]


def test_native_mode_requests_every_timeframe() -> None:
    wanted = [want(M5, 0, 10), want(M15, 0, 10)]

    assert downloads(wanted, native=True, sealed={BTC_M5: [wanted[0].window]}) == [
        DownloadPlan(wanted=each) for each in wanted
    ]


def test_the_base_of_another_instrument_is_not_used() -> None:
    wanted = [want(M5, 0, 10, ETH_USD), want(M15, 0, 10)]

    assert downloads(wanted, native=False) == [DownloadPlan(wanted=each) for each in wanted]


def test_longer_timeframes_are_derived_from_a_sealed_base() -> None:
    quarter = want(M15, 0, 10)

    assert downloads([quarter], native=False, sealed={BTC_M5: [want(M5, 0, 20).window]}) == [
        DownloadPlan(wanted=quarter, sealed_base=BTC_M5)
    ]


def test_a_range_is_split_if_its_base_has_several_sources() -> None:
    """Sealed from 0 to 4, requested from 4 to 8, and neither from 8 on."""
    base, quarter = want(M5, 4, 8), want(M15, 0, 10)

    assert downloads([base, quarter], native=False, sealed={BTC_M5: [want(M5, 0, 4).window]}) == [
        DownloadPlan(wanted=base, derived=(want(M15, 4, 8),)),
        DownloadPlan(wanted=want(M15, 0, 4), sealed_base=BTC_M5),
        DownloadPlan(wanted=want(M15, 8, 10)),
    ]


def test_datasets_of_the_first_level_are_requested_first() -> None:
    asked = [(each.dataset.instrument, each.wanted.window) for each in downloads(default_catalogue(), native=False)]

    assert asked[:2] == [(BTC_USD, CURRICULUM_WINDOW), (EUR_USD, EUR_USD_BULL_WINDOW)]
    assert len(asked) == 5


def test_a_timeframe_is_derived_from_the_shortest_one_that_is_stored() -> None:
    minutes, fives = BTC_M5.at(M1), BTC_M5
    sealed = {fives: [want(M5, 0, 10).window], minutes: [want(M1, 0, 4).window]}

    assert downloads([want(H1, 0, 10)], native=False, sealed=sealed) == [
        DownloadPlan(wanted=want(H1, 0, 4), sealed_base=minutes),
        DownloadPlan(wanted=want(H1, 4, 10), sealed_base=fives),
    ]


def test_all_timeframes_of_a_pair_cost_the_requests_of_the_shortest() -> None:
    every = [want(timeframe, 0, 10) for timeframe in Timeframe]

    assert downloads(every, native=False) == [DownloadPlan(wanted=every[0], derived=tuple(every[1:]))]


@pytest.mark.parametrize(("timeframe", "base"), [(M30, M15), (H4, H1)])
@pytest.mark.parametrize("native", [False, True])
def test_a_timeframe_that_coinbase_lacks_is_derived_from_the_longest_that_it_has(
    timeframe: Timeframe, base: Timeframe, *, native: bool
) -> None:
    offered = find("coinbase").timeframes

    plan = downloads([want(timeframe, 0, 10)], native=native, is_native=lambda dataset: dataset.timeframe in offered)

    assert plan == [DownloadPlan(wanted=want(base, 0, 10), derived=(want(timeframe, 0, 10),))]


def test_a_bucket_is_derived_only_where_its_whole_base_is_there() -> None:
    """H4 of FX from M5 that ends at midnight UTC, in the middle of the bucket from 22:00 to 2:00."""
    base, four_hours = want(M5, 0, 10, EUR_USD), want(H4, 0, 12, EUR_USD)
    last_whole = FIRST + timedelta(days=9, hours=22)

    plan = downloads([base, four_hours], native=False)

    derived = Window(FIRST + timedelta(hours=2), last_whole)
    asked = Window(last_whole, FIRST + timedelta(days=12))
    assert plan[0].derived[0].window == derived
    assert plan[-1].wanted.window == asked


@pytest.mark.parametrize("timeframe", [H4, D1])
@pytest.mark.parametrize("change", [datetime(2020, 3, 8, tzinfo=UTC), datetime(2020, 11, 1, tzinfo=UTC)])
def test_pages_of_a_trading_day_follow_its_clock(timeframe: Timeframe, change: datetime) -> None:
    dataset = Dataset(instrument=EUR_USD, timeframe=timeframe)
    window = Window(change - timedelta(days=5), change + timedelta(days=5))

    asked = [page.window for page in pages(dataset, window, [], 7)]

    assert merge(asked) == [Window(asked[0].start, asked[-1].end)]
    assert all(len(grid_of(dataset).opens(each)) == 7 for each in asked[:-1])
    assert all(grid_of(dataset).whole(each) == each for each in asked)
    assert merge([half.window for page in asked for half in halves(Page(dataset=dataset, window=page))]) == merge(asked)


def test_a_timeframe_below_all_those_of_a_provider_is_refused() -> None:
    """Some exchanges of ccxt have no candles of one minute."""
    with pytest.raises(
        SettingsError, match=r"coinbase/BTC-USD/M1: its provider has neither this timeframe nor a shorter"
    ):
        downloads([want(M1, 0, 1)], native=False, is_native=lambda dataset: dataset.timeframe is not M1)
