from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest

from fetcher.download.derive import derive
from fetcher.simulator.candles.source import SimulatedCandles
from tradeschool.markets.calendars import expected_slots
from tradeschool.markets.catalogue import BTC_USD, ETH_USD, EUR_USD, GBP_USD
from tradeschool.markets.grid import grid_of
from tradeschool.markets.instruments import Dataset, Instrument
from tradeschool.markets.timeframes import Timeframe
from tradeschool.markets.windows import Window
from tradeschool.ohlcv.arrays import CandleArrays
from tradeschool.ohlcv.frame import Candles, schema

PRICES = ["open", "high", "low", "close"]


def read(shared: Path, name: str, instrument: Instrument, timeframe: Timeframe) -> Candles:
    """A file of real candles; OANDA's files have no spread column."""
    frame = pl.read_parquet(shared / "data" / f"{name}.parquet")
    dataset = Dataset(instrument=instrument, timeframe=timeframe)
    if "half_spread" in schema(dataset):
        frame = frame.with_columns(half_spread=0.0)
    first, last = frame["ts"][0], frame["ts"][-1]
    return Candles.parse(frame, dataset, Window(first, last + timeframe.duration))


def compared(derived: Candles, native: Candles) -> pl.DataFrame:
    """Complete candles that both sides have, joined."""
    inside = derived.frame[1:-1]
    return inside.join(native.frame, on="ts", how="inner", suffix="_native")


def different(both: pl.DataFrame, column: str) -> int:
    return both.filter(pl.col(column) != pl.col(f"{column}_native")).height


@pytest.mark.parametrize(("pair", "instrument"), [("BTC-USDT", BTC_USD), ("ETH-USDT", ETH_USD)], ids=["BTC", "ETH"])
@pytest.mark.parametrize(("timeframe", "name"), [(Timeframe.M15, "15m"), (Timeframe.H1, "1h")], ids=["M15", "H1"])
def test_derived_crypto_candles_equal_native_ones(
    shared: Path, pair: str, instrument: Instrument, timeframe: Timeframe, name: str
) -> None:
    """Prices are equal; 7 or 8 of 62,000 volumes differ, because the venue corrects volumes late."""
    base = read(shared, f"binance-freqtrade2022_{pair}_5m", instrument, Timeframe.M5)
    native = read(shared, f"binance-freqtrade2022_{pair}_{name}", instrument, timeframe)
    both = compared(derive(base, timeframe), native)

    assert both.height > 5_000
    assert [different(both, column) for column in PRICES] == [0, 0, 0, 0]
    assert different(both.with_columns(pl.col("volume_native").round(8)), "volume") <= 8


@pytest.mark.parametrize("instrument", [EUR_USD, GBP_USD], ids=lambda instrument: instrument.name)
def test_derived_fx_candles_equal_native_ones(shared: Path, instrument: Instrument) -> None:
    base = read(shared, f"oanda2024_{instrument.name}_5m", instrument, Timeframe.M5)
    native = read(shared, f"oanda2024_{instrument.name}_15m", instrument, Timeframe.M15)
    both = compared(derive(base, Timeframe.M15), native)

    assert both.height > 1_300
    assert [different(both, column) for column in [*PRICES, "volume"]] == [0] * 5


@pytest.mark.parametrize("instrument", [EUR_USD, GBP_USD], ids=lambda instrument: instrument.name)
def test_hours_derived_from_m15_and_m5_are_equal(shared: Path, instrument: Instrument) -> None:
    base = read(shared, f"oanda2024_{instrument.name}_5m", instrument, Timeframe.M5)
    quarters = derive(base, Timeframe.M15)

    assert derive(quarters, Timeframe.H1).frame.equals(derive(base, Timeframe.H1).frame)


@pytest.mark.parametrize("instrument", [EUR_USD, GBP_USD], ids=lambda instrument: instrument.name)
@pytest.mark.parametrize(("timeframe", "name"), [(Timeframe.M5, "5m"), (Timeframe.M15, "15m")], ids=["M5", "M15"])
def test_derived_fx_hours_equal_native_ones(
    shared: Path, instrument: Instrument, timeframe: Timeframe, name: str
) -> None:
    """The native hours come from another download and end with the last hour of 2024."""
    base = read(shared, f"oanda2024_{instrument.name}_{name}", instrument, timeframe)
    native = read(shared, f"oanda_{instrument.name}_1h", instrument, Timeframe.H1)
    both = compared(derive(base, Timeframe.H1), native)

    assert both.height >= 332
    assert [different(both, column) for column in [*PRICES, "volume"]] == [0] * 5


def test_a_bucket_exists_if_any_of_its_parts_exists(made) -> None:
    dataset = Dataset(instrument=EUR_USD, timeframe=Timeframe.M5)
    window = Window.of_seconds(1578268800, 1578268800 + 3600)
    base = made(dataset, window)
    holed = Candles(dataset, base.frame[[1, 9, 10]])
    derived = derive(holed, Timeframe.M15).frame

    assert derived["ts"].to_list() == [base.frame["ts"][0], base.frame["ts"][9]]
    assert derived["open"].to_list() == [base.frame["open"][1], base.frame["open"][9]]
    assert derived["close"].to_list() == [base.frame["close"][1], base.frame["close"][10]]
    assert derived["half_spread"].to_list() == [base.frame["half_spread"][1], base.frame["half_spread"][9]]


@pytest.mark.parametrize("instrument", [BTC_USD, EUR_USD], ids=lambda instrument: instrument.name)
def test_no_candles_derive_no_candles(instrument: Instrument) -> None:
    dataset = Dataset(instrument=instrument, timeframe=Timeframe.M5)
    derived = derive(Candles.empty(dataset), Timeframe.H1)

    assert derived.frame.equals(Candles.empty(dataset.at(Timeframe.H1)).frame)


@pytest.mark.parametrize("timeframe", [Timeframe.H4, Timeframe.D1])
@pytest.mark.parametrize("sunday", [datetime(2024, 3, 10, tzinfo=UTC), datetime(2024, 11, 3, tzinfo=UTC)])
@pytest.mark.parametrize("instrument", [BTC_USD, EUR_USD], ids=lambda instrument: instrument.name)
def test_a_trading_day_is_derived_over_both_clock_changes(
    generated, instrument: Instrument, sunday: datetime, timeframe: Timeframe
) -> None:
    """From each shorter timeframe; every candle is expected by the calendar, and none is missing."""
    dataset = Dataset(instrument=instrument, timeframe=timeframe)
    window = grid_of(dataset).whole(Window(sunday - timedelta(days=8), sunday + timedelta(days=8)))
    assert window
    native = generated.candles(dataset, window.start_seconds, window.end_seconds)
    for base in (Timeframe.M1, Timeframe.M5, Timeframe.H1):
        parts = generated.candles(dataset.at(base), window.start_seconds, window.end_seconds)

        found = derive(_candles(dataset.at(base), parts, window), timeframe)

        assert found.times.tolist() == native.times.tolist() == expected_slots(dataset, window).tolist()
        prices = np.column_stack([found.arrays.open, found.arrays.high, found.arrays.low, found.arrays.close])
        assert np.array_equal(prices, native.prices)
        assert np.allclose(found.arrays.volume, native.volumes, rtol=0, atol=2e-8)


def _candles(dataset: Dataset, parts: SimulatedCandles, window: Window) -> Candles:
    open_, high, low, close = parts.prices.T
    half_spread = None if parts.ask is None or parts.bid is None else (parts.ask[:, 0] - parts.bid[:, 0]) / 2
    arrays = CandleArrays(
        dataset=dataset,
        time=parts.times,
        open=open_,
        high=high,
        low=low,
        close=close,
        volume=parts.volumes,
        half_spread=half_spread,
    )
    return Candles.of_arrays(arrays, window)


def test_real_weeks_of_fx_make_trading_days_and_no_stub(shared: Path) -> None:
    """OANDA's own H1 candles of 2020 to 2023: each week has the days that its calendar has, and no other."""
    hours = read(shared, "oanda_EUR-USD_1h", EUR_USD, Timeframe.H1)
    days = Dataset(instrument=EUR_USD, timeframe=Timeframe.D1)
    window = grid_of(days).whole(Window(datetime(2020, 1, 2, tzinfo=UTC), datetime(2023, 12, 29, tzinfo=UTC)))
    assert window

    found = derive(hours.within(window), Timeframe.D1).times

    assert set(found.tolist()) == set(expected_slots(days, window).tolist())
    local = [datetime.fromtimestamp(time, ZoneInfo("America/New_York")) for time in found.tolist()]
    assert {each.hour for each in local} == {17}
    assert {f"{each:%a}" for each in local} == {"Sun", "Mon", "Tue", "Wed", "Thu"}
