"""Bar-by-bar backtest: a decision engine follows the same rules."""

from types import SimpleNamespace

import numpy as np
import pytest

from optimizer.backtest.bar_by_bar import step_through
from optimizer.backtest.engine import run_strategy
from optimizer.backtest.kernel import trade
from optimizer.level.spec import Direction
from optimizer.strategies.protocol import completed
from tests.factories.backtests import SMA, assert_same, managed_parameters, random_rules
from tests.factories.candles import BTC, EUR, prepared_of, random_prepared
from tests.factories.strategies import FIRST_RISE, Crossing
from tradeschool.errors import SettingsError


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("dataset", [BTC, EUR], ids=str)
def test_bar_by_bar_decisions_trade_like_equal_signals(seed, dataset):
    """The strategy by a user, asked bar by bar, against sma_cross over all candles at once."""
    random = np.random.default_rng(seed)
    prepared = random_prepared(seed, 400, warm_up=45, dataset=dataset)
    parameters = managed_parameters(random)
    rules = random_rules(random, parameters)

    run = run_strategy(Crossing(), prepared, parameters, rules)

    assert_same(run, run_strategy(SMA, prepared, parameters, rules))
    assert len(run.trades) > 0


def test_decisions_exported_as_signals_give_the_same_run():
    prepared = random_prepared(3, 300, warm_up=10)
    rules = random_rules(np.random.default_rng(2), completed(SMA, {}))

    run, entries = step_through(FIRST_RISE, prepared, {}, rules)

    assert_same(run, trade(prepared, entries, rules))


def test_a_decision_engine_sees_every_bar_once_with_its_position():
    flat, rise = (100, 100, 100, 100), (100, 110, 90, 105)
    prepared = prepared_of([flat, rise, rise, rise, flat, flat], warm_up=1)
    seen = []

    class Watching:
        def decide(self, bar, position):
            seen.append((bar.number, bar.close, position))
            return 1 if bar.number == 1 else 0

    strategy = SimpleNamespace(name="watching", decider=lambda *_: Watching())
    rules = random_rules(np.random.default_rng(0), {})

    step_through(strategy, prepared, {}, rules)

    assert [number for number, _, _ in seen] == list(range(6))
    assert seen[1][1] == pytest.approx(1.05)
    held = seen[2][2]
    if rules.direction is not Direction.SHORT:
        assert (held.side, held.entry_bar, held.entry_price) == (1, 2, 1.0)
        assert held.stop is None
        assert held.units > 0


@pytest.mark.parametrize("decision", [3, -2, "long", None, 0.5])
def test_an_invalid_decision_is_refused(decision):
    strategy = SimpleNamespace(name="odd", decider=lambda *_: SimpleNamespace(decide=lambda bar, position: decision))
    rules = random_rules(np.random.default_rng(0), {})

    with pytest.raises(SettingsError, match=r"'odd' on coinbase/BTC-USD/M5, bar 0: decide must return 1 long"):
        step_through(strategy, prepared_of([(1, 1, 1, 1)] * 3), {}, rules)
