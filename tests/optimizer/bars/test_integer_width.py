"""Integer width and decimals of prices: chosen by instrument and by the candles, exact, with one clear refusal."""

import dataclasses

import numpy as np
import pytest

from optimizer.backtest import kernel, reference
from optimizer.backtest.entries import find_entries
from optimizer.backtest.result import TRADE, WIDE_TRADE, TradingRules, trade_type
from optimizer.bars.preparation import prepare
from optimizer.level.spec import Direction
from tests.factories.backtests import COSTS, SMA, assert_same, random_parameters
from tests.factories.candles import BTC, EUR, arrays_of, prepared_of, random_ticks, whole_window
from tradeschool.errors import InvalidCandles
from tradeschool.markets.instruments import Dataset, Instrument, Market
from tradeschool.markets.timeframes import Timeframe


def dataset(decimals: int, *, listed: bool = True) -> Dataset:
    instrument = Instrument(
        provider="coinbase",
        base="ANY",
        quote="USD",
        market=Market.CRYPTO,
        decimals=decimals,
        has_finer_history=listed,
    )
    return Dataset(instrument=instrument, timeframe=Timeframe.H1)


@pytest.mark.parametrize(
    ("decimals", "price", "bits"),
    [
        (2, 4_000_000, 32),  # an index of 40,000 at 0.01
        (5, 2**31 - 1, 32),
        (8, 1_234, 64),  # 0.00001234
        (8, 40 * 10**8, 64),  # 40 at 1e-8
        (2, 2**31, 64),  # a pair in a small currency
        (0, 3 * 10**9, 64),
    ],
)
def test_the_width_follows_tick_and_price(decimals: int, price: int, bits: int) -> None:
    prepared = prepared_of([(price, price, price, price)] * 20, dataset=dataset(decimals))

    assert prepared.prices.dtype == f"int{bits}"
    assert prepared.blocks.dtype == prepared.prices.dtype
    assert prepared.close.tolist() == [price] * 20
    assert prepared.blocks.tolist() == [[price] * 4]


@pytest.mark.parametrize(
    ("whose", "price", "said"),
    [
        (BTC, 2**31, "high in ticks must fit 32 bits, was 21474836.48"),
        (dataset(8), 2**39 + 1, "high in ticks must fit the engine's largest price of 549,755,813,888 ticks"),
    ],
)
def test_a_price_that_fits_no_width_is_one_line(whose: Dataset, price: int, said: str) -> None:
    with pytest.raises(InvalidCandles) as error:
        prepared_of([(100, price, 100, 100)], dataset=whose)

    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_sums_that_are_not_exact_are_refused() -> None:
    with pytest.raises(InvalidCandles, match=r"expected less than 2\^53"):
        prepared_of([(2**38, 2**38, 2**38, 2**38)] * 40_000, dataset=dataset(8))


@pytest.mark.parametrize("seed", range(8))
def test_both_widths_give_the_same_money_in_every_bit(seed: int) -> None:
    random = np.random.default_rng(seed)
    ticks = random_ticks(seed, 1_500)
    narrow = prepared_of(ticks, dataset=BTC, warm_up=50)
    wide = dataclasses.replace(narrow, prices=narrow.prices.astype(np.int64), blocks=narrow.blocks.astype(np.int64))
    parameters = random_parameters(random)
    rules = TradingRules(direction=Direction.BOTH, rates=COSTS[seed % 2])
    runs = [
        engine(prepared, find_entries(SMA, prepared, parameters, rules.direction), rules)
        for prepared in (narrow, wide)
        for engine in (kernel.trade, reference.replay)
    ]

    assert len(runs[0].trades) > 5
    assert [run.trades.dtype for run in runs] == [TRADE, TRADE, WIDE_TRADE, WIDE_TRADE]
    for run in runs[1:]:
        assert_same(runs[0], run)


def test_large_prices_are_traded_exactly() -> None:
    large = [tuple(price + 50 * 10**8 for price in row) for row in random_ticks(3, 800)]
    prepared = prepared_of(large, dataset=dataset(8), warm_up=50)  # type: ignore[arg-type]
    rules = TradingRules(direction=Direction.BOTH, rates=COSTS[0])
    entries = find_entries(SMA, prepared, random_parameters(np.random.default_rng(3)), rules.direction)

    fast, slow = kernel.trade(prepared, entries, rules), reference.replay(prepared, entries, rules)

    assert len(fast.trades) > 5
    assert_same(fast, slow)
    assert np.isin(fast.trades["entry_price"], prepared.open).all()
    assert (fast.trades["entry_price"] > 2**31).all()


def test_the_trades_of_the_default_datasets_keep_their_layout() -> None:
    assert trade_type(prepared_of([(1, 1, 1, 1)], dataset=EUR, half_spread_ticks=1).prices.dtype) is TRADE
    assert TRADE["entry_price"] == np.int32


def test_older_candles_with_a_finer_tick_choose_more_decimals() -> None:
    candles = arrays_of([(20_123, 20_200, 20_001, 20_101)] * 4, dataset=dataset(3))
    today = dataclasses.replace(candles, dataset=dataset(2))

    prepared = prepare(today, whole_window(today), 0)

    assert prepared.dataset.instrument.decimals == 3
    assert prepared.dataset == today.dataset
    assert prepared.open.tolist() == [20_123] * 4


def test_a_coarser_price_keeps_the_decimals_of_the_tick() -> None:
    candles = arrays_of([(20_100, 20_200, 20_000, 20_100)] * 4, dataset=dataset(3))

    assert prepare(candles, whole_window(candles), 0).dataset.instrument.decimals == 3


@pytest.mark.parametrize("listed", [True, False])
def test_a_price_off_every_tick_is_refused(listed: bool) -> None:
    candles = arrays_of([(20_123, 20_200, 20_001, 20_101)] * 4, dataset=dataset(2, listed=listed))
    broken = dataclasses.replace(candles, close=candles.close + 1 / 3 * 10**-2)

    with pytest.raises(InvalidCandles, match=r"close must be whole ticks of 0\.01"):
        prepare(broken, whole_window(broken), 0)


def test_a_shipped_pair_accepts_no_finer_price() -> None:
    candles = arrays_of([(20_123, 20_200, 20_001, 20_101)] * 4, dataset=dataset(3))
    shipped = dataclasses.replace(candles, dataset=BTC)

    with pytest.raises(InvalidCandles, match=r"must be whole ticks of 0\.01"):
        prepare(shipped, whole_window(shipped), 0)
