"""Sampler: trial requests depend on the seed and the visible trials alone."""

import math
from collections.abc import Mapping

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.pruners import MedianPruner
from optuna.trial import FrozenTrial, TrialState, create_trial

from optimizer.level.metric_names import METRICS
from optimizer.level.spec import Parameters
from optimizer.objective.trial_result import CONSTRAINTS, Evaluation, TrialOutcome
from optimizer.search.sampler import SearchSpace, TrialHistory, TrialRequest, ask
from optimizer.search.trials import TrialOrigin, failed_trial, finished_trial

DISTRIBUTIONS = {"slow": IntDistribution(20, 200), "fast": IntDistribution(5, 50), "stop": FloatDistribution(1.0, 5.0)}
ORIGIN = TrialOrigin(worker="here", started=1.0, seconds=0.5)


def repair(parameters: Parameters) -> Parameters:
    return parameters | {"slow": max(int(parameters["slow"]), int(parameters["fast"]) + 5)}


def space(**changes: object) -> SearchSpace:
    facts = {"seed": 7, "lag": 4, "distributions": DISTRIBUTIONS, "repair": repair} | changes
    return SearchSpace(**facts)


def trial_of(trial_request: TrialRequest) -> FrozenTrial:
    """A smooth objective with steps, an infeasible region, pruned and failed trials."""
    fast, slow, stop = (float(trial_request.parameters[name]) for name in ("fast", "slow", "stop"))
    if trial_request.number % 11 == 5:
        return failed_trial(trial_request, DISTRIBUTIONS, "ZeroDivisionError: division by zero", ORIGIN)
    value = -((fast - 20) ** 2) / 100 - ((slow - 90) ** 2) / 1000 - (stop - 2) ** 2
    evaluation = Evaluation(
        state=TrialOutcome.PRUNED if trial_request.number % 7 == 3 else TrialOutcome.COMPLETE,
        value=value,
        intermediate=(value - 1, math.nan, value),
        constraints={**dict.fromkeys(CONSTRAINTS, -1.0), "drawdown": stop - 4},
        metrics=dict.fromkeys(METRICS, value),
        pruned_reason="below" if trial_request.number % 7 == 3 else None,
    )
    return finished_trial(trial_request, DISTRIBUTIONS, evaluation, ORIGIN)


def asked_in_order(asked: SearchSpace, trials: int) -> list[FrozenTrial]:
    history, finished = TrialHistory(asked.distributions), []
    for number in range(trials):
        while len(history) < asked.visible(number):
            history.append(finished[len(history)])
        finished.append(trial_of(ask(asked, history, number)))
    return finished


def history_of(
    trials: list[FrozenTrial], distributions: Mapping[str, optuna.distributions.BaseDistribution] = DISTRIBUTIONS
) -> TrialHistory:
    history = TrialHistory(distributions)
    for trial in trials:
        history.append(trial)
    return history


def test_a_request_is_the_same_from_a_rebuilt_history() -> None:
    trials = asked_in_order(space(), 40)

    rebuilt = ask(space(), history_of(trials[: space().visible(39)]), 39)

    assert rebuilt.parameters == trials[39].params


def test_another_seed_samples_other_parameters() -> None:
    one, other = (asked_in_order(space(seed=seed), 3) for seed in (1, 2))

    assert [trial.params for trial in one] != [trial.params for trial in other]


@given(lag=st.integers(1, 9), order=st.randoms(use_true_random=False))
@settings(max_examples=8, deadline=None)
def test_any_order_of_completion_gives_the_same_trials(lag: int, order: st.DataObject) -> None:
    asked = space(lag=lag)
    expected = [trial.params for trial in asked_in_order(asked, 24)]

    history, opened, done = TrialHistory(DISTRIBUTIONS), {}, {}
    while len(done) < 24:
        while (number := len(opened)) < 24 and all(seen in done for seen in range(asked.visible(number))):
            while len(history) < asked.visible(number):
                history.append(done[len(history)])
            opened[number] = ask(asked, history, number)
        number = order.choice(sorted(opened.keys() - done.keys()))
        done[number] = trial_of(opened[number])

    assert [done[number].params for number in range(24)] == expected


def test_a_trial_has_the_repaired_parameters() -> None:
    trials = asked_in_order(space(distributions=DISTRIBUTIONS | {"slow": IntDistribution(20, 60)}), 12)

    assert all(trial.params["slow"] >= trial.params["fast"] + 5 for trial in trials)


def test_inherited_points_come_first() -> None:
    points = ({"fast": 11, "slow": 77, "stop": 2.5}, {"fast": 12})

    first, second = (
        ask(space(first_points=points), TrialHistory(DISTRIBUTIONS), number).parameters for number in (0, 1)
    )

    assert first == points[0]
    assert second["fast"] == 12
    assert second.keys() == DISTRIBUTIONS.keys()


def test_a_repeated_point_takes_the_stored_result() -> None:
    asked = space(lag=1, distributions={"fast": IntDistribution(5, 6), "slow": IntDistribution(30, 30)})
    history = TrialHistory(asked.distributions)
    complete = create_trial(value=1.0, params={"fast": 5, "slow": 30}, distributions=dict(asked.distributions))
    complete.number = 0
    history.append(complete)

    trial_request = ask(space(lag=1, distributions=asked.distributions, first_points=({}, {"fast": 5})), history, 1)

    assert trial_request.known is complete


def test_a_failed_point_is_evaluated_again() -> None:
    asked = space(lag=1, first_points=({"fast": 9, "slow": 50, "stop": 2.0},) * 2)
    history = TrialHistory(DISTRIBUTIONS)
    history.append(failed_trial(ask(asked, history, 0), DISTRIBUTIONS, "killed", ORIGIN))

    assert ask(asked, history, 1).known is None


@pytest.mark.parametrize(
    ("distribution", "only"),
    [
        pytest.param(IntDistribution(3, 3), 3, id="int"),
        pytest.param(FloatDistribution(1.5, 1.5), 1.5, id="float"),
        pytest.param(CategoricalDistribution(["off"]), "off", id="choice"),
    ],
)
def test_a_range_of_one_value_is_not_searched(
    distribution: optuna.distributions.BaseDistribution, only: object
) -> None:
    asked = space(distributions={"it": distribution}, repair=lambda parameters: parameters)

    assert ask(asked, TrialHistory(asked.distributions), 0).parameters == {"it": only}


@given(
    st.lists(
        st.lists(st.floats(-10, 10) | st.just(math.nan), min_size=1, max_size=4),
        min_size=0,
        max_size=12,
    ),
    st.lists(st.floats(-10, 10), min_size=1, max_size=4),
)
@settings(max_examples=30, deadline=None)
def test_thresholds_prune_like_the_median_pruner(past: list[list[float]], ours: list[float]) -> None:
    study = optuna.create_study(direction="maximize", pruner=MedianPruner())
    study.add_trials(create_trial(value=0.0, intermediate_values=dict(enumerate(values))) for values in past)
    limits = history_of(study.trials, {}).thresholds()
    for step in range(len(ours)):
        trial = create_trial(state=TrialState.RUNNING, intermediate_values=dict(enumerate(ours[: step + 1])))
        if not any(not math.isnan(values[step]) for values in past if len(values) > step):
            continue  # Optuna warns of a step without a number; nothing is pruned there.
        limit = limits[step] if step < len(limits) else None

        assert (limit is not None and max(ours[: step + 1]) < limit) == MedianPruner().prune(study, trial)


def test_nothing_is_pruned_before_five_complete_trials() -> None:
    trials = [create_trial(value=1.0, intermediate_values={0: 1.0}) for _ in range(5)]
    for number, trial in enumerate(trials):
        trial.number = number

    assert history_of(trials[:4], {}).thresholds() == ()
    assert history_of(trials, {}).thresholds() == (1.0,)
