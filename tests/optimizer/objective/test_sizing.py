"""Size of an account: solved from the risk budget on train, and fixed for every other part."""

import math
from datetime import date

import empyrical
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

from optimizer.level.level_dataset import LevelDataset
from optimizer.level.risk import Risk
from optimizer.level.spec import Gate, Level, MinTrades, Part
from optimizer.objective import metrics
from optimizer.objective.objective import backtest, evaluate, evaluate_part, prepare_level, stored_metrics
from optimizer.objective.portfolio import Portfolio, portfolio
from optimizer.objective.sizing import sized, solve_size, volatility
from optimizer.objective.trial_result import Evaluation, TrialOutcome
from optimizer.strategies.trade_management import TradeManagement
from tests.factories.levels import DATASETS, PARAMETERS, level_of, read_flat, read_made

OPEN = [None] * len(DATASETS)
INVARIANT = ("sharpe", "sortino", "win_rate", "profit_factor", "trades", "exposure")


def level(risk: Risk | None, **fields: object) -> Level:
    return level_of(risk=risk, drawdown_limit=1.0, **fields)


@pytest.fixture(scope="module")
def train():
    return prepare_level(level(None), Part.TRAIN, read_made)


@pytest.fixture(scope="module")
def unsized(train):
    """The runs at size 1."""
    return [backtest(level(None), each, PARAMETERS) for each in train]


def test_a_volatility_target_is_met_on_train(train, unsized):
    """The second opinion on the size is empyrical's annual volatility."""
    found = evaluate(level(Risk(target_volatility=0.02)), train, PARAMETERS, OPEN)
    returns = portfolio(unsized).returns

    assert found.metrics["size"] == pytest.approx(
        0.02 / empyrical.annual_volatility(returns, annualization=365), rel=1e-10
    )
    assert found.metrics["size"] == pytest.approx(0.02 / (np.std(returns, ddof=1) * math.sqrt(365)), rel=1e-10)
    account = portfolio(sized(unsized, found.metrics["size"]))
    assert volatility(account) == pytest.approx(0.02, rel=1e-10)
    assert empyrical.annual_volatility(account.returns, annualization=365) == pytest.approx(0.02, rel=1e-10)


@pytest.mark.parametrize("limit", [0.001, 0.01, 0.03])
def test_a_drawdown_budget_is_met_on_train(train, limit):
    found = evaluate(level(Risk(max_drawdown=limit)), train, PARAMETERS, OPEN)

    assert 0 < found.metrics["size"] < 1
    assert found.metrics["max_drawdown_intrabar"] == pytest.approx(limit, rel=1e-6)
    assert found.metrics["max_drawdown_intrabar"] <= limit


def test_a_trial_sized_to_the_gates_drawdown_meets_it(train):
    gate = Gate(win_rate=0.0, sharpe=-9, max_drawdown_intrabar=0.02, profit_factor=0.01)

    assert evaluate(level(Risk(max_drawdown=0.02), gate=gate), train, PARAMETERS, OPEN).constraints["drawdown"] <= 0
    assert evaluate(level(None, gate=gate), train, PARAMETERS, OPEN).constraints["drawdown"] > 0


@pytest.mark.parametrize(
    ("fraction", "leverage", "size"), [(1.0, 1.0, 1.0), (0.25, 1.0, 4.0), (0.5, 3.0, 6.0), (1.0, 0.5, 0.5)]
)
def test_leverage_is_capped(train, fraction, leverage, size):
    """A large budget leads to the largest size; the position fraction is the notional of size 1."""
    for risk in (
        Risk(target_volatility=9.0, max_leverage=leverage),
        Risk(max_drawdown=0.99, max_leverage=leverage),
    ):
        found = evaluate(level(risk, position_fraction=fraction), train, PARAMETERS, OPEN)

        assert found.metrics["size"] == size
        assert found.metrics["leverage"] == leverage


def test_a_strategys_own_position_fraction_counts():
    managed = TradeManagement(position_fraction=0.2)
    runs = [backtest(level(None), each, PARAMETERS) for each in prepare_level(level(None), Part.TRAIN, read_made)[:1]]

    assert solve_size(level(Risk(target_volatility=9.0)), managed, portfolio(runs), runs) == pytest.approx(5.0)


def test_fixed_units_are_capped_by_their_largest_notional(unsized):
    managed = TradeManagement(position_units=3.0)
    run = unsized[0]
    before = run.initial_equity + np.concatenate(([0.0], np.cumsum(run.trades["net"])))[:-1]
    tick = run.dataset.instrument.tick
    largest = max(run.trades["units"] * run.trades["entry_price"] * tick / before)

    assert solve_size(level(Risk(target_volatility=9.0)), managed, portfolio([run]), [run]) == pytest.approx(
        1 / largest
    )


@pytest.mark.parametrize("risk", [Risk(target_volatility=0.02), Risk(max_drawdown=0.01)])
def test_sharpe_win_rate_and_profit_factor_do_not_depend_on_the_size(train, risk):
    whole = evaluate(level(None), train, PARAMETERS, OPEN)
    small = evaluate(level(risk), train, PARAMETERS, OPEN)

    assert small.metrics["size"] < 0.6
    for name in INVARIANT:
        assert small.metrics[name] == pytest.approx(whole.metrics[name], rel=1e-9), name
    assert small.value == pytest.approx(whole.value, rel=1e-9)
    assert small.intermediate == pytest.approx(whole.intermediate, rel=1e-9)
    assert abs(small.metrics["cagr"]) < abs(whole.metrics["cagr"])
    assert small.metrics["max_drawdown_intrabar"] < whole.metrics["max_drawdown_intrabar"]


def test_the_sized_account_multiplies_daily_returns_and_lows(unsized):
    whole, part = portfolio(unsized), portfolio(sized(unsized, 0.4))

    np.testing.assert_array_equal(part.returns, whole.returns * 0.4)
    np.testing.assert_array_equal(part.low_returns, whole.low_returns * 0.4)
    assert part.max_drawdown_intrabar == whole.max_drawdown_at(0.4) == pytest.approx(part.drawdowns.max())


def test_runs_of_different_sizes_form_one_account(unsized):
    """Such as the windows of a walk-forward, each at the size that was solved on its own train."""
    mixed = [sized([run], size)[0] for run, size in zip(unsized, (0.5, 1.0, 2.0), strict=True)]
    account, alone = portfolio(mixed), [portfolio([run]) for run in unsized]
    by_day = [dict(zip(each.days.tolist(), each.returns.tolist(), strict=True)) for each in alone]

    for day, value in zip(account.days.tolist(), account.returns.tolist(), strict=True):
        parts = [size * found[day] for size, found in zip((0.5, 1.0, 2.0), by_day, strict=True) if day in found]
        assert value == pytest.approx(sum(parts) / len(parts), abs=1e-15)


def test_a_size_is_fixed_on_train():
    """Validation is evaluated at the size of train, whatever its own volatility is."""
    budgeted = level(Risk(target_volatility=0.02))
    validation = prepare_level(budgeted, Part.VALIDATION, read_made)
    found = evaluate_part(budgeted, validation, PARAMETERS, Part.VALIDATION, 0.25)
    whole = evaluate_part(level(None), validation, PARAMETERS, Part.VALIDATION)

    assert found.metrics["size"] == 0.25
    assert found.metrics["sharpe"] == pytest.approx(whole.metrics["sharpe"], rel=1e-9)
    runs = [backtest(budgeted, each, PARAMETERS, 0.25) for each in validation]
    assert found.metrics == {**metrics.figures(runs), "size": 0.25, "leverage": 0.25}
    assert stored_metrics(budgeted, PARAMETERS, runs) == found.metrics
    with pytest.raises(ValueError, match="fixed on train"):
        evaluate_part(budgeted, validation, PARAMETERS, Part.VALIDATION)


def test_the_search_and_the_evaluation_of_train_agree(train):
    budgeted = level(Risk(max_drawdown=0.01))

    assert evaluate(budgeted, train, PARAMETERS, OPEN) == evaluate_part(budgeted, train, PARAMETERS, Part.TRAIN)


def test_the_drawdown_limit_reads_the_sized_account(train):
    """At its full size the trial exceeds the limit after the first dataset."""
    limited = {"drawdown_limit": 0.001, "min_trades": MinTrades(train=1, validation=1)}
    whole = evaluate(level_of(**limited), train, PARAMETERS, OPEN)
    small = evaluate(level_of(risk=Risk(max_drawdown=0.0009), **limited), train, PARAMETERS, OPEN)

    assert (whole.state, len(whole.intermediate)) == (TrialOutcome.PRUNED, 1)
    assert small.state is TrialOutcome.COMPLETE
    assert small.metrics["max_drawdown_intrabar"] <= 0.0009


def test_an_account_that_never_moves_has_the_largest_size():
    flat = level(Risk(max_leverage=2.0), datasets=DATASETS[:1])
    found = evaluate(flat, prepare_level(flat, Part.TRAIN, read_flat), PARAMETERS, [None])

    assert found.metrics["size"] == 2.0
    assert all(math.isfinite(violation) for violation in found.constraints.values())


def test_a_level_without_a_budget_stores_no_size(train):
    found = evaluate(level(None), train, PARAMETERS, OPEN)

    assert "size" not in found.metrics
    assert "risk" not in level(None).model_dump()


def test_the_size_survives_serialization(train):
    found = evaluate(level(Risk()), train, PARAMETERS, OPEN)

    assert Evaluation.from_json(found.to_json()) == found
    assert list(found.metrics)[-2:] == ["size", "leverage"]


def test_a_multi_objective_trial_is_sized(train):
    budgeted = level(Risk(target_volatility=0.02), objective=("sharpe", "calmar"))
    found = evaluate(budgeted, train, PARAMETERS, OPEN)

    assert (
        found.metrics["size"] == evaluate(level(Risk(target_volatility=0.02)), train, PARAMETERS, OPEN).metrics["size"]
    )
    assert found.values["calmar"] == found.metrics["calmar"]


def test_the_size_of_a_level_over_one_dataset_is_that_of_its_own_days():
    days = LevelDataset(dataset=DATASETS[0], start=date(2021, 3, 1), end=date(2021, 9, 1))
    one = level(Risk(target_volatility=0.05)).model_copy(update={"datasets": (days,)})
    prepared = prepare_level(one, Part.TRAIN, read_made)
    returns = portfolio([backtest(one, prepared[0], PARAMETERS)]).returns
    found = evaluate(one, prepared, PARAMETERS, [None])

    assert found.metrics["size"] == pytest.approx(
        min(1.0, 0.05 / empyrical.annual_volatility(returns, annualization=365))
    )


daily = st.lists(st.tuples(st.floats(-0.2, 0.2), st.floats(0.0, 0.1)), min_size=2, max_size=60)


@given(daily, st.floats(0.01, 3.0), st.floats(0.01, 3.0))
@settings(deadline=None, max_examples=150)
def test_the_drawdown_never_falls_as_the_size_grows(moves, one, other):
    returns = np.array([move for move, _ in moves])
    lows = np.minimum(returns, 0.0) - np.array([below for _, below in moves])
    account = Portfolio(days=np.arange(len(moves)), returns=returns, low_returns=lows)

    assert account.max_drawdown_at(min(one, other)) <= account.max_drawdown_at(max(one, other)) + 1e-12


@pytest.mark.parametrize("limit", [0.002, 0.01, 0.03])
def test_bisection_finds_the_root_that_scipy_finds(unsized, limit):
    account = portfolio(unsized)
    root = brentq(lambda size: portfolio(sized(unsized, size)).max_drawdown_intrabar - limit, 1e-6, 1.0, xtol=1e-13)
    found = solve_size(level(Risk(max_drawdown=limit)), TradeManagement(), account, unsized)

    assert found == pytest.approx(root, rel=2e-9)
    closes = portfolio(sized(unsized, found))
    assert metrics.max_drawdown(closes.equity) == pytest.approx(-empyrical.max_drawdown(closes.returns), rel=1e-9)
