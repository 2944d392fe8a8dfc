import math
import re
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradeschool.errors import InvalidCandles
from tradeschool.markets.catalogue import BTC_USD, EUR_USD
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.timeframes import Timeframe
from tradeschool.markets.windows import Window
from tradeschool.ohlcv.arrays import are_among, joined
from tradeschool.ohlcv.frame import TIME, Candles, schema

BTC_M5 = Dataset(instrument=BTC_USD, timeframe=Timeframe.M5)
EUR_M5 = Dataset(instrument=EUR_USD, timeframe=Timeframe.M5)
START = datetime(2020, 1, 6, tzinfo=UTC)
WINDOW = Window(START, START + timedelta(hours=1))
ROWS = 6


def frame(dataset: Dataset = BTC_M5) -> pl.DataFrame:
    """Six valid candles."""
    columns = {"open": 10.0, "high": 12.0, "low": 9.0, "close": 11.0, "volume": 1.0, "half_spread": 0.5}
    times = [START + timedelta(minutes=5 * row) for row in range(ROWS)]
    return pl.DataFrame({"ts": times, **{name: [value] * ROWS for name, value in columns.items()}}).select(
        pl.col(name).cast(kind) for name, kind in schema(dataset).items()
    )


def with_value(column: str, value: object, *, row: int = 2, dataset: Dataset = BTC_M5) -> pl.DataFrame:
    sound = frame(dataset)
    values = sound[column].to_list()
    values[row] = value
    return sound.with_columns(pl.Series(column, values, dtype=sound.schema[column]))


@pytest.mark.parametrize("dataset", [BTC_M5, EUR_M5], ids=str)
def test_valid_candles_are_accepted_unchanged(dataset: Dataset) -> None:
    assert Candles.parse(frame(dataset), dataset, WINDOW).frame.equals(frame(dataset))


def test_an_empty_frame_is_valid() -> None:
    assert len(Candles.parse(frame().clear(), BTC_M5, WINDOW)) == 0


def test_columns_are_ordered_by_the_contract_and_others_dropped() -> None:
    shuffled = frame(EUR_M5).select(reversed(frame(EUR_M5).columns))

    assert Candles.parse(shuffled, BTC_M5, WINDOW).frame.columns == list(schema(BTC_M5))


@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [
        ("ts", None, "ts must not be null"),
        ("open", None, "open must be a finite number"),
        ("high", math.nan, "high must be a finite number"),
        ("low", -math.inf, "low must be a finite number"),
        ("close", math.inf, "close must be a finite number"),
        ("volume", None, "volume must be a finite number"),
        ("low", 0.0, "low must be positive"),
        ("open", -10.0, "open must be positive"),
        ("volume", -1.0, "volume must not be negative"),
        ("low", 10.5, "low must be the lowest price"),
        ("high", 10.5, "high must be the highest price"),
        ("high", 8.0, "low must be the lowest price"),
        ("ts", START + timedelta(minutes=10, seconds=1), "ts must lie on the M5 grid"),
        ("ts", START + timedelta(minutes=10, microseconds=1), "ts must lie on the M5 grid"),
        ("ts", START + timedelta(minutes=-5), "ts must lie in 2020-01-06..2020-01-06 01:00"),
        ("ts", WINDOW.end, "ts must lie in 2020-01-06..2020-01-06 01:00"),
        ("ts", START + timedelta(minutes=5), "ts must be strictly increasing"),
        ("ts", START, "ts must be strictly increasing"),
    ],
    ids=[
        "null time",
        "null open",
        "NaN high",
        "-inf low",
        "+inf close",
        "null volume",
        "zero price",
        "negative price",
        "negative volume",
        "low above open",
        "high below close",
        "high below low",
        "a second off the grid",
        "a microsecond off the grid",
        "before the window",
        "at the end of the window",
        "duplicate time",
        "unsorted",
    ],
)
def test_a_violation_is_reported_with_dataset_count_and_first_row(column: str, value: object, rule: str) -> None:
    told = f"coinbase/BTC-USD/M5: {rule}: broken by 1 of 6 rows, first: ts="

    with pytest.raises(InvalidCandles, match=re.escape(told)):
        Candles.parse(with_value(column, value), BTC_M5, WINDOW)


def test_the_first_violating_row_is_shown_with_its_values() -> None:
    first = "first: ts=2020-01-06 00:10:00+00:00, open=10.0, high=12.0, low=9.0, close=nan, volume=1.0"

    with pytest.raises(InvalidCandles, match=re.escape(first) + "$"):
        Candles.parse(with_value("close", math.nan), BTC_M5, WINDOW)


def test_every_violating_row_is_counted() -> None:
    with pytest.raises(InvalidCandles, match="volume must not be negative: broken by 6 of 6 rows"):
        Candles.parse(frame().with_columns(volume=pl.lit(-1.0)), BTC_M5, WINDOW)


@pytest.mark.parametrize("value", [None, math.nan, -0.1], ids=["null", "NaN", "negative"])
def test_a_half_spread_is_validated(value: float | None) -> None:
    with pytest.raises(InvalidCandles, match="half_spread must"):
        Candles.parse(with_value("half_spread", value, dataset=EUR_M5), EUR_M5, WINDOW)


def test_a_missing_column_is_reported_with_the_existing_ones() -> None:
    with pytest.raises(InvalidCandles, match="column 'half_spread' is missing; found ts, open, high, low, close"):
        Candles.parse(frame(), EUR_M5, WINDOW)


@pytest.mark.parametrize(
    ("column", "kind", "told"),
    [
        ("volume", pl.Int64(), "column 'volume': expected Float64, was Int64"),
        ("open", pl.String(), "column 'open': expected Float64, was String"),
        ("ts", pl.Datetime("us"), "column 'ts': expected Datetime(time_unit='us', time_zone='UTC'), was Datetime("),
        ("ts", pl.Datetime("ms", "UTC"), "was Datetime(time_unit='ms', time_zone='UTC')"),
    ],
    ids=["whole numbers", "text", "naive time", "milliseconds"],
)
def test_a_column_of_wrong_type_is_reported(column: str, kind: pl.DataType, told: str) -> None:
    with pytest.raises(InvalidCandles, match=re.escape(told)):
        Candles.parse(frame().with_columns(pl.col(column).cast(kind)), BTC_M5, WINDOW)


def test_times_are_unix_seconds() -> None:
    candles = Candles.parse(frame(), BTC_M5, WINDOW)

    assert candles.times.tolist() == [int(START.timestamp()) + 300 * row for row in range(ROWS)]


def test_a_part_has_the_candles_that_open_in_it() -> None:
    part = Window(START + timedelta(minutes=5), START + timedelta(minutes=15))

    assert len(Candles.parse(frame(), BTC_M5, WINDOW).within(part)) == 2


def test_empty_candles_have_the_columns_of_their_dataset() -> None:
    assert Candles.empty(EUR_M5).frame.schema["half_spread"] == pl.Float64()
    assert Candles.empty(EUR_M5).frame.schema["ts"] == TIME


@pytest.mark.parametrize("dataset", [BTC_M5, EUR_M5], ids=str)
def test_columns_and_frame_are_equal(dataset: Dataset) -> None:
    arrays = Candles(dataset, frame(dataset)).arrays
    candles = Candles.of_arrays(arrays, WINDOW)

    assert (len(candles), candles.times.tolist()) == (ROWS, arrays.time.tolist())
    assert candles.frame.equals(frame(dataset))


def test_columns_are_validated() -> None:
    arrays = Candles(BTC_M5, with_value("low", 10.5)).arrays

    with pytest.raises(InvalidCandles, match=r"low must be the lowest price: broken by 1 of 6 rows, first: ts=2020"):
        Candles.of_arrays(arrays, WINDOW)


def test_joined_candles_are_in_order_and_the_latest_part_wins() -> None:
    old = Candles(EUR_M5, frame(EUR_M5)).arrays
    new = Candles(EUR_M5, frame(EUR_M5).with_columns(volume=pl.lit(7.0))[[1, 0]]).arrays
    both = joined(EUR_M5, [old, new])

    assert both.time.tolist() == old.time.tolist()
    assert both.volume.tolist() == [7.0, 7.0, 1.0, 1.0, 1.0, 1.0]


def test_no_parts_give_no_candles() -> None:
    assert len(joined(EUR_M5, [])) == 0


@given(st.sets(st.integers(0, 60)), st.sets(st.integers(0, 60)))
def test_times_are_looked_up_by_index(times: set[int], others: set[int]) -> None:
    ascending = np.array(sorted(times), dtype=np.int64)
    found = are_among(ascending, np.array(sorted(others), dtype=np.int64))

    assert set(ascending[found].tolist()) == times & others
