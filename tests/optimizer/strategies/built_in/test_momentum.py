"""Time-series momentum: decisions by hand and against a slow version, and positions of the target volatility."""

import numpy as np
import pytest

from optimizer.backtest.engine import run_strategy
from optimizer.backtest.result import TradingRules
from optimizer.level.costs import Costs
from optimizer.level.spec import Direction
from optimizer.strategies.built_in.momentum import STRATEGY
from optimizer.strategies.protocol import completed
from optimizer.strategies.trade_management import TradeManagement
from tests.factories.candles import START, arrays_of, prepared_of, random_ticks, whole_window
from tradeschool.markets.catalogue import find_dataset

H1, M15, D1 = (find_dataset(f"coinbase/BTC-USD/{timeframe}") for timeframe in ("H1", "M15", "D1"))
FREE = Costs(crypto_fee_bps=0, crypto_slippage_bps=0)


def signals_of(prepared, lookback: int, hold: int) -> list[int]:
    parameters = completed(STRATEGY, {"lookback": lookback, "hold": hold})
    return STRATEGY.signals(prepared, parameters, Direction.BOTH).tolist()


def flat(closes: list[int]) -> list[tuple[int, int, int, int]]:
    return [(close,) * 4 for close in closes]


def test_a_decision_is_the_sign_of_the_past_return_by_hand() -> None:
    """START is midnight; candle n closes at n + 1 o'clock, and every third hour is a decision."""
    prepared = prepared_of(flat([50, 51, 52, 53, 54, 49, 53, 53, 50, 50, 50, 50]), dataset=H1)

    # At 3 o'clock 52 > 50, at 6 o'clock 49 < 53, at 9 o'clock 50 < 53, at 12 o'clock 50 = 50: no position.
    assert signals_of(prepared, lookback=2, hold=3) == [0, 0, 1, 0, 0, -1, 0, 0, -1, 0, 0, 2]


def test_a_candle_of_a_day_is_its_own_period() -> None:
    prepared = prepared_of(flat([5, 6, 7, 6, 4, 6]), dataset=D1)

    assert signals_of(prepared, lookback=2, hold=1) == [0, 0, 1, 2, -1, 2]


def plain_signals(prepared, lookback: int, hold: int) -> list[int]:
    """At each close: which hours are closed, and whether the newest of them is the first after a period's end."""
    closes: dict[int, int] = {}
    ends: dict[int, int] = {}
    found, decided = [], -1
    step = prepared.dataset.timeframe.seconds
    for bar in range(len(prepared)):
        opened = int(prepared.time[bar])
        hour, closed_at = opened // 3600, opened + step
        closes[hour], ends[hour] = int(prepared.close[bar]), closed_at
        known = [each for each in closes if each < hour or closed_at % 3600 == 0]
        signal = 0
        for place in range(max(decided + 1, 1), len(known)):
            newest, before = known[place], known[place - 1]
            period = [-(-ends[each] // 3600) // hold for each in (before, newest)]
            if place >= lookback and period[0] != period[1]:
                change = closes[newest] - closes[known[place - lookback]]
                signal = 1 if change > 0 else -1 if change < 0 else 2
        decided = max(decided, len(known) - 1)
        found.append(signal)
    return found


@pytest.mark.parametrize(("lookback", "hold"), [(2, 1), (3, 4), (24, 5), (7, 24)])
@pytest.mark.parametrize("kept", [1.0, 0.6])
def test_decisions_equal_those_of_a_slow_version(lookback: int, hold: int, kept: float) -> None:
    """With kept 0.6, two of five candles are missing, so that whole hours and the last candles of hours are."""
    rows = random_ticks(11, 700, swing=20)
    chosen = np.flatnonzero(np.random.default_rng(5).random(len(rows)) < kept)
    times = [int(START.timestamp()) + 900 * int(slot) for slot in chosen]
    prepared = prepared_of([rows[slot] for slot in chosen], dataset=M15, times=times)

    signals = signals_of(prepared, lookback, hold)

    assert signals == plain_signals(prepared, lookback, hold)
    assert {1, -1} <= set(signals)


def test_a_repeated_sign_keeps_the_position_and_no_stop_ends_it() -> None:
    rows = flat([*range(1000, 1100), *range(1100, 1000, -1)])
    candles = arrays_of(rows, dataset=H1)
    prepared = prepared_of(rows, dataset=H1, warm_up=24)
    parameters = completed(STRATEGY, {"lookback": 10, "hold": 5})
    managed = TradeManagement.of(parameters)
    rules = TradingRules.of(Direction.BOTH, FREE, 1.0, candles.dataset, managed)

    trades = run_strategy(STRATEGY, prepared, parameters, rules).trades

    assert trades["side"].tolist() == [1, -1]
    assert trades["exit_bar"].tolist()[-1] == len(rows) - 1
    assert whole_window(candles).end.day == 10, "200 hours end on the ninth day"


def test_the_notional_is_the_target_volatility_over_that_of_the_candles() -> None:
    """Candles of a constant true range of 60 ticks at prices near 10,000: all numbers by hand.

    s = 60 / (10,000 sqrt(8 / pi)) an hour, times sqrt(8,760) = 0.3519 a year; 0.2 / 0.3519 = 0.5683 of the equity.
    """
    rows = [(10_000, 10_030, 9_970, 10_000 + (bar >= 100)) for bar in range(200)]
    prepared = prepared_of(rows, dataset=H1, warm_up=30)
    parameters = completed(STRATEGY, {"lookback": 5, "hold": 1, "position_volatility": 0.2})
    rules = TradingRules.of(Direction.BOTH, FREE, 1.0, H1, TradeManagement.of(parameters))

    trade = run_strategy(STRATEGY, prepared, parameters, rules).trades[0]

    notional = trade["units"] * trade["entry_price"] * H1.instrument.tick / rules.initial_equity
    assert notional == pytest.approx(0.5683, abs=1e-4)


def test_the_notional_is_capped_at_the_fraction_of_the_level() -> None:
    rows = [(10_000, 10_030, 9_970, 10_000 + (bar >= 100)) for bar in range(200)]
    prepared = prepared_of(rows, dataset=H1, warm_up=30)
    parameters = completed(STRATEGY, {"lookback": 5, "hold": 1, "position_volatility": 1.5})
    rules = TradingRules.of(Direction.BOTH, FREE, 0.9, H1, TradeManagement.of(parameters))

    trade = run_strategy(STRATEGY, prepared, parameters, rules).trades[0]

    assert trade["units"] * trade["entry_price"] * H1.instrument.tick == pytest.approx(9_000)


def test_the_default_is_that_of_the_paper_and_is_not_searched() -> None:
    (target,) = [each for each in STRATEGY.parameters if each.name == "position_volatility"]

    assert (target.default, target.fixed) == (0.40, True)
    assert [each.name for each in STRATEGY.parameters if not each.fixed] == ["lookback", "hold", "atr_period"]
