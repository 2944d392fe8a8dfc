"""Parameter sets that trade one account in turn: entries on their own bars, one position at a time, exact money."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.backtest.kernel import trade
from optimizer.backtest.result import ExitReason
from optimizer.level.spec import Part
from optimizer.objective.objective import backtest, prepare_level
from optimizer.objective.set_rotation import AT_THE_OPEN, NO_SET, rotate, signals_of_set
from tests.factories.levels import PARAMETERS, level_of, read_made

LEVEL = level_of(("coinbase/BTC-USD/H1",))
BARS = prepare_level(LEVEL, Part.TRAIN, read_made)[0]
FAST = {**PARAMETERS, "fast": 5, "slow": 20, "stop_atr": 1.5, "target_atr": 2.0}
SLOW = {**PARAMETERS, "fast": 12, "slow": 40, "stop_atr": 4.0, "target_atr": 6.0}
SETS = [signals_of_set(LEVEL, BARS, each) for each in (FAST, SLOW)]


def blocks(seed: int, length: int) -> np.ndarray:
    """Places that change at random after `length` bars on average; some bars belong to no set."""
    random = np.random.default_rng(seed)
    places = random.integers(NO_SET, len(SETS), size=len(BARS))
    keep = random.random(len(BARS)) > 1 / length
    keep[0] = False
    return places[np.maximum.accumulate(np.where(keep, 0, np.arange(len(BARS))))]


def test_one_set_on_all_bars_is_the_plain_backtest() -> None:
    run, plain = rotate(SETS[:1], np.zeros(len(BARS), dtype=np.int64)), backtest(LEVEL, BARS, FAST)

    assert len(plain.trades) > 5
    assert run.trades.tolist() == plain.trades.tolist()
    assert run.equity == pytest.approx(plain.equity, rel=1e-12)
    assert run.lows == pytest.approx(plain.lows, rel=1e-12)


def test_without_an_allowed_bar_nothing_is_traded() -> None:
    run = rotate(SETS, np.full(len(BARS), NO_SET))

    assert len(run.trades) == 0
    assert set(run.equity) == {run.initial_equity}


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([3, 20, 100]))
def test_positions_never_overlap_and_belong_to_the_set_of_their_signal(seed: int, length: int) -> None:
    places = blocks(seed, length)
    run = rotate(SETS, places)
    trades = run.trades

    for earlier, later in pairwise(trades):
        same_open = ExitReason(int(earlier["reason"])) in AT_THE_OPEN
        reentry = places[later["entry_bar"] - 1] == places[earlier["entry_bar"] - 1]
        assert later["entry_bar"] >= earlier["exit_bar"] + (0 if same_open or reentry else 1)
    for position in trades:
        signals = SETS[places[position["entry_bar"] - 1]]
        only = signals.entries.bar + 1 == position["entry_bar"]
        (alone,) = signals.run(only).trades
        for column in ("entry_bar", "exit_bar", "entry_price", "exit_price", "side", "reason"):
            assert position[column] == alone[column]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([3, 20, 100]))
def test_no_allowed_entry_is_skipped_while_the_account_is_flat(seed: int, length: int) -> None:
    places = blocks(seed, length)
    trades = rotate(SETS, places).trades
    for place, signals in enumerate(SETS):
        entries = signals.entries
        for bar in entries.bar[entries.enters & (places[entries.bar] == place)]:
            fill = int(bar) + 1
            held = (trades["entry_bar"] <= fill) & (fill <= trades["exit_bar"])
            assert held.any() or fill >= len(BARS)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([3, 20, 100]))
def test_the_money_of_the_trades_is_that_of_the_account(seed: int, length: int) -> None:
    run = rotate(SETS, blocks(seed, length))

    assert run.initial_equity + run.trades["net"].sum() == pytest.approx(run.equity[-1], rel=1e-9)
    assert (run.lows <= np.concatenate(([run.initial_equity], run.equity[:-1])) * (1 + 1e-12)).all()
    assert run.max_intrabar_drawdown >= 0


def test_two_sets_that_alternate_compound_like_one_account() -> None:
    """The same parameters in two sets, with no position open at the change, give the account of one set."""
    plain = backtest(LEVEL, BARS, FAST)
    change = int(plain.trades["exit_bar"][len(plain.trades) // 2])
    places = (np.arange(len(BARS)) > change).astype(np.int64)
    run = rotate([SETS[0], SETS[0]], places)

    assert 0 < places[plain.trades["entry_bar"] - 1].sum() < len(plain.trades)
    assert run.equity[-1] == pytest.approx(plain.equity[-1], rel=1e-9)
    assert run.trades["net"] == pytest.approx(plain.trades["net"], rel=1e-9)
    assert run.trades["units"] == pytest.approx(plain.trades["units"], rel=1e-9)


def test_entries_of_another_bar_are_filtered_but_still_close_a_position() -> None:
    """A signal against the position ends it, even on a bar on which the set may not enter."""
    signals = SETS[0]
    plain = trade(BARS, signals.entries, signals.rules)
    reversed_at = next(each for each in plain.trades if ExitReason(int(each["reason"])) is ExitReason.SIGNAL)
    only = signals.entries.bar + 1 == reversed_at["entry_bar"]
    (alone,) = trade(BARS, replace(signals.entries, enters=only), signals.rules).trades

    assert alone["exit_bar"] == reversed_at["exit_bar"]
    assert ExitReason(int(alone["reason"])) is ExitReason.SIGNAL


def test_a_strategy_that_decides_bar_by_bar_is_refused() -> None:
    level = level_of(("coinbase/BTC-USD/H1",), strategy="tests.factories.strategies:FIRST_RISE", ranges={})

    with pytest.raises(TypeError, match="decides bar by bar"):
        signals_of_set(level, BARS, {})
