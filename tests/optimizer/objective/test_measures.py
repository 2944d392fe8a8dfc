"""Objective values: built-in measures against their definitions, and users' functions."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from optimizer.backtest.result import BacktestRun
from optimizer.level.search_methods import OBJECTIVES
from optimizer.level.spec import Part
from optimizer.objective import metrics
from optimizer.objective.measures import LARGEST, measured
from optimizer.objective.objective import backtest, evaluate, evaluate_part, prepare_level
from optimizer.objective.portfolio import portfolio
from optimizer.objective.trial_result import Evaluation, TrialOutcome, rounded
from tests.factories.levels import PARAMETERS, level_of, read_flat, read_made
from tradeschool.errors import SettingsError, StrategyNotImported

LEVEL = level_of(drawdown_limit=1.0)
CRYPTO = level_of(("coinbase/BTC-USD/H1",), drawdown_limit=1.0)


@pytest.fixture(scope="module")
def train():
    return prepare_level(LEVEL, Part.TRAIN, read_made)


@pytest.fixture(scope="module")
def runs(train) -> list[BacktestRun]:
    return [backtest(LEVEL, each, PARAMETERS) for each in train]


def value(name: str, runs: Sequence[BacktestRun]) -> float:
    (found,) = measured((name,), runs, portfolio(runs))
    return found


def write(monkeypatch: pytest.MonkeyPatch, folder: Path, body: str, name: str) -> str:
    (folder / f"{name}.py").write_text(body)
    monkeypatch.chdir(folder)
    return f"{name}:value"


def test_measures_equal_the_metrics_of_the_same_name(runs) -> None:
    figures = metrics.figures(runs)

    for name in ("sharpe", "sortino", "calmar", "profit_factor"):
        assert value(name, runs) == figures[name]


def test_expectancy_and_total_return_by_definition(runs) -> None:
    net = np.concatenate([run.trades["net"] for run in runs])

    assert value("expectancy", runs) == pytest.approx(net.mean() / 10_000)
    assert value("total_return", runs) == pytest.approx(float(np.prod(1 + portfolio(runs).returns)) - 1)


def test_without_a_trade_nothing_is_defined() -> None:
    flat = [backtest(CRYPTO, each, PARAMETERS) for each in prepare_level(CRYPTO, Part.TRAIN, read_flat)]

    assert all(math.isnan(value(name, flat)) for name in OBJECTIVES)


def test_an_infinite_profit_factor_is_limited(runs) -> None:
    winners = [run.trades[run.trades["net"] > 0] for run in runs]
    won = [
        BacktestRun(**{name: getattr(run, name) for name in run.__dataclass_fields__} | {"trades": each})
        for run, each in zip(runs, winners, strict=True)
    ]

    assert value("profit_factor", won) == LARGEST


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_trial_s_value_and_steps_are_the_objective(train, runs, name: str) -> None:
    level = LEVEL.model_copy(update={"objective": (name,)})

    found = evaluate(level, train, PARAMETERS, ())

    assert found.value == found.intermediate[-1] == value(name, runs)
    assert found.intermediate[0] == value(name, runs[:1])
    assert Evaluation.from_json(found.to_json()) == found


def test_an_undefined_objective_makes_a_trial_infeasible() -> None:
    level = CRYPTO.model_copy(update={"objective": ("calmar",)})

    found = evaluate(level, prepare_level(level, Part.TRAIN, read_flat), PARAMETERS, ())

    assert found.value == 0.0
    assert found.constraints["min_trades"] == 1.0


def test_several_objectives_are_never_pruned(train, runs) -> None:
    level = LEVEL.model_copy(update={"objective": ("sharpe", "calmar"), "drawdown_limit": 1e-6})

    found = evaluate(level, train, PARAMETERS, (math.inf,) * 3)

    assert found.state is TrialOutcome.COMPLETE
    assert found.values == {"sharpe": value("sharpe", runs), "calmar": value("calmar", runs)}
    assert found.value is None
    assert found.constraints["drawdown_limit"] == rounded(found.metrics["max_drawdown_intrabar"] - 1e-6)
    assert "drawdown_limit" not in evaluate_part(level, train, PARAMETERS, Part.VALIDATION).constraints
    assert Evaluation.from_json(found.to_json()) == found


def test_a_user_s_objective_gets_metrics_returns_and_trades(monkeypatch, tmp_path: Path, runs) -> None:
    body = """
def value(trial):
    assert len(trial.returns) == trial.metrics["days"] and len(trial.trades) == trial.metrics["trades"]
    trial.returns[:] = 0
    return trial.metrics["total_return"] + trial.metrics["expectancy"]
"""
    name = write(monkeypatch, tmp_path, body, "objective_sum")

    assert value(name, runs) == rounded(value("total_return", runs) + value("expectancy", runs))
    assert value("sharpe", runs) == metrics.figures(runs)["sharpe"]


@pytest.mark.parametrize("returned", ["'1'", "None", "True", "float('inf')", "[1.0]"])
def test_a_user_s_objective_must_return_a_number(monkeypatch, tmp_path: Path, runs, returned: str) -> None:
    name = write(monkeypatch, tmp_path, f"def value(trial): return {returned}", f"objective_{abs(hash(returned))}")

    with pytest.raises(SettingsError, match=r"objective '.*': expected a finite number, or NaN if undefined, was"):
        value(name, runs)


def test_a_user_s_objective_may_be_undefined(monkeypatch, tmp_path: Path, train) -> None:
    name = write(monkeypatch, tmp_path, "def value(trial): return float('nan')", "objective_nan")

    found = evaluate(LEVEL.model_copy(update={"objective": (name,)}), train, PARAMETERS, ())

    assert (found.value, found.constraints["min_trades"]) == (0.0, 1.0)


def test_a_user_s_objective_draws_the_same_random_numbers_each_time(monkeypatch, tmp_path: Path, runs) -> None:
    name = write(monkeypatch, tmp_path, "import random\ndef value(trial): return random.random()", "objective_random")

    assert value(name, runs) == value(name, runs)


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("no_such_module_here:value", SettingsError, "objective 'no_such_module_here:value' cannot be imported"),
        ("math:pi", SettingsError, "objective 'math:pi': expected a function, was float"),
        ("objective_raising:value", StrategyNotImported, "objective objective_raising:value cannot be imported"),
    ],
)
def test_an_objective_that_cannot_be_used_is_named(monkeypatch, tmp_path, runs, name: str, error, said: str) -> None:
    write(monkeypatch, tmp_path, "raise ZeroDivisionError", "objective_raising")

    with pytest.raises(error, match=said):
        value(name, runs)
