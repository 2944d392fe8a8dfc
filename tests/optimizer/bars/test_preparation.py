"""Preparation: validation, whole ticks and evaluated days."""

import dataclasses
from datetime import UTC, datetime

import numpy as np
import pytest

from optimizer.bars.preparation import prepare
from tests.factories.candles import EUR, START, arrays_of, prepared_of, real_btc, whole_window
from tradeschool.errors import DataIncomplete, InvalidCandles
from tradeschool.markets.windows import Window

ROWS = [(100, 110, 90, 105)] * 5


def test_prices_are_converted_to_whole_ticks_with_exact_sums():
    prepared = prepared_of([(100, 110, 90, 105), (105, 106, 104, 104)], dataset=EUR, half_spread_ticks=0.5)

    assert prepared.open.tolist() == [100, 105]
    assert prepared.high.tolist() == [110, 106]
    assert prepared.low.tolist() == [90, 104]
    assert prepared.close.tolist() == [105, 104]
    assert prepared.half_spread.tolist() == [0.5, 0.5]
    assert prepared.close_sums.tolist() == [0, 105, 209]
    assert prepared.open.dtype == np.int32


def test_every_real_price_is_a_whole_tick():
    window = Window(datetime(2020, 1, 1, tzinfo=UTC), datetime(2022, 1, 1, tzinfo=UTC))
    candles = real_btc(window)

    prepared = prepare(candles, window, 250)

    assert (np.abs(prepared.close * 0.01 - candles.close) < 1e-6).all()


def test_days_run_from_the_first_judged_bar_to_the_end_of_the_window():
    hours = [0, 1, 30, 31, 80]
    times = [int(START.timestamp()) + hour * 3600 for hour in hours]
    candles = arrays_of(ROWS, dataset=EUR, times=times, half_spread_ticks=1.0)
    window = Window(START, datetime(2021, 3, 7, tzinfo=UTC))

    prepared = prepare(candles, window, 1)

    assert prepared.first_day == int(START.timestamp()) // 86_400
    assert prepared.day_starts.tolist() == [1, 2, 4, 4, 5, 5, 5]
    assert prepared.day_count == 6
    assert prepared.evaluated_bars == 4


def test_arrays_are_read_only():
    with pytest.raises(ValueError, match="read-only"):
        prepared_of(ROWS).close[0] = 1


@pytest.mark.parametrize("name", ["prices", "slots", "spreads", "close_sums", "day_starts", "hour_ends", "atr_marks"])
def test_arrays_cannot_be_made_writable(name: str):
    array = getattr(prepared_of(ROWS), name)

    with pytest.raises(ValueError, match="cannot set WRITEABLE"):
        array.flags.writeable = True
    with pytest.raises(ValueError, match="cannot set WRITEABLE"):
        array[:].setflags(write=True)


def test_a_window_as_long_as_the_warm_up_is_refused():
    with pytest.raises(DataIncomplete, match=r"coinbase/BTC-USD/M5: 5 bars, but the warm-up takes 5"):
        prepared_of(ROWS, warm_up=5)


@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [
        ("close", 1.005, r"bar 2 \(2021-03-01 00:10 UTC\): close must be whole ticks of 0.01, was 1.005"),
        ("open", float("nan"), "bar 2 .*open must be a finite number"),
        ("high", float("inf"), "bar 2 .*high must be a finite number"),
        ("low", 0.0, "bar 2 .*low must be at least one tick, was 0.0"),
        ("high", 1.04, "bar 2 .*high must be the highest price"),
        ("low", 1.01, "bar 2 .*low must be the lowest price"),
        ("high", 3e7, "bar 2 .*high in ticks must fit 32 bits"),
        ("time", 0, "bar 2 .*times must ascend"),
    ],
)
def test_an_invalid_candle_is_reported(column, value, rule):
    candles = arrays_of(ROWS)
    values = getattr(candles, column).copy()
    values[2] = value

    with pytest.raises(InvalidCandles, match=rule):
        prepare(dataclasses.replace(candles, **{column: values}), whole_window(arrays_of(ROWS)), 0)


@pytest.mark.parametrize("spread", [-0.00001, float("nan"), float("inf")])
def test_an_invalid_half_spread_is_reported(spread):
    candles = arrays_of(ROWS, dataset=EUR, half_spread_ticks=1.0)
    spreads = np.array([0, 0, spread, 0, 0])

    with pytest.raises(InvalidCandles, match=r"bar 2 .*half_spread must be a finite number, not negative"):
        prepare(dataclasses.replace(candles, half_spread=spreads), whole_window(candles), 0)


def test_fx_without_half_spreads_is_refused():
    with pytest.raises(InvalidCandles, match="EUR-USD/H1: half_spread is missing"):
        prepared_of(ROWS, dataset=EUR)


def test_a_repeated_time_is_refused():
    first = int(START.timestamp())

    with pytest.raises(InvalidCandles, match="times must ascend"):
        prepared_of(ROWS, times=[first, first + 300, first + 300, first + 600, first + 900])


def test_a_candle_outside_the_window_is_refused():
    with pytest.raises(InvalidCandles, match=r"times must lie in 2021-03-02\.\.2021-03-03"):
        prepare(arrays_of(ROWS), Window(datetime(2021, 3, 2, tzinfo=UTC), datetime(2021, 3, 3, tzinfo=UTC)), 0)


def test_inexact_sums_are_refused():
    """2^31 - 1 ticks over a warm-up of 2,100 bars: a window's sum times its length passes 2^53."""
    price = 2**31 - 1
    rows = [(price,) * 4] * 2_101

    with pytest.raises(InvalidCandles, match="sums of closes reach"):
        prepared_of(rows, warm_up=2_100)
