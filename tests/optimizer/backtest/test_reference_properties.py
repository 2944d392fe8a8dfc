"""What holds of every backtest, whatever the market."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.backtest.entries import find_entries
from optimizer.backtest.prepare import Prepared
from optimizer.backtest.reference import replay
from optimizer.backtest.run import Rules, Run
from optimizer.level import Direction
from tests.optimizer.made_candles import BTC, EUR, random_prepared
from tests.optimizer.trading import COSTS, SMA, fills, random_parameters

market = st.builds(
    random_prepared, st.integers(0, 2**32 - 1), st.just(300), warm_up=st.just(45), dataset=st.sampled_from([BTC, EUR])
)


def replayed(prepared: Prepared, parameters: dict[str, float], direction: Direction = Direction.BOTH) -> Run:
    rules = Rules(direction=direction, rates=COSTS[1])
    return replay(prepared, find_entries(SMA, prepared, parameters, direction), rules)


@given(market, st.integers(0, 1000))
@settings(deadline=None, max_examples=40)
def test_money_is_conserved(prepared, seed):
    run = replayed(prepared, random_parameters(np.random.default_rng(seed)))

    assert run.trades["net"].sum() == pytest.approx(run.final_equity - 10_000, abs=1e-6)


@given(market, st.integers(0, 1000))
@settings(deadline=None, max_examples=40)
def test_net_is_what_prices_units_and_fees_say(prepared, seed):
    run = replayed(prepared, random_parameters(np.random.default_rng(seed)))
    trades, tick = run.trades, prepared.dataset.instrument.tick
    moved = (trades["exit_price"] - trades["entry_price"]) * trades["side"] * tick

    np.testing.assert_allclose(moved * trades["units"] - trades["fees"], trades["net"], atol=1e-7)


@given(market, st.integers(0, 1000), st.integers(60, 299))
@settings(deadline=None, max_examples=60)
def test_cutting_the_future_off_changes_no_past_signal_and_no_past_trade(prepared, seed, cut):
    parameters = random_parameters(np.random.default_rng(seed))
    shorter = _cut(prepared, cut)

    whole, part = (SMA.signals(one, parameters, Direction.BOTH) for one in (prepared, shorter))
    assert (whole[:cut] == part).all()
    before = [fill for fill in fills(replayed(prepared, parameters)) if fill[2] < cut - 1]
    assert fills(replayed(shorter, parameters))[: len(before)] == before


def _cut(prepared: Prepared, bars: int) -> Prepared:
    kept = prepared.day_starts[prepared.day_starts < bars]
    columns = ("time", "open", "high", "low", "close", "half_spread")
    return dataclasses.replace(
        prepared,
        **{name: getattr(prepared, name)[:bars] for name in columns},
        close_sums=prepared.close_sums[: bars + 1],
        day_starts=np.append(kept, np.int32(bars)),
    )


@given(st.integers(0, 2**32 - 1), st.integers(0, 1000), st.sampled_from([2, 8, 64]))
@settings(deadline=None, max_examples=40)
def test_prices_times_a_power_of_two_give_the_same_trades_and_the_same_money(seed, drawn, factor):
    """Distances stay whole multiples where no rounding is involved, so the multiples are whole ATRs' ticks."""
    prepared = random_prepared(seed, 300, warm_up=45)
    scaled = dataclasses.replace(
        prepared,
        **{name: getattr(prepared, name) * np.int32(factor) for name in ("open", "high", "low", "close")},
        close_sums=prepared.close_sums * factor,
    )
    parameters = random_parameters(np.random.default_rng(drawn))
    entries = find_entries(SMA, prepared, parameters, Direction.BOTH)
    larger = dataclasses.replace(
        find_entries(SMA, scaled, parameters, Direction.BOTH),
        stop_ticks=entries.stop_ticks * factor,
        target_ticks=entries.target_ticks * factor,
    )
    rules = Rules(direction=Direction.BOTH, rates=COSTS[1])
    run, scaled_run = replay(prepared, entries, rules), replay(scaled, larger, rules)

    assert (larger.bar == entries.bar).all()
    assert (larger.signal == entries.signal).all()
    for name in ("entry_bar", "exit_bar", "side", "reason", "fees", "net"):
        assert (run.trades[name] == scaled_run.trades[name]).all(), name
    assert (run.equity == scaled_run.equity).all()
