"""Kernel, reference and oracle agree in every trade and day, on synthetic and real candles."""

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.backtest.entries import Entries, find_entries
from optimizer.backtest.kernel import trade
from optimizer.backtest.reference import replay
from optimizer.backtest.result import TradingRules
from optimizer.bars.preparation import Prepared, prepare
from optimizer.level.spec import Direction
from tests.factories.backtests import SMA, assert_same, fills, managed_parameters, random_parameters, random_rules
from tests.factories.candles import BTC, EUR, SHARED, random_prepared, real_btc, real_eur, shared_candles, whole_window
from tests.optimizer.backtest import oracle
from tradeschool.markets.windows import Window
from tradeschool.ohlcv.arrays import CandleArrays

WARM_UP = 45
SIDES = {Direction.LONG: (1,), Direction.SHORT: (-1,), Direction.BOTH: (1, -1)}


def terms_of(prepared: Prepared, rules: TradingRules) -> oracle.EngineTerms:
    return oracle.EngineTerms(
        fee=rules.rates.fee,
        slippage=rules.rates.slippage,
        financing=rules.rates.financing,
        fraction=rules.position_fraction,
        size=rules.position_units * prepared.dataset.instrument.tick,
        atr_risk=rules.atr_risk,
        max_bars=rules.max_bars,
        cooldown=rules.cooldown_bars,
        sides=SIDES[rules.direction],
    )


def assert_equals_the_oracle(prepared: Prepared, parameters: dict[str, float], rules: TradingRules) -> int:
    """Assert equal trades of all three engines; return their number."""
    entries = find_entries(SMA, prepared, parameters, rules.direction)
    run = trade(prepared, entries, rules)
    assert_same(replay(prepared, entries, rules), run)
    expected = oracle.sma_cross(prepared, parameters, terms_of(prepared, rules))
    assert fills(run) == [
        (trade.entry_bar, trade.entry_price, trade.exit_bar, trade.exit_price, trade.side, trade.reason)
        for trade in expected.trades
    ]
    tick = prepared.dataset.instrument.tick
    _assert_close(run.trades["units"] * tick, [trade.size for trade in expected.trades])
    _assert_close(run.trades["fees"], [trade.costs for trade in expected.trades])
    _assert_close(run.trades["net"], [trade.net for trade in expected.trades])
    _assert_close(run.equity, expected.equity)
    _assert_close(run.lows, expected.lows)
    assert run.max_intrabar_drawdown == pytest.approx(float(expected.drawdown), rel=1e-9, abs=1e-12)
    assert run.stopped == expected.stopped
    return len(run.trades)


def _assert_close(values: np.ndarray, expected: list) -> None:
    np.testing.assert_allclose(values, [float(value) for value in expected], rtol=1e-10, atol=1e-7)


@pytest.mark.parametrize("dataset", [BTC, EUR], ids=str)
@pytest.mark.parametrize("draw", [random_parameters, managed_parameters], ids=["plain", "managed"])
def test_random_walks_give_the_trades_of_the_oracle(dataset, draw):
    random = np.random.default_rng(11)
    traded = 0
    for seed in range(40):
        prepared = random_prepared(seed, 500, warm_up=WARM_UP, dataset=dataset)
        parameters = draw(random)
        traded += assert_equals_the_oracle(prepared, parameters, random_rules(random, parameters))

    assert traded > 300


@given(
    seed=st.integers(0, 2**32 - 1),
    swing=st.integers(1, 2_000),
    dataset=st.sampled_from([BTC, EUR]),
    count=st.integers(46, 300),
)
@settings(deadline=None, max_examples=60)
def test_any_market_gives_the_trades_of_the_oracle(seed, swing, dataset, count):
    prepared = random_prepared(seed, count, warm_up=WARM_UP, dataset=dataset, swing=swing)
    random = np.random.default_rng(seed)
    parameters = managed_parameters(random)

    assert_equals_the_oracle(prepared, parameters, random_rules(random, parameters))


@pytest.mark.parametrize(("file", "dataset"), SHARED, ids=[f"{file}" for file, _ in SHARED])
def test_real_candles_give_the_trades_of_the_oracle(file, dataset):
    """Twelve parameter sets per file, each over 500 random bars: more than 250 sets."""
    candles, random = shared_candles(file, dataset), np.random.default_rng(len(file))
    traded = 0
    for _ in range(12):
        parameters = managed_parameters(random)
        prepared = _part(candles, int(random.integers(0, len(candles) - 500)), 500)
        traded += assert_equals_the_oracle(prepared, parameters, random_rules(random, parameters))

    assert traded > 20


def _part(candles: CandleArrays, start: int, count: int) -> Prepared:
    chosen = candles[np.arange(start, start + count)]
    return prepare(chosen, whole_window(chosen), WARM_UP, (7, 28))


@pytest.mark.parametrize("name", ["fall of March 2020", "a year of weekends"])
def test_notable_times_give_the_trades_of_the_oracle(name):
    if name == "fall of March 2020":
        window = Window(datetime(2020, 3, 10, tzinfo=UTC), datetime(2020, 3, 16, tzinfo=UTC))
        prepared = prepare(real_btc(window), window, WARM_UP)
    else:
        window = Window(datetime(2022, 1, 1, tzinfo=UTC), datetime(2022, 7, 1, tzinfo=UTC))
        prepared = prepare(real_eur(window), window, WARM_UP)
    random = np.random.default_rng(5)
    traded = 0
    for draw in (random_parameters, managed_parameters) * 4:
        parameters = draw(random)
        traded += assert_equals_the_oracle(prepared, parameters, random_rules(random, parameters))

    assert traded > 200


@pytest.mark.parametrize(("file", "dataset"), SHARED, ids=[f"{file}" for file, _ in SHARED])
def test_kernel_and_bar_loop_give_equal_bits_over_whole_files(file, dataset):
    """Twelve sets per file, with all trade management and random entries and exits."""
    candles, random = shared_candles(file, dataset), np.random.default_rng(len(file))
    prepared = prepare(candles, whole_window(candles), 2_000, (7, 28))
    traded = 0
    for number in range(12):
        parameters = managed_parameters(random)
        if number % 4 == 1:
            parameters |= {"vol_low": 0.2, "vol_high": 0.9, "trend": 1, "trend_period": int(random.integers(20, 100))}
        rules = random_rules(random, parameters)
        entries = find_entries(SMA, prepared, parameters, rules.direction)
        if number % 4 == 3:
            entries = any_entries(random, prepared)
        run = trade(prepared, entries, rules)
        assert_same(replay(prepared, entries, rules), run)
        traded += len(run.trades)

    assert traded > 100


def any_entries(random: np.random.Generator, prepared: Prepared) -> Entries:
    """Random signals with random distances; some may not enter."""
    bars = np.flatnonzero(random.random(len(prepared)) < 0.02)
    bars = bars[bars >= prepared.first_evaluated].astype(np.int32)
    count, price = len(bars), int(prepared.close[-1])
    signal = random.choice([1, -1, 2], count).astype(np.int8)
    return Entries(
        bar=bars,
        signal=signal,
        enters=(signal != 2) & (random.random(count) < 0.8),
        stop_ticks=random.integers(0, price // 50, count),
        target_ticks=random.integers(0, price // 50, count),
        trail_ticks=random.integers(0, 2, count) * random.integers(1, price // 50, count),
        atr_ticks=random.uniform(1, price / 500, count),
    )


def test_volatility_and_trend_filters_equal_those_of_the_oracle():
    """The filters need a long history: one range of 2,000 bars, with both filters in every fifth set."""
    window = Window(datetime(2021, 5, 15, tzinfo=UTC), datetime(2021, 5, 22, tzinfo=UTC))
    prepared, random = prepare(real_btc(window), window, 1_200, (7, 28)), np.random.default_rng(8)
    traded = 0
    for number in range(10):
        low, high = float(random.uniform(0, 0.5)), float(random.uniform(0.5, 1.0))
        parameters = random_parameters(random) | {"vol_low": low, "vol_high": high}
        if number % 5 == 0:
            parameters |= {"trend": 1, "trend_period": int(random.integers(10, 60))}
        traded += assert_equals_the_oracle(prepared, parameters, random_rules(random, parameters))

    assert traded > 60
