"""Pruners: the same decisions as Optuna's, from the visible trials alone."""

import math
import random
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna import create_study
from optuna.pruners import BasePruner, MedianPruner, PercentilePruner
from optuna.trial import FrozenTrial, TrialState, create_trial

from optimizer.level.search_methods import HyperbandOptions, PrunerSpec
from optimizer.objective.objective import is_pruned
from optimizer.search.methods.pruners import HyperbandPruner, pruner_of, quantile

numbers = st.lists(st.floats(-10, 10) | st.just(math.nan), min_size=1, max_size=4)


def finished(number: int, values: list[float], *, is_cut: bool = False) -> FrozenTrial:
    trial = create_trial(
        state=TrialState.PRUNED if is_cut else TrialState.COMPLETE,
        value=0.0,
        intermediate_values=dict(enumerate(values)),
    )
    trial.number = number
    return trial


def decided(pruner: BasePruner, earlier: list[FrozenTrial], values: list[float]) -> bool:
    study = create_study(direction="maximize")
    study.add_trials(earlier)
    trial = create_trial(state=TrialState.RUNNING, intermediate_values=dict(enumerate(values)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of numpy, on NaN alone
        return pruner.prune(study, trial)


@given(
    st.lists(numbers, max_size=9), numbers, st.integers(0, 100), st.integers(0, 2), st.integers(1, 2), st.integers(1, 3)
)
def test_the_percentile_pruner_decides_as_optuna_s(
    earlier: list[list[float]], values: list[float], percentile: int, warm_up: int, interval: int, enough: int
) -> None:
    trials = [finished(number, each, is_cut=number % 4 == 3) for number, each in enumerate(earlier)]
    options = {"n_startup_trials": 2, "n_warmup_steps": warm_up, "interval_steps": interval, "n_min_trials": enough}
    ours = pruner_of(PrunerSpec(name="percentile", options={**options, "percentile": percentile}), 7, 4)
    for trial in trials:
        ours.append(trial)
    thresholds = ours.thresholds(99)
    step = len(values) - 1
    has_reports = any(step in trial.intermediate_values for trial in trials if trial.state is TrialState.COMPLETE)

    if has_reports:  # without a report, Optuna prunes NaN alone
        expected = decided(PercentilePruner(float(percentile), **options), trials, values)
        assert is_pruned(values, thresholds[step] if step < len(thresholds) else None, "percentile") == expected


def test_the_median_is_the_fiftieth_percentile() -> None:
    trials = [finished(number, [float(number)]) for number in range(6)]
    ours = pruner_of(PrunerSpec(name="median"), 7, 1)
    for trial in trials:
        ours.append(trial)

    assert ours.thresholds(6) == (2.5,)
    assert decided(MedianPruner(), trials, [2.4])
    assert not decided(MedianPruner(), trials, [2.5])


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=9), st.integers(0, 100))
def test_a_quantile_is_numpy_s(values: list[float], percent: int) -> None:
    import numpy as np

    assert quantile(sorted(values), percent / 100) == float(np.percentile(values, percent))


def hyperband(steps: int = 9, **options: int) -> HyperbandPruner:
    return HyperbandPruner(HyperbandOptions(**options), 7, steps)


def test_each_bracket_compares_after_its_own_number_of_datasets() -> None:
    pruner = hyperband()
    checked = {
        pruner.bracket(number): [step for step, each in enumerate(pruner.thresholds(number)) if each is not None]
        for number in range(100)
    }

    assert checked == {0: [0, 2], 1: [2], 2: []}


def test_brackets_with_more_comparisons_get_more_trials() -> None:
    counts = [sum(hyperband().bracket(number) == bracket for number in range(600)) for bracket in range(3)]

    assert counts[0] > counts[1] > 0
    assert counts[2] > 0
    assert sum(counts) == 600


def test_a_trial_continues_among_the_best_third_of_its_bracket() -> None:
    pruner = hyperband()
    members = [number for number in range(100) if pruner.bracket(number) == 0][:7]
    for place, number in enumerate(members[:6]):
        pruner.append(finished(number, [float(place)]))
    threshold = pruner.thresholds(members[6])[0]

    assert threshold == 4.0  # two of seven continue
    assert is_pruned([3.9], threshold, "hyperband")
    assert not is_pruned([4.0], threshold, "hyperband")
    assert is_pruned([9.0, 3.0], threshold, "hyperband")  # the last value decides
    assert is_pruned([math.nan], threshold, "hyperband")


def test_the_first_trial_of_a_bracket_continues() -> None:
    pruner = hyperband()
    first = next(number for number in range(100) if pruner.bracket(number) == 0)

    assert not is_pruned([-1e300], pruner.thresholds(first)[0], "hyperband")


@pytest.mark.parametrize("steps", [1, 2])
def test_few_datasets_leave_little_to_compare(steps: int) -> None:
    pruner = hyperband(steps)

    for number in random.Random(1).sample(range(1000), 20):
        assert [each for each in pruner.thresholds(number)[steps - 1 :] if each is not None] == []
