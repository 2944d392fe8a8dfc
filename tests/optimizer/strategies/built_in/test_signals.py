"""Signals of each built-in strategy against a slow, simple version."""

import itertools

import numpy as np
import pytest

from optimizer.backtest.engine import warm_up_bars
from optimizer.backtest.lookahead_check import look_ahead, short_warm_up
from optimizer.backtest.lookahead_check import signals_of as signals_of_strategy
from optimizer.bars.hourly import closed_hours, hour_trend
from optimizer.bars.preparation import Prepared
from optimizer.level.spec import Direction
from optimizer.strategies.built_in.donchian_breakout import STRATEGY as DONCHIAN
from optimizer.strategies.built_in.hour_pullback import STRATEGY as PULLBACK
from optimizer.strategies.built_in.rsi_reversion import STRATEGY as RSI
from optimizer.strategies.built_in.rsi_reversion import relative_strength
from optimizer.strategies.built_in.sma_cross import STRATEGY as SMA
from optimizer.strategies.protocol import IntParameter, completed, load, repaired
from optimizer.strategies.registry import built_in_names
from tests.factories.candles import prepared_of, random_prepared, random_ticks
from tests.optimizer.backtest import oracle
from tradeschool.markets.catalogue import find_dataset

M15 = find_dataset("coinbase/BTC-USD/M15")


def market(seed: int) -> Prepared:
    return random_prepared(seed, 600, warm_up=0, dataset=M15)


def signals_of(strategy, prepared: Prepared, **chosen: float) -> list[int]:
    return strategy.signals(prepared, completed(strategy, chosen), Direction.BOTH).tolist()


@pytest.mark.parametrize(("fast", "slow"), [(2, 7), (5, 20), (3, 11)])
def test_crossings_equal_those_of_plain_sums(fast, slow):
    prepared = market(1)
    expected = oracle.crossings([int(close) for close in prepared.close], fast, slow)

    signals = signals_of(SMA, prepared, fast=fast, slow=slow)

    assert {bar: signal for bar, signal in enumerate(signals) if signal} == expected


@pytest.mark.parametrize("channel", [2, 5, 40])
def test_breakouts_are_closes_outside_the_previous_bars(channel):
    prepared = market(2)
    expected = []
    for bar in range(len(prepared)):
        before = slice(bar - channel, bar)
        is_early = bar < channel
        above = not is_early and prepared.close[bar] > prepared.high[before].max()
        below = not is_early and prepared.close[bar] < prepared.low[before].min()
        expected.append(int(above) - int(below))

    assert signals_of(DONCHIAN, prepared, channel=channel) == expected
    assert 1 in expected
    assert -1 in expected


def plain_index(closes: list[int], period: int) -> list[float]:
    changes = [later - earlier for earlier, later in itertools.pairwise(closes)]
    gain = sum(max(change, 0) for change in changes[:period]) / period
    loss = sum(max(-change, 0) for change in changes[:period]) / period
    found = [float("nan")] * period + [100 - 100 / (1 + gain / loss)]
    for change in changes[period:]:
        gain = (gain * (period - 1) + max(change, 0)) / period
        loss = (loss * (period - 1) + max(-change, 0)) / period
        found.append(100 - 100 / (1 + gain / loss))
    return found


@pytest.mark.parametrize("period", [2, 14, 30])
def test_the_rsi_follows_wilder(period):
    prepared = market(3)

    np.testing.assert_allclose(
        relative_strength(prepared.close, period), plain_index(prepared.close.tolist(), period), rtol=1e-9, atol=1e-7
    )


def test_leaving_oversold_is_long_and_leaving_overbought_is_short():
    prepared = market(3)
    index = relative_strength(prepared.close, 5)
    expected = [0] * len(prepared)
    for bar in range(6, len(prepared)):
        if index[bar - 1] < 30 <= index[bar]:
            expected[bar] = 1
        if index[bar - 1] > 70 >= index[bar]:
            expected[bar] = -1

    assert signals_of(RSI, prepared, period=5) == expected
    assert {1, -1} <= set(expected)


def test_constant_closes_have_an_rsi_of_50():
    prepared = prepared_of([(5, 5, 5, 5)] * 10)

    assert relative_strength(prepared.close, 3).tolist()[3:] == [50.0] * 7


def test_an_hourly_bar_is_used_after_its_close():
    """Four bars per hour; the second hour lacks its last bar, so it is known one bar later."""
    slots = [0, 1, 2, 3, 4, 5, 6, 8, 9]
    times = [1_614_556_800 + 900 * slot for slot in slots]
    closes = [10, 11, 12, 13, 14, 15, 16, 9, 8]
    prepared = prepared_of([(close,) * 4 for close in closes], dataset=M15, times=times)

    assert closed_hours(prepared).tolist() == [0, 0, 0, 1, 1, 1, 1, 2, 2]
    assert hour_trend(prepared, 1).tolist() == [0, 0, 0, 0, 0, 0, 0, 1, 1]


@pytest.mark.parametrize("period", [1, 3, 8])
def test_the_hourly_trend_is_the_slope_of_a_simple_average(period):
    prepared = market(4)

    assert hour_trend(prepared, period).tolist() == [
        oracle.trend(prepared, bar, period) for bar in range(len(prepared))
    ]


def known_hour_closes(prepared: Prepared, bar: int) -> list[int]:
    """H1 closes that are known at the close of a bar."""
    known: dict[int, int] = {}
    for place in range(bar + 1):
        known[int(prepared.time[place]) // 3600] = int(prepared.close[place])
    if (int(prepared.time[bar]) + 900) % 3600:
        known.pop(int(prepared.time[bar]) // 3600)
    return list(known.values())


def plain_pullback(prepared: Prepared, fast: int, slow: int, pullback: int) -> list[int]:
    closes, trends, sides = prepared.close.tolist(), [], []
    for bar in range(len(prepared)):
        hours = known_hour_closes(prepared, bar)
        above = sum(hours[-fast:]) * slow - sum(hours[-slow:]) * fast if len(hours) >= slow else 0
        trends.append((above > 0) - (above < 0))
        over = closes[bar] * pullback - sum(closes[bar + 1 - pullback : bar + 1]) if bar + 1 >= pullback else 0
        sides.append((over > 0) - (over < 0))
    found = [0]
    for bar in range(1, len(prepared)):
        if sides[bar] != sides[bar - 1] and sides[bar] == trends[bar]:
            found.append(sides[bar])
        else:
            found.append(2 if trends[bar] != trends[bar - 1] else 0)
    return found


def test_pullback_entries_follow_the_trend_of_closed_hours():
    prepared = market(5)
    expected = plain_pullback(prepared, 3, 7, 6)

    assert signals_of(PULLBACK, prepared, hour_fast=3, hour_slow=7, pullback=6) == expected
    assert {1, -1, 2} <= set(expected)


@pytest.mark.parametrize("name", built_in_names())
@pytest.mark.parametrize("ranges", [(24, 1), (6, 5)], ids=["long", "short"])
def test_no_built_in_strategy_looks_ahead_or_needs_more_than_its_warm_up(name, ranges):
    """Every whole-number parameter of an indicator at one of two values, on candles of which a quarter are missing."""
    rows, random = random_ticks(6, 3000), np.random.default_rng(7)
    slots = np.flatnonzero(random.random(len(rows)) < 0.75)
    times = [1_614_556_800 + 900 * int(slot) for slot in slots]
    strategy = load(name)
    own = [each for each in strategy.parameters if isinstance(each, IntParameter) and not each.fixed]
    chosen = {each.name: min(max(ranges[place % 2], each.low), each.high) for place, each in enumerate(own)}
    parameters = repaired(strategy, {each.name: each.default for each in strategy.parameters} | chosen)
    warm_up = warm_up_bars(strategy, {key: (value, value) for key, value in parameters.items()}, M15.timeframe)
    prepared = prepared_of([rows[slot] for slot in slots], dataset=M15, times=times, warm_up=warm_up)
    signals = signals_of_strategy(strategy, parameters, Direction.BOTH)

    assert look_ahead(signals, prepared, seed=1) is None
    assert short_warm_up(signals, prepared, warm_up, seed=1, starts=60) is None
    assert {1, -1} <= set(signals(prepared)[warm_up:].tolist())


@pytest.mark.parametrize("strategy", [load(name) for name in built_in_names()], ids=lambda strategy: strategy.name)
def test_fewer_bars_than_an_indicator_needs_give_no_signal(strategy):
    for count in (1, 2, 5):
        assert set(signals_of(strategy, prepared_of([(5, 6, 4, 5)] * count, dataset=M15))) == {0}
