import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetcher.simulator.candles.source import (
    CLOSE,
    HIGH,
    LOW,
    OPEN,
    SimulatedCandles,
    aggregated,
    as_of,
    first_candles,
    joined,
    last_candles,
    no_candles,
)
from tradeschool.markets.catalogue import BTC_USD, EUR_USD
from tradeschool.markets.grid import grid_of
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.timeframes import Timeframe

BTC_M5 = Dataset(instrument=BTC_USD, timeframe=Timeframe.M5)
EUR_M5 = Dataset(instrument=EUR_USD, timeframe=Timeframe.M5)
M15 = grid_of(BTC_M5.at(Timeframe.M15))


def row(time, open_=10.0, high=12.0, low=8.0, close=11.0, volume=1.0):
    return (time, open_, high, low, close, volume)


def test_a_bucket_aggregates_open_high_low_close_and_volume(written):
    parts = written(BTC_M5, row(900, 10, 12, 9, 11, 0.1), row(1200, 11, 15, 10, 14, 0.2), row(1500, 14, 14, 7, 8, 0.3))

    bucket = aggregated(parts.candles(BTC_M5, 0, 10_000), M15)

    assert bucket.times.tolist() == [900]
    assert bucket.prices.tolist() == [[10, 15, 7, 8]]
    assert bucket.volumes.tolist() == [0.6]


def test_a_bucket_exists_if_one_of_its_parts_exists(written):
    parts = written(BTC_M5, row(1500), row(4500))

    buckets = aggregated(parts.candles(BTC_M5, 0, 10_000), M15)

    assert buckets.times.tolist() == [900, 4500]


def test_bid_and_ask_are_aggregated_separately(written):
    parts = written(EUR_M5, row(900, 1.1, 1.3, 1.0, 1.2), row(1200, 1.2, 1.4, 1.1, 1.3), half_spread=0.001)

    bucket = aggregated(parts.candles(EUR_M5, 0, 10_000), M15)

    assert bucket.bid.tolist() == [[1.099, 1.399, 0.999, 1.299]]
    assert bucket.ask.tolist() == [[1.101, 1.401, 1.001, 1.301]]


def test_no_candles_aggregate_to_no_candles():
    assert len(aggregated(no_candles(EUR_USD), M15)) == 0


def test_a_finished_last_candle_is_unchanged(written):
    candles = written(BTC_M5, row(900)).candles(BTC_M5, 0, 10_000)

    assert as_of(candles, BTC_M5, 1200.0) is candles


def test_an_unfinished_candle_covers_the_elapsed_part(written):
    candles = written(BTC_M5, row(600), row(900, 10, 12, 8, 11, 4.0)).candles(BTC_M5, 0, 10_000)

    begun = as_of(candles, BTC_M5, 1050.0)

    assert begun.prices.tolist() == [[10, 12, 8, 11], [10, 11, 9, 10.5]]
    assert begun.volumes.tolist() == [1.0, 2.0]


def test_an_unfinished_fx_candle_counts_whole_prices_and_at_least_one(written):
    candles = written(EUR_M5, row(900, 1.1, 1.2, 1.0, 1.15, 9)).candles(EUR_M5, 0, 10_000)

    assert as_of(candles, EUR_M5, 1050.0).volumes.tolist() == [4.0]
    assert as_of(candles, EUR_M5, 901.0).volumes.tolist() == [1.0]


@given(elapsed=st.floats(0, 299.9), prices=st.lists(st.integers(1, 10_000), min_size=4, max_size=4))
def test_an_unfinished_candle_keeps_low_and_high_outermost(elapsed, prices):
    low, open_, close, high = sorted(prices)
    arrays = SimulatedCandles(
        times=np.array([900]), prices=np.array([[open_, high, low, close]]) / 100, volumes=np.array([1.0])
    )

    (begun,) = as_of(arrays, BTC_M5, 900 + elapsed).prices

    assert begun[LOW] <= min(begun[OPEN], begun[CLOSE])
    assert begun[HIGH] >= max(begun[OPEN], begun[CLOSE])


@pytest.mark.parametrize("gap_seconds", [0, 30 * 86_400, 5 * 365 * 86_400])
def test_first_and_last_candles_are_found_across_gaps(written, gap_seconds):
    """A count counts candles, independent of their distance."""
    times = [900, 1200, 1500 + gap_seconds, 1800 + gap_seconds]
    source = written(BTC_M5, *(row(time) for time in times))
    end = times[-1] + 300 + gap_seconds

    assert first_candles(source, BTC_M5, 0, end, 3).times.tolist() == times[:3]
    assert last_candles(source, BTC_M5, end, 3).times.tolist() == times[1:]


def test_fewer_candles_are_returned_if_fewer_exist(written):
    source = written(BTC_M5, row(900), row(1200))

    assert len(first_candles(source, BTC_M5, 0, 100_000_000, 5)) == 2
    assert len(last_candles(source, BTC_M5, 100_000_000, 5)) == 2


def test_joined_parts_equal_the_whole(generated):
    day = 86_400
    start = 1_610_000_400
    parts = [generated.candles(EUR_M5, start + n * day, start + (n + 1) * day) for n in range(4)]

    whole = joined(parts)

    assert whole.times.tolist() == generated.candles(EUR_M5, start, start + 4 * day).times.tolist()
    assert whole.bid.shape == whole.ask.shape == (len(whole), 4)
