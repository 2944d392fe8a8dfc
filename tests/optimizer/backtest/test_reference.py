"""Each fill rule against values computed by hand."""

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from optimizer.backtest.costs import CostRates
from optimizer.backtest.entries import EXIT, LONG, SHORT, find_entries
from optimizer.backtest.kernel import trade
from optimizer.backtest.reference import replay
from optimizer.backtest.result import BacktestRun, TradingRules
from optimizer.bars.preparation import Prepared
from optimizer.level.spec import Direction
from tests.factories.backtests import FREE, assert_same, entries_of, fills
from tests.factories.candles import EUR, prepared_of

FLAT = (100, 100, 100, 100)


def run_of(
    prepared: Prepared, *signals: tuple[int, int, int, int], direction: Direction = Direction.BOTH, **rules: object
) -> BacktestRun:
    """The run of both engines, which must be equal."""
    entries, given = (
        entries_of(*signals, direction=direction),
        TradingRules(direction=direction, **{"rates": FREE, **rules}),
    )
    run = replay(prepared, entries, given)
    assert_same(run, trade(prepared, entries, given))
    return run


CASES = {
    "signal fills at the next open": (
        [FLAT, (103, 110, 101, 109), FLAT],
        [(0, LONG, 0, 0)],
        [(1, 103, 2, 100, 1, "end")],
    ),
    "signal on the last bar is ignored": ([FLAT, FLAT, FLAT], [(2, LONG, 0, 0)], []),
    "stop touched exactly": (
        [FLAT, (100, 101, 100, 101), (101, 102, 95, 96), FLAT],
        [(0, LONG, 5, 0)],
        [(1, 100, 2, 95, 1, "stop")],
    ),
    "stop missed by a tick": (
        [FLAT, FLAT, (101, 102, 96, 97), FLAT],
        [(0, LONG, 5, 0)],
        [(1, 100, 3, 100, 1, "end")],
    ),
    "stop hit in the entry bar": (
        [FLAT, (100, 101, 90, 99), FLAT],
        [(0, LONG, 5, 0)],
        [(1, 100, 1, 95, 1, "stop")],
    ),
    "gap through a long stop fills at the open": (
        [FLAT, FLAT, (90, 99, 88, 98), FLAT],
        [(0, LONG, 5, 0)],
        [(1, 100, 2, 90, 1, "stop")],
    ),
    "gap through a short stop fills at the open": (
        [FLAT, FLAT, (110, 112, 101, 102), FLAT],
        [(0, SHORT, 5, 0)],
        [(1, 100, 2, 110, -1, "stop")],
    ),
    "target touched exactly": (
        [FLAT, FLAT, (101, 107, 100, 103), FLAT],
        [(0, LONG, 5, 7)],
        [(1, 100, 2, 107, 1, "target")],
    ),
    "short target touched exactly": (
        [FLAT, FLAT, (99, 101, 93, 96), FLAT],
        [(0, SHORT, 5, 7)],
        [(1, 100, 2, 93, -1, "target")],
    ),
    "gap through a target fills at the open": (
        [FLAT, FLAT, (120, 121, 98, 110), FLAT],
        [(0, LONG, 5, 7)],
        [(1, 100, 2, 120, 1, "target")],
    ),
    "stop and target in one bar: the stop": (
        [FLAT, FLAT, (100, 120, 80, 100), FLAT],
        [(0, LONG, 5, 7)],
        [(1, 100, 2, 95, 1, "stop")],
    ),
    "gap through the target, stop later in that bar: the stop": (
        [FLAT, FLAT, (120, 121, 90, 100), FLAT],
        [(0, LONG, 5, 7)],
        [(1, 100, 2, 95, 1, "stop")],
    ),
    "exit due at the open comes before the stop": (
        [FLAT, FLAT, (101, 102, 50, 60), FLAT],
        [(0, LONG, 5, 0), (1, EXIT, 0, 0)],
        [(1, 100, 2, 101, 1, "signal")],
    ),
    "opposite signal reverses": (
        [FLAT, FLAT, (104, 105, 103, 104), FLAT],
        [(0, LONG, 0, 0), (1, SHORT, 0, 0)],
        [(1, 100, 2, 104, 1, "signal"), (2, 104, 3, 100, -1, "end")],
    ),
    "signal that agrees is ignored and moves no stop": (
        [FLAT, FLAT, FLAT, (100, 100, 94, 94), FLAT],
        [(0, LONG, 5, 0), (1, LONG, 50, 0)],
        [(1, 100, 3, 95, 1, "stop")],
    ),
    "signal in the bar of a stop enters anew": (
        [FLAT, (100, 100, 90, 90), FLAT, FLAT],
        [(0, LONG, 5, 0), (1, LONG, 5, 0)],
        [(1, 100, 1, 95, 1, "stop"), (2, 100, 3, 100, 1, "end")],
    ),
    "exit without a position does nothing": ([FLAT, FLAT, FLAT], [(0, EXIT, 0, 0)], []),
    "entry at the last open closes at its close": (
        [FLAT, FLAT, (101, 104, 100, 103)],
        [(1, LONG, 50, 50)],
        [(2, 101, 2, 103, 1, "end")],
    ),
}


@pytest.mark.parametrize(("ticks", "signals", "expected"), CASES.values(), ids=CASES.keys())
def test_a_fill_follows_its_rule(ticks, signals, expected):
    run = run_of(prepared_of(ticks), *signals)

    assert fills(run) == expected


@pytest.mark.parametrize(
    ("direction", "expected"),
    [
        (Direction.LONG, [(1, 100, 2, 104, 1, "signal")]),
        (Direction.SHORT, [(2, 104, 3, 100, -1, "end")]),
    ],
)
def test_a_signal_against_the_direction_only_exits(direction, expected):
    prepared = prepared_of([FLAT, FLAT, (104, 105, 103, 104), FLAT])

    run = run_of(prepared, (0, LONG, 0, 0), (1, SHORT, 0, 0), direction=direction)

    assert fills(run) == expected


def test_missing_bars_are_not_invented():
    """A signal of Friday fills at the open of Sunday."""
    friday = int(datetime(2021, 3, 5, 21, tzinfo=UTC).timestamp())
    sunday = friday + 2 * 86_400
    times = [friday, sunday, sunday + 3600]
    prepared = prepared_of([FLAT, (80, 81, 79, 80), FLAT], dataset=EUR, times=times, half_spread_ticks=0.0)

    run = run_of(prepared, (0, LONG, 5, 0))

    assert fills(run) == [(1, 80, 2, 100, 1, "end")]
    assert run.equity.tolist() == [10_000.0, 10_000.0, 12_500.0]


def test_fees_apply_to_both_sides_and_slippage_not_to_targets():
    prepared = prepared_of([FLAT, FLAT, (100, 110, 100, 105), FLAT], dataset=EUR, half_spread_ticks=[9, 2, 3, 9])

    run = run_of(prepared, (0, LONG, 50, 10), rates=CostRates(fee=0.001, slippage=0.002))

    size = 10_000 / 100
    entry_cost = size * (100 * 0.003 + 2)
    exit_cost = size * 110 * 0.001
    trade = run.trades[0]
    assert trade["units"] == pytest.approx(size / 1e-5)
    assert trade["fees"] == pytest.approx(entry_cost + exit_cost)
    assert trade["net"] == pytest.approx(size * 10 - entry_cost - exit_cost)


def test_a_stop_pays_slippage_and_the_half_spread_of_its_bar():
    prepared = prepared_of([FLAT, FLAT, (100, 100, 90, 95), FLAT], dataset=EUR, half_spread_ticks=[9, 2, 3, 9])

    run = run_of(prepared, (0, LONG, 5, 0), rates=CostRates(fee=0.001, slippage=0.002))

    assert run.trades[0]["fees"] == pytest.approx(100 * (100 * 0.003 + 2) + 100 * (95 * 0.003 + 3))


def test_position_size_is_a_fraction_of_the_equity_at_the_fill():
    prepared = prepared_of([FLAT, FLAT, (200, 200, 200, 200), (200, 200, 200, 200)])

    run = run_of(prepared, (0, LONG, 0, 0), (1, SHORT, 0, 0), position_fraction=0.5)

    assert run.trades["units"].tolist() == pytest.approx([5_000 / 1.0, 7_500 / 2.0])


def test_drawdown_runs_from_the_highest_close_to_the_worst_held_price():
    prepared = prepared_of([FLAT, (100, 130, 100, 120), (120, 125, 90, 120), FLAT])

    run = run_of(prepared, (0, LONG, 0, 0))

    assert run.max_intrabar_drawdown == pytest.approx((12_000 - 9_000) / 12_000)
    assert run.lows.tolist() == pytest.approx([9_000])


def test_prices_after_an_exit_at_the_open_cause_no_drawdown():
    """The bar opens at the target and falls after the exit."""
    prepared = prepared_of([FLAT, FLAT, (107, 107, 96, 100), FLAT])

    run = run_of(prepared, (0, LONG, 5, 7))

    assert fills(run) == [(1, 100, 2, 107, 1, "target")]
    assert run.max_intrabar_drawdown == 0


def test_a_bar_that_loses_more_than_the_equity_ends_the_run():
    prepared = prepared_of([FLAT, FLAT, (100, 210, 100, 150), FLAT, FLAT])

    run = run_of(prepared, (0, SHORT, 0, 0), (3, LONG, 0, 0))

    assert run.stopped
    assert fills(run) == [(1, 100, 2, 150, -1, "end")]
    assert run.equity[-1] == pytest.approx(5_000)


def test_a_bar_that_loses_exactly_the_equity_does_not_end_the_run():
    prepared = prepared_of([FLAT, FLAT, (100, 200, 100, 150), FLAT])

    run = run_of(prepared, (0, SHORT, 0, 0))

    assert not run.stopped


def test_a_short_that_loses_all_equity_ends_the_run():
    prepared = prepared_of([FLAT, FLAT, (100, 100, 100, 100), (250, 260, 240, 250), FLAT])

    run = run_of(prepared, (0, SHORT, 0, 0), (2, LONG, 0, 0))

    assert run.stopped
    assert fills(run) == [(1, 100, 3, 250, -1, "signal")]
    assert run.equity[-1] == pytest.approx(-5_000)


def test_without_signals_there_is_no_trade_and_flat_equity():
    run = run_of(prepared_of([FLAT] * 3))

    assert len(run.trades) == 0
    assert run.equity.tolist() == [10_000.0]
    assert run.max_intrabar_drawdown == 0


def test_warm_up_bars_give_no_signal_and_no_trade():
    prepared = prepared_of([(100 + bar, 101 + bar, 99 + bar, 100 + bar) for bar in range(600)], warm_up=300)
    signals = np.ones(600, dtype=np.int8)
    entries = find_entries(_Always(signals), prepared, {}, Direction.LONG)

    assert entries.bar[0] == 300
    assert prepared.first_day == int(prepared.time[300]) // 86_400


class _Always:
    """A strategy with given signals, without stops and parameters."""

    name, stops, parameters = "always", None, ()

    def __init__(self, signals):
        self._signals = signals

    def warm_up(self, bounds):
        return 0

    def repair(self, parameters):
        return dict(parameters)

    def signals(self, prepared, parameters, direction):
        return self._signals


def test_days_without_bars_keep_equity_and_low():
    step = timedelta(days=3)
    times = [int((datetime(2021, 3, 1, tzinfo=UTC) + step * number).timestamp()) for number in range(4)]
    prepared = prepared_of([FLAT, FLAT, (100, 100, 80, 90), (90, 90, 90, 90)], times=times)

    run = run_of(prepared, (0, LONG, 0, 0))

    assert run.equity.tolist() == pytest.approx([10_000] * 6 + [9_000] * 4)
    assert run.lows.tolist() == pytest.approx([10_000] * 6 + [8_000] + [9_000] * 3)
    assert math.isclose(run.max_intrabar_drawdown, 0.2)
