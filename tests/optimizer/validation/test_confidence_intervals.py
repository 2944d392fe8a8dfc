"""Bootstrap confidence intervals of a gate's metrics."""

import math
from dataclasses import replace

import numpy as np
import pytest

from optimizer.level.spec import Part
from optimizer.objective import metrics
from optimizer.objective.metrics import summarise
from optimizer.objective.objective import backtest, prepare_level
from optimizer.objective.portfolio import portfolio
from optimizer.validation.confidence_intervals import intervals
from optimizer.validation.statistics.bootstrap import intrabar_drawdowns
from tests.factories.levels import PARAMETERS, level_of, read_flat, read_made

LEVEL = level_of()


@pytest.fixture(scope="module")
def runs():
    return [backtest(LEVEL, prepared, PARAMETERS) for prepared in prepare_level(LEVEL, Part.TRAIN, read_made)]


def test_each_interval_contains_the_metric(runs) -> None:
    figures = summarise(runs)

    found = intervals(runs, figures, seed=7)

    assert found.keys() == {"win_rate", "sharpe", "max_drawdown_intrabar", "profit_factor"}
    for name, (low, high) in found.items():
        assert low < high
        assert low <= figures[name] <= high, name


def test_intervals_depend_on_the_seed(runs) -> None:
    figures = summarise(runs)

    assert intervals(runs, figures, 7) == intervals(runs, figures, 7) != intervals(runs, figures, 8)


def test_a_resampled_drawdown_equals_that_of_the_metric(runs) -> None:
    """The identity permutation gives the drawdown of the account."""
    account = portfolio(runs)
    identity = np.arange(len(account.days)).reshape(-1, 1)

    assert intrabar_drawdowns(account.returns[identity], account.low_returns[identity])[0] == pytest.approx(
        metrics.max_drawdown_intrabar(account)
    )


def test_without_trades_there_is_no_interval() -> None:
    level = level_of(("coinbase/BTC-USD/H1",))
    flat = [backtest(level, prepared, PARAMETERS) for prepared in prepare_level(level, Part.TRAIN, read_flat)]

    found = intervals(flat, summarise(flat), seed=7)

    assert all(math.isnan(low) and math.isnan(high) for name, (low, high) in found.items() if "drawdown" not in name)


def test_a_profit_factor_without_a_loss_is_infinite(runs) -> None:
    gains = [replace(run, trades=run.trades.copy()) for run in runs]
    for run in gains:
        run.trades["net"] = np.abs(run.trades["net"]) + 1.0

    assert intervals(gains, summarise(gains), seed=7)["profit_factor"] == (math.inf, math.inf)
