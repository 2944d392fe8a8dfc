"""Objective: one trial from parameters to evaluation, and pruning compared with Optuna's."""

import math
import warnings

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import FloatDistribution, IntDistribution

from optimizer.curriculum.attempts import at_attempt
from optimizer.level.spec import Direction, Gate, MinTrades, Part, Split
from optimizer.objective.metrics import profit_and_loss
from optimizer.objective.objective import backtest, evaluate, evaluate_part, is_pruned, prepare_level, repair
from optimizer.objective.trial_result import Evaluation, TrialOutcome
from optimizer.search.space import distributions
from tests.factories.levels import DATASETS, PARAMETERS, RANGES, level_of, read_flat, read_made
from tradeschool.errors import DataIncomplete, SettingsError

OPEN = [None] * len(DATASETS)


@pytest.fixture(scope="module")
def prepared():
    return prepare_level(level_of(), Part.TRAIN, read_made)


def lenient(**fields: object):
    """A level without a pruning limit."""
    return level_of(drawdown_limit=1.0, **fields)


def test_distributions_follow_level_ranges_and_strategy_order():
    assert list(distributions(level_of()).items()) == [
        ("fast", IntDistribution(5, 30)),
        ("slow", IntDistribution(20, 60)),
        ("atr_period", IntDistribution(7, 28)),
        ("stop_atr", FloatDistribution(1.0, 5.0)),
        ("target_atr", FloatDistribution(1.0, 8.0)),
    ]


@pytest.mark.parametrize(
    ("ranges", "message"),
    [
        ({**RANGES, "fast": (1.0, 30.0)}, r"level 1: fast: expected a range inside 2\.\.100, was 1\.\.30"),
        ({**RANGES, "slow": (20.0, 900.0)}, r"slow: expected a range inside 7\.\.250"),
        ({**RANGES, "fast": (5.5, 30.0)}, r"fast: expected whole numbers, was 5\.5\.\.30"),
        ({**RANGES, "speed": (1.0, 2.0)}, "has no speed"),
    ],
)
def test_wrong_ranges_are_reported(ranges, message):
    with pytest.raises(SettingsError, match=message):
        distributions(level_of(ranges=ranges))


def test_parameters_are_repaired_by_the_strategy():
    assert repair(level_of(), {**PARAMETERS, "fast": 30, "slow": 20})["slow"] == 35


def test_an_unknown_strategy_is_a_settings_error():
    with pytest.raises(SettingsError, match="unknown strategy 'nothing'"):
        distributions(level_of(strategy="nothing"))


def test_each_part_is_read_with_the_days_before_it_that_may_warm_it_up():
    asked = []

    def read(dataset, window):
        asked.append((dataset.name, window.name))
        return read_made(dataset, window)

    prepare_level(level_of(), Part.VALIDATION, read)

    assert asked == [
        ("coinbase/BTC-USD/H1", "20210301-20210402"),
        ("oanda/EUR-USD/H1", "20210303-20210404"),
        ("coinbase/ETH-USD/M15", "20210323-20210406"),
    ]


@pytest.mark.parametrize("part", [Part.VALIDATION, Part.TEST])
def test_each_part_is_judged_from_its_first_bar_on(part):
    level = level_of()
    for dataset, one in zip(level.datasets, prepare_level(level, part, read_made), strict=True):
        assert one.window == level.window(dataset, part)
        assert one.time[one.first_evaluated] == one.window.start_seconds
        assert one.time[-1] < one.window.end_seconds


def test_all_parameters_are_evaluated_after_the_longest_warm_up(prepared):
    assert {one.first_evaluated for one in prepared} == {60}


def test_later_attempts_are_evaluated_over_the_same_bars():
    """The warm-up covers the widest ranges of later attempts from the first attempt on."""
    level = level_of(retries=2)
    bars = [prepare_level(at_attempt(level, attempt), Part.TRAIN, read_made) for attempt in (1, 2, 3)]

    assert [{one.first_evaluated for one in each} for each in bars] == [{85}] * 3
    assert at_attempt(level, 3).ranges["slow"] == (7, 85)


def test_a_part_shorter_than_the_warm_up_is_refused():
    """Train warms up inside itself: nothing before a level's range may be sealed."""
    level = level_of(ranges={**RANGES, "slow": (20.0, 200.0)}, split=Split(train=0.2, validation=0.4, test=0.4))

    with pytest.raises(DataIncomplete, match="BTC-USD/H1: 192 bars, but the warm-up takes 200"):
        prepare_level(level, Part.TRAIN, read_made)
    assert prepare_level(level, Part.VALIDATION, read_made)


def test_a_complete_trial_reports_one_step_per_dataset(prepared):
    evaluation = evaluate(lenient(), prepared, PARAMETERS, OPEN)

    assert evaluation.state is TrialOutcome.COMPLETE
    assert len(evaluation.intermediate) == 3
    assert evaluation.value == evaluation.intermediate[-1] == evaluation.metrics["sharpe"]
    assert evaluation.metrics["trades"] > 30
    assert evaluation.pruned_reason is None


def test_a_trial_is_repeatable_and_survives_serialization(prepared):
    first, second = (evaluate(lenient(), prepared, PARAMETERS, OPEN).to_json() for _ in range(2))

    assert first == second
    assert Evaluation.from_json(first).to_json() == first


def test_constraints_are_distances_from_the_gate(prepared):
    level = lenient()
    evaluation = evaluate(level, prepared, PARAMETERS, OPEN)
    runs = [backtest(level, one, PARAMETERS) for one in prepared]
    profit, loss = profit_and_loss(np.concatenate([run.trades["net"] for run in runs]))
    figures = evaluation.metrics

    assert evaluation.constraints == pytest.approx(
        {
            "win_rate": 0.5 - figures["win_rate"],
            "drawdown": figures["max_drawdown_intrabar"] - 0.15,
            "profit_factor": (1.3 * loss - profit) / (loss + profit),
            "min_trades": (30 - figures["trades"]) / 30,
        },
        abs=1e-11,
    )


def test_a_constraint_is_met_exactly_if_the_gate_is_met(prepared):
    evaluation = evaluate(lenient(), prepared, PARAMETERS, OPEN)
    factor = evaluation.metrics["profit_factor"]
    for target, holds in ((factor * 0.999, True), (factor * 1.001, False)):
        gate = Gate(win_rate=0.5, sharpe=0.8, max_drawdown_intrabar=0.15, profit_factor=target)
        again = evaluate(lenient(gate=gate), prepared, PARAMETERS, OPEN)

        assert (again.constraints["profit_factor"] <= 0) is holds


def test_a_trial_below_the_threshold_is_pruned_with_its_constraints(prepared):
    evaluation = evaluate(lenient(), prepared, PARAMETERS, [None, 1e6, None])

    assert evaluation.state is TrialOutcome.PRUNED
    assert len(evaluation.intermediate) == 2
    assert evaluation.value == evaluation.intermediate[-1]
    assert evaluation.pruned_reason == "below the median after oanda/EUR-USD/H1"
    assert set(evaluation.constraints) == {"win_rate", "drawdown", "profit_factor", "min_trades"}
    assert Evaluation.from_json(evaluation.to_json()) == evaluation


def test_exceeding_the_drawdown_limit_prunes_the_trial(prepared):
    evaluation = evaluate(level_of(drawdown_limit=0.001), prepared, PARAMETERS, OPEN)

    assert evaluation.state is TrialOutcome.PRUNED
    assert len(evaluation.intermediate) == 1
    assert evaluation.pruned_reason == "drawdown limit of 0.001 exceeded after coinbase/BTC-USD/H1"
    assert all(math.isfinite(violation) for violation in evaluation.constraints.values())


def test_remaining_datasets_count_as_flat_for_the_drawdown(prepared):
    """The drawdown of one dataset is averaged over all datasets of the same days."""
    alone = evaluate(level_of(drawdown_limit=1.0), prepared[:1], PARAMETERS, OPEN)
    drawdown = alone.metrics["max_drawdown_intrabar"]

    evaluation = evaluate(level_of(drawdown_limit=drawdown * 0.99), prepared, PARAMETERS, OPEN)

    assert len(evaluation.intermediate) > 1


def test_a_trial_without_a_trade_is_complete_finite_and_infeasible():
    """Also if a level has no target for trades and win rate."""
    level = lenient(
        datasets=DATASETS[:1],
        min_trades=MinTrades(train=0, validation=0),
        gate=Gate(win_rate=0.0, sharpe=-9, max_drawdown_intrabar=1, profit_factor=0.01),
    )
    flat = prepare_level(level, Part.TRAIN, read_flat)

    evaluation = evaluate(level, flat, PARAMETERS, [None])

    assert evaluation.state is TrialOutcome.COMPLETE
    assert evaluation.value == 0.0
    assert math.isnan(evaluation.intermediate[0])
    assert evaluation.constraints == {"win_rate": 1.0, "drawdown": -1.0, "profit_factor": 1.0, "min_trades": 1.0}


def test_a_gate_evaluation_is_never_pruned():
    level = level_of(drawdown_limit=0.001)
    validation = prepare_level(level, Part.VALIDATION, read_made)

    evaluation = evaluate_part(level, validation, PARAMETERS, Part.VALIDATION)

    assert evaluation.state is TrialOutcome.COMPLETE
    assert evaluation.constraints["min_trades"] == pytest.approx((10 - evaluation.metrics["trades"]) / 10)


def test_the_dataset_order_does_not_change_the_value(prepared):
    one = evaluate(lenient(), prepared, PARAMETERS, OPEN)
    other = evaluate(lenient(), prepared[::-1], PARAMETERS, OPEN)

    assert one.value == pytest.approx(other.value, rel=1e-10)
    assert one.metrics["trades"] == other.metrics["trades"]


@pytest.mark.parametrize("direction", Direction)
def test_a_direction_restricts_the_traded_sides(prepared, direction):
    runs = [backtest(lenient(direction=direction), one, PARAMETERS) for one in prepared]
    sides = {int(side) for run in runs for side in run.trades["side"]}

    assert sides == {Direction.LONG: {1}, Direction.SHORT: {-1}, Direction.BOTH: {1, -1}}[direction]


def test_costs_of_a_level_apply_to_trades(prepared):
    run = backtest(lenient(), prepared[0], PARAMETERS)
    trade = run.trades[run.trades["reason"] != 2][0]
    notional = trade["units"] * (trade["entry_price"] + trade["exit_price"]) * 0.01

    assert trade["fees"] == pytest.approx(notional * 7e-4)


def test_a_step_beyond_the_thresholds_is_not_pruned(prepared):
    assert evaluate(lenient(), prepared, PARAMETERS, []).state is TrialOutcome.COMPLETE


def test_wrong_parameters_fail_the_trial(prepared):
    with pytest.raises(SettingsError, match=r"fast: expected 2\.\.100"):
        evaluate(lenient(), prepared, {**PARAMETERS, "fast": 4_000}, OPEN)


values = st.floats(-5, 5) | st.sampled_from([math.nan, 0.0, 1.0])
trials = st.lists(st.lists(values, min_size=3, max_size=3), max_size=8)


@given(trials, st.lists(values, min_size=1, max_size=3), st.integers(0, 5))
@settings(deadline=None, max_examples=150)
def test_pruning_equals_that_of_the_optuna_median_pruner(complete, reported, startup):
    study = optuna.create_study(direction="maximize", pruner=optuna.pruners.MedianPruner(n_startup_trials=startup))
    study.add_trials([_trial(optuna.trial.TrialState.COMPLETE, reported_by) for reported_by in complete])
    step = len(reported) - 1
    running = _trial(optuna.trial.TrialState.RUNNING, reported)

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN", RuntimeWarning)  # optuna's own, where no trial has a number
        expected = study.pruner.prune(study, running)

    assert is_pruned(reported, _median(complete, step, startup)) is bool(expected)


def _trial(state: optuna.trial.TrialState, intermediate: list[float]) -> optuna.trial.FrozenTrial:
    return optuna.trial.create_trial(
        state=state,
        value=0.0 if state is optuna.trial.TrialState.COMPLETE else None,
        intermediate_values=dict(enumerate(intermediate)),
    )


def _median(complete: list[list[float]], step: int, startup: int) -> float | None:
    """Thresholds of a request: None while the pruner is inactive, NaN without reported values."""
    if not complete or len(complete) < startup:
        return None
    numbers = [reported[step] for reported in complete if not math.isnan(reported[step])]
    return float(np.median(numbers)) if numbers else math.nan
