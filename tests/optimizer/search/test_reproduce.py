"""Reproduction: a recorded trial is byte-identical, or its differences are named."""

import optuna
import pytest
from optuna.trial import FrozenTrial

from optimizer.level.spec import Part
from optimizer.objective.objective import evaluate, prepare_level, repair
from optimizer.search.reproduce import differences, evaluated_number
from optimizer.search.sampler import SearchSpace, TrialHistory, ask
from optimizer.search.space import distributions
from optimizer.search.trials import TrialOrigin, failed_trial, finished_trial, repeated_trial
from tests.factories.levels import level_of, read_made

LEVEL = level_of(("coinbase/BTC-USD/H1", "oanda/EUR-USD/H1"), trials=14, lag=2)
SPACE = SearchSpace(
    seed=7, lag=LEVEL.lag, distributions=distributions(LEVEL), repair=lambda parameters: repair(LEVEL, parameters)
)
SOMEWHERE = TrialOrigin(worker="elsewhere", started=1.0, seconds=2.0)


@pytest.fixture(scope="module")
def train():
    return prepare_level(LEVEL, Part.TRAIN, read_made)


@pytest.fixture
def trials(train) -> list[FrozenTrial]:
    """Trials as a coordinator records them."""
    found: list[FrozenTrial] = []
    history = TrialHistory(SPACE.distributions)
    for number in range(LEVEL.trials):
        while len(history) < SPACE.visible(number):
            history.append(found[len(history)])
        trial_request = ask(SPACE, history, number)
        evaluation = evaluate(LEVEL, train, trial_request.parameters, trial_request.thresholds)
        found.append(finished_trial(trial_request, SPACE.distributions, evaluation, SOMEWHERE))
    return found


def test_every_trial_is_reproduced(trials, train) -> None:
    assert {trial.state.name for trial in trials} == {"COMPLETE", "PRUNED"}

    for number in range(len(trials)):
        assert differences(LEVEL, SPACE, trials, number, train) == []


@pytest.mark.parametrize(
    ("column", "change"),
    [
        ("value", lambda trial: setattr(trial, "value", trial.value + 1e-11)),
        ("metric_sharpe", lambda trial: trial.user_attrs["metrics"].update(sharpe=0.1)),
        ("params_fast", lambda trial: trial.params.update(fast=6)),
        ("constraint_drawdown", lambda trial: trial.constraints.update(drawdown=0.5)),
        ("intermediate_0", lambda trial: trial.intermediate_values.update({0: 0.5})),
    ],
)
def test_a_changed_byte_is_reported(trials, train, column: str, change) -> None:
    number = next(trial.number for trial in trials if trial.state.name == "COMPLETE" and trial.params["fast"] != 6)
    if column == "constraint_drawdown":
        system = trials[number].system_attrs
        key = next(name for name in system if "drawdown" in name)
        system[key] = 0.5
    else:
        change(trials[number])

    found = differences(LEVEL, SPACE, trials, number, train)

    assert column in [each.column for each in found]
    assert str(found[0]).count("recorded") == 1


def test_a_failed_trial_fails_again_for_the_same_reason(trials, train) -> None:
    number = 3
    trial_request = ask(SPACE, _history(trials, number), number)
    reason = "SettingsError: strategy 'sma_cross' has no speed: it has fast, slow, atr_period, stop_atr, target_atr"
    trials[number] = failed_trial(trial_request, SPACE.distributions, reason, SOMEWHERE)

    found = differences(LEVEL, SPACE, trials, number, train)

    assert "state" in [each.column for each in found], "it does not fail here: that is a difference"


def test_a_repeated_trial_equals_its_original(trials) -> None:
    trial_request = ask(SPACE, _history(trials, 5), 5)
    trials[5] = repeated_trial(trial_request, trials[2], now=0.0)
    trials[9] = repeated_trial(trial_request, trials[5], now=0.0)

    assert evaluated_number(trials, 9) == 2
    assert evaluated_number(trials, 4) == 4


def _history(trials, number: int) -> TrialHistory:
    history = TrialHistory(SPACE.distributions)
    for trial in trials[: SPACE.visible(number)]:
        history.append(trial)
    return history


def test_optuna_logs_nothing(capsys: pytest.CaptureFixture[str], trials) -> None:
    optuna.create_study()

    assert capsys.readouterr().err == ""
