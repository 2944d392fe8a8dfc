"""The instruments that the simulator lists, and their candles."""

import numpy as np
import pytest

from fetcher.simulator.candles.generated import GeneratedCandles
from fetcher.simulator.candles.price_paths import market_profile_of
from fetcher.simulator.candles.source import CLOSE
from fetcher.simulator.candles.universe import added_instrument, listed_instruments, plausible_price
from tradeschool.errors import SettingsError
from tradeschool.markets.calendars import expected_slots
from tradeschool.markets.catalogue import INSTRUMENTS
from tradeschool.markets.instruments import Dataset, Instrument
from tradeschool.markets.timeframes import Timeframe
from tradeschool.markets.timerange import parse_timerange

MARCH = parse_timerange("20200302-20200330")
NAMED = {each.full_name: each for each in listed_instruments()}


def candles_of(source: GeneratedCandles, instrument: Instrument, timeframe: Timeframe = Timeframe.M5):
    dataset = Dataset(instrument=instrument, timeframe=timeframe)
    slots = expected_slots(dataset, MARCH)
    return source.candles(dataset, MARCH.start_seconds, MARCH.end_seconds), slots


@pytest.fixture(scope="module")
def source() -> GeneratedCandles:
    return GeneratedCandles(seed=3, instruments=listed_instruments())


def test_the_shipped_instruments_come_first_and_no_name_twice() -> None:
    listed = listed_instruments()

    assert listed[: len(INSTRUMENTS)] == INSTRUMENTS
    assert len({each.full_name for each in listed}) == len(listed) > 140


def test_other_instruments_change_no_candle_of_the_shipped_ones(source: GeneratedCandles) -> None:
    for instrument in INSTRUMENTS:
        alone = GeneratedCandles(seed=3)

        assert candles_of(source, instrument)[0].prices.tobytes() == candles_of(alone, instrument)[0].prices.tobytes()


@pytest.mark.parametrize("name", NAMED)
def test_every_price_is_plausible(name: str) -> None:
    price, instrument = plausible_price(NAMED[name]), NAMED[name]

    assert 100 <= price / instrument.tick < 2**39
    assert market_profile_of(instrument).half_spread_ticks <= price / instrument.tick / 100


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("oanda:USD/JPY", 90, 180),
        ("oanda:XAU/USD", 1_000, 3_500),
        ("oanda:SPX500/USD", 2_000, 8_000),
        ("coinbase:SHIB/USD", 1e-6, 1e-4),
        ("binance:BTC/JPY", 500_000, 20_000_000),
    ],
)
def test_candles_have_whole_ticks_in_a_plausible_range(
    source: GeneratedCandles, name: str, low: float, high: float
) -> None:
    candles, slots = candles_of(source, NAMED[name])
    ticks = candles.prices / NAMED[name].tick

    assert np.isin(candles.times, slots).all()
    assert np.abs(ticks - np.rint(ticks)).max() < 1e-4
    assert ((candles.prices[:, CLOSE] > low) & (candles.prices[:, CLOSE] < high)).all()
    assert (candles.bid is not None) == NAMED[name].has_spread


def test_a_thin_market_has_no_candle_in_two_thirds_of_its_slots(source: GeneratedCandles) -> None:
    shares = {}
    for timeframe in (Timeframe.M5, Timeframe.M15, Timeframe.H1):
        candles, slots = candles_of(source, NAMED["coinbase:SOL/USD"], timeframe)
        shares[timeframe] = len(candles) / len(slots)

    assert shares[Timeframe.M5] == pytest.approx(0.33, abs=0.02)
    assert shares[Timeframe.M15] == pytest.approx(0.69, abs=0.03)
    assert shares[Timeframe.H1] > 0.95


def test_an_added_instrument_trades_as_often_as_it_is_told() -> None:
    foo = added_instrument("coinbase:foo/usd")
    again = [candles_of(GeneratedCandles(seed=3, instruments=(foo,), traded={foo: 0.2}), foo) for _ in range(2)]

    assert (foo.full_name, foo.has_spread) == ("coinbase:FOO/USD", False)
    assert len(again[0][0]) / len(again[0][1]) == pytest.approx(0.2, abs=0.02)
    assert again[0][0].times.tobytes() == again[1][0].times.tobytes()


@pytest.mark.parametrize("text", ["FOO/USD", "coinbase:FOO", "coinbase:FOO/BAR/USD", "coinbase:F.O/USD"])
def test_another_form_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="expected"):
        added_instrument(text)
