"""Properties of every backtest on any market."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.backtest.entries import find_entries
from optimizer.backtest.kernel import trade
from optimizer.backtest.result import BacktestRun, TradingRules
from optimizer.bars.preparation import Prepared
from optimizer.bars.slicing import head
from optimizer.level.spec import Direction
from tests.factories.backtests import COSTS, SMA, fills, managed_parameters, random_parameters, random_rules
from tests.factories.candles import BTC, EUR, prepared_of, random_prepared

market = st.builds(
    random_prepared, st.integers(0, 2**32 - 1), st.just(300), warm_up=st.just(45), dataset=st.sampled_from([BTC, EUR])
)


def replayed(prepared: Prepared, parameters: dict[str, float], direction: Direction = Direction.BOTH) -> BacktestRun:
    rules = dataclasses.replace(random_rules(np.random.default_rng(1), parameters), direction=direction, rates=COSTS[1])
    return trade(prepared, find_entries(SMA, prepared, parameters, direction), rules)


@given(market, st.integers(0, 1000))
@settings(deadline=None, max_examples=40)
def test_money_is_conserved(prepared, seed):
    run = replayed(prepared, managed_parameters(np.random.default_rng(seed)))

    assert run.trades["net"].sum() == pytest.approx(run.equity[-1] - 10_000, abs=1e-6)


@given(market, st.integers(0, 1000))
@settings(deadline=None, max_examples=40)
def test_net_profit_follows_from_prices_units_and_fees(prepared, seed):
    run = replayed(prepared, managed_parameters(np.random.default_rng(seed)))
    trades, tick = run.trades, prepared.dataset.instrument.tick
    moved = (trades["exit_price"] - trades["entry_price"]) * trades["side"] * tick

    np.testing.assert_allclose(moved * trades["units"] - trades["fees"], trades["net"], atol=1e-7)


@given(market, st.integers(0, 1000), st.integers(60, 299))
@settings(deadline=None, max_examples=60)
def test_removing_future_bars_changes_no_past_signal_or_trade(prepared, seed, cut):
    parameters = managed_parameters(np.random.default_rng(seed))
    shorter = head(prepared, cut)

    whole, part = (SMA.signals(one, parameters, Direction.BOTH) for one in (prepared, shorter))
    assert (whole[:cut] == part).all()
    before = [fill for fill in fills(replayed(prepared, parameters)) if fill[2] < cut - 1]
    assert fills(replayed(shorter, parameters))[: len(before)] == before


@given(st.integers(0, 2**32 - 1), st.integers(0, 1000), st.sampled_from([2, 8, 64]))
@settings(deadline=None, max_examples=40)
def test_scaling_prices_by_a_power_of_two_gives_the_same_trades(seed, drawn, factor):
    """Only whole-tick ATR multiples are used, because rounding does not scale."""
    prepared = random_prepared(seed, 300, warm_up=45)
    scaled = dataclasses.replace(
        prepared,
        prices=prepared.prices * np.int32(factor),
        close_sums=prepared.close_sums * factor,
        blocks=prepared.blocks * np.int32(factor),
    )
    parameters = random_parameters(np.random.default_rng(drawn))
    entries = find_entries(SMA, prepared, parameters, Direction.BOTH)
    larger = dataclasses.replace(
        find_entries(SMA, scaled, parameters, Direction.BOTH),
        stop_ticks=entries.stop_ticks * factor,
        target_ticks=entries.target_ticks * factor,
    )
    rules = TradingRules(direction=Direction.BOTH, rates=COSTS[1])
    run, scaled_run = trade(prepared, entries, rules), trade(scaled, larger, rules)

    assert (larger.bar == entries.bar).all()
    assert (larger.signal == entries.signal).all()
    for name in ("entry_bar", "exit_bar", "side", "reason", "fees", "net"):
        assert (run.trades[name] == scaled_run.trades[name]).all(), name
    assert (run.equity == scaled_run.equity).all()


@given(market, st.integers(0, 1000), st.sampled_from(["fee", "slippage", "financing"]))
@settings(deadline=None, max_examples=60)
def test_higher_costs_never_raise_the_result_of_equal_trades(prepared, seed, dearer):
    """Position size is constant, so that both runs make the same trades."""
    parameters = random_parameters(np.random.default_rng(seed))
    entries = find_entries(SMA, prepared, parameters, Direction.BOTH)
    rules = TradingRules(direction=Direction.BOTH, rates=COSTS[1], position_units=0.01)
    costlier = dataclasses.replace(rules, rates=dataclasses.replace(COSTS[1], **{dearer: 1e-3}))
    run, other = trade(prepared, entries, rules), trade(prepared, entries, costlier)

    assert fills(run) == fills(other)
    assert (other.trades["net"] <= run.trades["net"]).all()
    assert other.equity[-1] <= run.equity[-1]


@given(market, st.integers(0, 1000), st.integers(1, 250))
@settings(deadline=None, max_examples=40)
def test_future_prices_change_no_past_trade(prepared, seed, bar):
    """Every price from a bar on is changed; trades before it are equal."""
    parameters = managed_parameters(np.random.default_rng(seed))
    rows = np.column_stack([getattr(prepared, name) for name in ("open", "high", "low", "close")])
    other = np.concatenate((rows[: bar + 46], rows[bar + 46 :] + 7_000))
    times, spreads = prepared.time.tolist(), prepared.half_spread.tolist()
    dataset = prepared.dataset
    changed = prepared_of(
        other.tolist(),
        warm_up=45,
        dataset=dataset,
        times=times,
        half_spread_ticks=spreads if dataset is EUR else None,
    )

    before = [fill for fill in fills(replayed(prepared, parameters)) if fill[2] < bar + 45]
    assert fills(replayed(changed, parameters))[: len(before)] == before
