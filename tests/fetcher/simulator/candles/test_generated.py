from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from fetcher.simulator.candles.generated import FIRST_YEAR, GeneratedCandles
from fetcher.simulator.candles.source import CLOSE, HIGH, LOW, OPEN, aggregated
from tradeschool.markets.calendars import NEW_YORK, expected_slots
from tradeschool.markets.catalogue import BTC_USD, ETH_USD, EUR_USD, GBP_USD, INSTRUMENTS
from tradeschool.markets.grid import grid_of
from tradeschool.markets.instruments import Dataset, Market
from tradeschool.markets.timeframes import Timeframe
from tradeschool.markets.windows import Window

YEAR = Window(datetime(2021, 1, 1, tzinfo=UTC), datetime(2022, 1, 1, tzinfo=UTC))
EUR_M5 = Dataset(instrument=EUR_USD, timeframe=Timeframe.M5)


def year_of(source, instrument, timeframe=Timeframe.M5):
    return source.candles(Dataset(instrument=instrument, timeframe=timeframe), YEAR.start_seconds, YEAR.end_seconds)


def same(left, right):
    return left.times.tobytes() == right.times.tobytes() and left.prices.tobytes() == right.prices.tobytes()


@pytest.mark.parametrize("instrument", INSTRUMENTS, ids=lambda instrument: instrument.name)
class TestEveryInstrument:
    def test_prices_are_in_order_and_positive(self, generated, instrument):
        prices = year_of(generated, instrument).prices

        assert (prices[:, LOW] > 0).all()
        assert (prices[:, LOW] <= prices[:, [OPEN, CLOSE]].min(axis=1)).all()
        assert (prices[:, HIGH] >= prices[:, [OPEN, CLOSE]].max(axis=1)).all()

    def test_prices_are_whole_ticks_that_print_with_their_decimals(self, generated, instrument):
        prices = year_of(generated, instrument).prices

        assert (np.round(prices, instrument.decimals) == prices).all()

    def test_candles_lie_on_expected_slots_and_a_few_are_missing(self, generated, instrument):
        dataset = Dataset(instrument=instrument, timeframe=Timeframe.M5)
        times, slots = year_of(generated, instrument).times, expected_slots(dataset, YEAR)
        missing = np.setdiff1d(slots, times)

        assert np.isin(times, slots).all()
        assert (np.diff(times) > 0).all()
        assert 30 <= len(missing) <= 84

    def test_a_year_has_one_outage_of_hours_and_some_single_slots(self, generated, instrument):
        dataset = Dataset(instrument=instrument, timeframe=Timeframe.M5)
        slots = expected_slots(dataset, YEAR)
        is_missing = ~np.isin(slots, year_of(generated, instrument).times)
        runs = np.diff(np.flatnonzero(np.diff(is_missing, prepend=False, append=False)))[::2]

        assert sorted(runs)[-1] >= 24
        assert sorted(runs)[-2] < 6

    @pytest.mark.parametrize("timeframe", [Timeframe.M15, Timeframe.H1])
    def test_longer_timeframes_are_built_from_m5(self, generated, instrument, timeframe):
        grid = grid_of(Dataset(instrument=instrument, timeframe=timeframe))

        assert same(year_of(generated, instrument, timeframe), aggregated(year_of(generated, instrument), grid))

    def test_minutes_add_up_to_m5(self, generated, instrument):
        grid = grid_of(Dataset(instrument=instrument, timeframe=Timeframe.M5))
        minutes = year_of(generated, instrument, Timeframe.M1)

        assert len(minutes) > 4 * len(year_of(generated, instrument))
        assert same(aggregated(minutes, grid), year_of(generated, instrument))

    @pytest.mark.parametrize("timeframe", [Timeframe.H4, Timeframe.D1])
    def test_candles_of_a_trading_day_are_built_from_m5(self, generated, instrument, timeframe):
        dataset = Dataset(instrument=instrument, timeframe=timeframe)
        whole = grid_of(dataset).whole(YEAR)
        base = generated.candles(dataset.at(Timeframe.M5), whole.start_seconds, whole.end_seconds)

        found = generated.candles(dataset, whole.start_seconds, whole.end_seconds)

        assert same(found, aggregated(base, grid_of(dataset)))
        assert set(found.times.tolist()) <= set(expected_slots(dataset, YEAR).tolist())

    def test_the_same_seed_gives_the_same_candles_in_any_request_order(self, generated, instrument):
        other = GeneratedCandles(seed=7)
        for earlier in reversed(INSTRUMENTS):
            other.candles(Dataset(instrument=earlier, timeframe=Timeframe.H1), YEAR.end_seconds, YEAR.end_seconds + 1)

        assert same(year_of(other, instrument), year_of(generated, instrument))

    def test_another_seed_gives_other_candles(self, generated, instrument):
        assert not same(year_of(GeneratedCandles(seed=8), instrument), year_of(generated, instrument))

    def test_volumes_are_positive_and_of_the_market_type(self, generated, instrument):
        volumes = year_of(generated, instrument).volumes
        decimals = 0 if instrument.market is Market.FX else 8

        assert (volumes > 0).all()
        assert (np.round(volumes, decimals) == volumes).all()


def test_instruments_differ_from_one_another(generated):
    btc, eth = year_of(generated, BTC_USD), year_of(generated, ETH_USD)
    eur, gbp = year_of(generated, EUR_USD), year_of(generated, GBP_USD)

    assert btc.prices.mean() > 5 * eth.prices.mean()
    assert gbp.prices.mean() != eur.prices.mean()


def test_a_weekend_has_no_candles(generated):
    saturday = int(datetime(2021, 6, 12, tzinfo=UTC).timestamp())

    assert len(generated.candles(EUR_M5, saturday, saturday + 86_400)) == 0


def test_christmas_has_no_candles(generated):
    eve = datetime(2020, 12, 24, 22, tzinfo=UTC)
    candles = generated.candles(EUR_M5, int(eve.timestamp()), int((eve + timedelta(days=1)).timestamp()))

    assert len(candles) == 0


def test_the_mid_price_lies_between_bid_and_ask(generated):
    candles = year_of(generated, EUR_USD)
    middle = (candles.bid + candles.ask) / 2

    assert (candles.ask > candles.bid).all()
    assert np.abs(middle - candles.prices).max() < 1e-9


def test_the_spread_varies_and_is_wider_after_the_rollover(generated):
    candles = year_of(generated, EUR_USD)
    spread = candles.ask[:, OPEN] - candles.bid[:, OPEN]
    hours = np.array([datetime.fromtimestamp(time, NEW_YORK) for time in candles.times.tolist()])
    at_rollover = np.array([time.hour == 17 and time.minute < 30 for time in hours])

    assert spread[at_rollover].mean() > 3 * spread[~at_rollover].mean()
    assert len(np.unique(spread[~at_rollover].round(5))) > 5


def test_a_year_starts_at_the_last_price_of_the_year_before(generated):
    m5 = Dataset(instrument=BTC_USD, timeframe=Timeframe.M5)
    new_year = YEAR.start_seconds
    last, first = (generated.candles(m5, new_year - 3600, new_year), generated.candles(m5, new_year, new_year + 3600))

    assert abs(np.log(first.prices[0, OPEN] / last.prices[-1, CLOSE])) < 0.02


def test_a_range_over_new_year_is_continuous(generated):
    m5 = Dataset(instrument=BTC_USD, timeframe=Timeframe.M5)
    candles = generated.candles(m5, YEAR.start_seconds - 86_400, YEAR.start_seconds + 86_400)

    assert (np.diff(candles.times) > 0).all()
    assert candles.times[0] < YEAR.start_seconds < candles.times[-1]


def test_no_candles_exist_before_the_first_year(generated):
    end = int(datetime(FIRST_YEAR, 1, 1, tzinfo=UTC).timestamp())

    assert len(generated.candles(EUR_M5, 0, end)) == 0
