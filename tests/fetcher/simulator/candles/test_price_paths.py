import numpy as np
import pytest

from fetcher.simulator.candles.price_paths import (
    MARKET_PROFILES,
    MarketProfile,
    day_factors,
    draw_path,
    market_profile_of,
)
from tradeschool.markets.catalogue import BTC_USD
from tradeschool.markets.instruments import Instrument, Market

CRYPTO = MarketProfile(price=100, volatility=0.8, trend=1.4, daily_swing=0.3, volume=2_000)
FX = MarketProfile(price=1.0, volatility=0.08, trend=0.13, daily_swing=0.6, volume=300, half_spread_ticks=9)
YEAR = np.arange(1_577_836_800, 1_609_459_200, 300, dtype=np.int64)


def test_intraday_factors_average_one_and_peak_in_london_new_york_hours():
    day = np.arange(0, 86_400, 300, dtype=np.int64)
    factors = day_factors(day, 0.6)

    assert factors.mean() == pytest.approx(1.0)
    assert day[factors.argmax()] == 14 * 3600


def test_an_instrument_without_parameters_has_those_of_its_kind_at_a_plausible_price():
    unknown = Instrument(provider="oanda", base="NZD", quote="CHF", market=Market.FX, decimals=5)
    found = market_profile_of(unknown)

    assert market_profile_of(BTC_USD) is MARKET_PROFILES["BTC-USD"]
    assert found.price == pytest.approx(0.65 / 1.08)
    assert (found.volatility, found.traded) == (0.08, 1.0)
    assert 1 <= found.half_spread_ticks < 10


def test_a_path_has_trending_and_volatile_periods():
    path = draw_path(np.random.default_rng(3), CRYPTO, YEAR, np.log(100))
    weekly = np.diff(path.logs[::2016])
    stormy, calm = np.percentile(path.deviations, [95, 5])

    assert weekly.max() > 0.05
    assert weekly.min() < -0.05
    assert stormy > 4 * calm


@pytest.mark.parametrize("seed", range(5))
def test_ten_years_of_random_walk_stay_near_the_start_price(seed):
    rng, log = np.random.default_rng(seed), np.log(FX.price)
    for _ in range(10):
        log = draw_path(rng, FX, YEAR, log).logs[-1]

    assert abs(log - np.log(FX.price)) < 0.4
