"""Strategy protocol, registry, and properties of every built-in strategy."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.backtest.engine import warm_up_bars
from optimizer.backtest.entries import find_entries
from optimizer.level.spec import Direction
from optimizer.strategies import built_in as built_in_strategies
from optimizer.strategies.protocol import FloatParameter, Strategy, bounds_of, check_parameters, load
from tests.factories.backtests import SMA
from tests.factories.candles import prepared_of, random_prepared
from tradeschool import plugins
from tradeschool.errors import SettingsError
from tradeschool.markets.catalogue import find_dataset
from tradeschool.markets.timeframes import Timeframe

BUILT_IN = sorted(plugins.entries(built_in_strategies, "STRATEGY"))
DEFAULTS = {parameter.name: parameter.default for parameter in SMA.parameters}


def drawn_parameters(strategy: Strategy) -> st.SearchStrategy[dict[str, float]]:
    return st.fixed_dictionaries(
        {
            parameter.name: st.integers(parameter.low, parameter.high)
            if not isinstance(parameter, FloatParameter)
            else st.floats(parameter.low, parameter.high)
            for parameter in strategy.parameters
        }
    )


@pytest.mark.parametrize("name", BUILT_IN)
class TestEveryBuiltIn:
    def test_is_found_by_its_file_name(self, name):
        assert load(name).name == name

    def test_has_defaults_inside_its_bounds(self, name):
        strategy = load(name)
        defaults = {parameter.name: parameter.default for parameter in strategy.parameters}

        check_parameters(strategy, defaults)

        assert strategy.repair(defaults) == defaults

    @given(data=st.data())
    @settings(deadline=None, max_examples=30)
    def test_repairs_once_and_inside_its_bounds(self, name, data):
        strategy = load(name)
        repaired = strategy.repair(data.draw(drawn_parameters(strategy)))

        check_parameters(strategy, repaired)

        assert strategy.repair(repaired) == repaired

    @given(data=st.data(), seed=st.integers(0, 99))
    @settings(deadline=None, max_examples=20)
    def test_has_warm_indicators_at_the_first_judged_bar(self, name, data, seed):
        """Signals and distances need bars from the first one on, which are available."""
        strategy = load(name)
        dataset = find_dataset("coinbase/BTC-USD/H1")
        warm_up = warm_up_bars(strategy, bounds_of(strategy), dataset.timeframe)
        prepared = random_prepared(seed, max(2_400, warm_up + 200), warm_up=warm_up, dataset=dataset)
        parameters = strategy.repair(data.draw(drawn_parameters(strategy)))

        entries = find_entries(strategy, prepared, parameters, Direction.BOTH)

        assert (entries.bar >= prepared.first_evaluated).all()
        assert (entries.stop_ticks >= 0).all()
        assert (entries.target_ticks >= 0).all()


def test_sma_cross_signals_at_sign_changes_of_the_difference():
    closes = [10, 10, 10, 10, 10, 10, 10, 20, 20, 5, 5, 5]
    prepared = prepared_of([(close, close, close, close) for close in closes])

    signals = SMA.signals(prepared, {"fast": 2, "slow": 7}, Direction.BOTH)

    assert signals.tolist() == [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, -1, 0]


def test_averages_that_touch_and_diverge_cross():
    """Fast above slow, equal, above again: the second move above is a signal."""
    closes = [7, 7, 7, 7, 7, 7, 7, 8, 8, 8, 8, 8, 8, 8, 8, 8, 9]
    prepared = prepared_of([(close, close, close, close) for close in closes])

    signals = SMA.signals(prepared, {"fast": 2, "slow": 7}, Direction.BOTH)

    assert np.flatnonzero(signals).tolist() == [7, 16]


def test_sma_cross_warm_up_covers_a_repaired_slow_average():
    bounds = {"fast": (5.0, 50.0), "slow": (20.0, 40.0), "atr_period": (7.0, 28.0)}

    assert warm_up_bars(SMA, bounds, Timeframe.M5) == 55
    assert warm_up_bars(SMA, {**bounds, "slow": (20.0, 200.0)}, Timeframe.M5) == 200
    assert warm_up_bars(SMA, {**bounds, "atr_period": (7.0, 90.0)}, Timeframe.M5) == 90


@pytest.mark.parametrize(("timeframe", "expected"), [(Timeframe.M5, 402 * 12), (Timeframe.H1, 402)])
def test_warm_up_covers_the_hours_of_a_trend(timeframe, expected):
    bounds = {"fast": (5.0, 50.0), "slow": (20.0, 40.0), "trend": (0.0, 1.0), "trend_period": (50.0, 400.0)}

    assert warm_up_bars(SMA, bounds, timeframe) == expected
    assert warm_up_bars(SMA, {**bounds, "trend": (0.0, 0.0)}, timeframe) == 55


def test_warm_up_covers_the_past_of_a_volatility_band():
    bounds = {"fast": (5.0, 50.0), "slow": (20.0, 40.0), "atr_period": (7.0, 28.0), "vol_low": (0.0, 0.5)}

    assert warm_up_bars(SMA, bounds, Timeframe.H1) == 960 + 24 + 28


def test_repair_moves_slow_away_from_fast():
    assert SMA.repair({**DEFAULTS, "fast": 50, "slow": 20})["slow"] == 55


def test_an_unknown_strategy_lists_the_known_ones():
    with pytest.raises(SettingsError, match=r"unknown strategy 'smacross': expected one of .*sma_cross.*module:NAME"):
        load("smacross")


def test_a_user_strategy_is_named_by_module_and_attribute(monkeypatch):
    monkeypatch.setitem(sys.modules, "mine", SimpleNamespace(BEST=SMA))

    assert load("mine:BEST") is SMA


def test_a_user_module_is_found_in_the_working_folder():
    Path("my_own_strategy.py").write_text("from optimizer.strategies.built_in.sma_cross import STRATEGY")
    before = list(sys.path)

    assert load("my_own_strategy:STRATEGY").name == "sma_cross"
    assert sys.path == before


@pytest.mark.parametrize(
    "name", ["no_such_module:X", "optimizer.strategies.protocol:NO_SUCH", ":X", "optimizer.strategies.protocol:"]
)
def test_an_unimportable_strategy_is_reported(name):
    with pytest.raises(SettingsError, match="cannot be imported"):
        load(name)


def test_an_object_that_is_not_a_strategy_is_refused():
    with pytest.raises(SettingsError, match="expected an object with name, parameters, warm_up, repair, and signals"):
        load("optimizer.strategies.protocol:load")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fast": 1}, "fast: expected 2..100, was 1"),
        ({"fast": 20.5}, "fast: expected a whole number, was 20.5"),
        ({"fast": "20"}, "fast: expected a number, was '20'"),
        ({"fast": True}, "fast: expected a number, was True"),
        ({"stop_atr": float("nan")}, "stop_atr: expected a number, was nan"),
        ({"stop_atr": 1e9}, r"stop_atr: expected 0.25..20"),
        ({"speed": 1}, "has no speed: it has fast, slow"),
    ],
)
def test_wrong_parameters_are_reported(change, message):
    with pytest.raises(SettingsError, match=message):
        check_parameters(SMA, {**DEFAULTS, **change})


def test_a_missing_parameter_is_reported():
    with pytest.raises(SettingsError, match="slow is missing"):
        check_parameters(SMA, {name: value for name, value in DEFAULTS.items() if name != "slow"})


@pytest.mark.parametrize(
    ("signals", "message"),
    [
        (np.zeros(3, dtype=np.int8), r"must be int8 of shape \(4,\), was int8 of shape \(3,\)"),
        (np.zeros(4), "must be int8 of shape"),
        (np.array([0, 0, np.nan, np.nan]), "BTC-USD/M5: .*was float64 of shape .*NaN from bar 2 on"),
        (None, "was NoneType"),
        (np.array([0, 3, 0, 0], dtype=np.int8), "bar 1: signals must be 1 long, -1 short, 2 exit or 0 none, was 3"),
    ],
)
def test_signals_of_wrong_shape_are_refused(signals, message):
    strategy = SimpleNamespace(name="mine", signals=lambda *_: signals)

    with pytest.raises(SettingsError, match=message):
        find_entries(strategy, prepared_of([(1, 1, 1, 1)] * 4), {}, Direction.BOTH)
