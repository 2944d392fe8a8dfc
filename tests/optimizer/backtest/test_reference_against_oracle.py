"""The engine and the oracle agree in every trade and every day, on made and on real candles."""

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.backtest.costs import Rates
from optimizer.backtest.entries import find_entries
from optimizer.backtest.prepare import Prepared, prepare
from optimizer.backtest.reference import replay
from optimizer.backtest.run import Rules
from optimizer.level import Direction
from tests.optimizer import oracle
from tests.optimizer.made_candles import BTC, EUR, random_prepared, real_btc, real_eur
from tests.optimizer.trading import COSTS, SMA, fills, random_parameters
from tradeschool.market import Window


def assert_equals_the_oracle(
    prepared: Prepared, parameters: dict[str, float], direction: Direction, rates: Rates, limit: float = 1.0
) -> int:
    rules = Rules(direction=direction, rates=rates, position_fraction=0.9, drawdown_limit=limit)
    run = replay(prepared, find_entries(SMA, prepared, parameters, direction), rules)
    terms = oracle.Terms(
        fee=rates.fee,
        slippage=rates.slippage,
        fraction=0.9,
        limit=limit,
        long=direction is not Direction.SHORT,
        short=direction is not Direction.LONG,
    )
    expected = oracle.sma_cross(prepared, parameters, terms)
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


@pytest.mark.parametrize("direction", Direction)
@pytest.mark.parametrize("rates", COSTS, ids=["free", "costs"])
@pytest.mark.parametrize("dataset", [BTC, EUR], ids=str)
def test_random_walks_give_the_oracle_s_trades(direction, rates, dataset):
    random = np.random.default_rng(11)
    traded = 0
    for seed in range(8):
        prepared = random_prepared(seed, 700, warm_up=45, dataset=dataset)
        limit = 1.0 if seed % 2 else 0.1
        traded += assert_equals_the_oracle(prepared, random_parameters(random), direction, rates, limit)

    assert traded > 50


@given(
    seed=st.integers(0, 2**32 - 1),
    swing=st.integers(1, 2_000),
    direction=st.sampled_from(Direction),
    rates=st.sampled_from(COSTS),
    dataset=st.sampled_from([BTC, EUR]),
)
@settings(deadline=None, max_examples=60)
def test_any_market_gives_the_oracle_s_trades(seed, swing, direction, rates, dataset):
    prepared = random_prepared(seed, 250, warm_up=45, dataset=dataset, swing=swing)
    parameters = random_parameters(np.random.default_rng(seed))

    assert_equals_the_oracle(prepared, parameters, direction, rates)


def real_market(name: str) -> Prepared:
    if name == "btc":
        window = Window(datetime(2020, 2, 25, tzinfo=UTC), datetime(2020, 3, 20, tzinfo=UTC))
        return prepare(real_btc(window), window, 45)
    window = Window(datetime(2022, 1, 1, tzinfo=UTC), datetime(2023, 1, 1, tzinfo=UTC))
    return prepare(real_eur(window), window, 45)


@pytest.mark.parametrize("direction", Direction)
@pytest.mark.parametrize("name", ["btc", "eur"])
def test_real_candles_give_the_oracle_s_trades(name, direction):
    """Over the fall of March 2020 and over a year of FX weekends, with costs and without."""
    prepared, random = real_market(name), np.random.default_rng(5)
    traded = 0
    for rates in COSTS * 5:
        traded += assert_equals_the_oracle(prepared, random_parameters(random), direction, rates)

    assert traded > 300
