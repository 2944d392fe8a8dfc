"""TPE: the compiled estimator suggests what Optuna's suggests; known differences are tested."""

import math
from collections.abc import Iterator, Mapping

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import TPESampler
from optuna.samplers._tpe import _truncnorm
from optuna.trial import FrozenTrial, TrialState, create_trial

from optimizer.search import tpe
from optimizer.search.methods import parzen
from optimizer.search.methods.optuna_setup import trial_seed
from optimizer.search.sampler import SearchSpace, TrialHistory, ask

REAL = {"risk": FloatDistribution(0.001, 1.0, log=True), "stop": FloatDistribution(1.0, 5.0)}
WHOLE = {
    "fast": IntDistribution(5, 50),
    "grid": FloatDistribution(0.5, 3.0, step=0.25),
    "slow": IntDistribution(20, 200, step=10),
    "window": IntDistribution(2, 400, log=True),
}
MIXED = {**REAL, **WHOLE}


@pytest.fixture
def steady_order(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Use a stable sort, because the order of equal numbers in NumPy depends on the processor."""
    sort = np.argsort
    monkeypatch.setattr(np, "argsort", lambda values, **_: sort(values, kind="stable"))
    yield


def trials_of(distributions: Mapping[str, BaseDistribution], count: int, seed: int = 1) -> list[FrozenTrial]:
    """Complete, pruned, failed and infeasible trials at random points."""
    random = np.random.RandomState(seed)
    found = []
    for number in range(count):
        points = {name: drawn(each, random) for name, each in distributions.items()}
        value = round(float(random.normal()), 1)  # equal values happen
        state = [TrialState.COMPLETE, TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL][number % 4]
        steps = {step: value + step for step in range(number % 3)}
        trial = create_trial(
            state=state,
            value=value if state is TrialState.COMPLETE else None,
            params=points,
            distributions=dict(distributions),
            intermediate_values=steps | ({3: math.nan} if number % 7 == 2 else {}),
            constraints={"drawdown": value - 0.5, "trades": -1.0} if number % 5 else {},
        )
        trial.number = number
        found.append(trial)
    return found


def drawn(distribution: BaseDistribution, random: np.random.RandomState) -> float:
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    low, high, step = float(distribution.low), float(distribution.high), distribution.step or 0.0
    value = random.uniform(low, high)
    if step:
        value = low + round((value - low) / step) * step
    return int(value) if isinstance(distribution, IntDistribution) else value


def ours(distributions: Mapping[str, BaseDistribution], trials: list[FrozenTrial]) -> dict[str, float]:
    space = SearchSpace(seed=7, lag=1, distributions=distributions, repair=lambda parameters: parameters)
    history = TrialHistory(distributions)
    for trial in trials:
        history.append(trial)
    return ask(space, history, len(trials)).parameters


def theirs(distributions: Mapping[str, BaseDistribution], trials: list[FrozenTrial]) -> dict[str, float]:
    study = optuna.create_study(direction="maximize")
    study.add_trials(trials)
    study.sampler = TPESampler(seed=trial_seed(7, len(trials)), multivariate=True, constant_liar=False)
    return study.ask(dict(sorted(distributions.items()))).params


@pytest.mark.parametrize("count", [3, 14, 15, 40, 200])
@pytest.mark.parametrize("distributions", [REAL, WHOLE, MIXED], ids=["real", "whole", "mixed"])
def test_suggestions_equal_those_of_optuna(
    distributions: dict[str, BaseDistribution], count: int, steady_order: None
) -> None:
    for seed in range(3):
        trials = trials_of(distributions, count, seed)

        assert ours(distributions, trials) == pytest.approx(theirs(distributions, trials), rel=1e-10)


def test_categorical_parameters_use_optuna() -> None:
    distributions = {"kind": CategoricalDistribution(["a", "b"])}
    trials = []
    for number in range(20):
        kind = "ab"[number % 2]
        trials.append(create_trial(value=float(number % 3), params={"kind": kind}, distributions=distributions))
        trials[-1].number = number

    assert TrialHistory(distributions).axes is None
    assert ours(distributions, trials) == theirs(distributions, trials)


def test_without_numba_optuna_suggests(monkeypatch: pytest.MonkeyPatch) -> None:
    trials = trials_of(REAL, 60)
    compiled = ours(REAL, trials)
    monkeypatch.setattr(tpe, "is_compiled", lambda: False)

    assert TrialHistory(REAL).axes is None
    assert ours(REAL, trials) == pytest.approx(compiled, rel=1e-10)


def test_above_the_limit_the_best_and_latest_trials_are_used() -> None:
    order = list(range(0, 3000, 3)) + [place for place in range(3000) if place % 3]

    good, others = tpe.split(order[: tpe.MAX_BELOW], 3000)

    assert good == list(range(0, 75, 3))
    assert others == list(range(2700, 3000))


def test_up_to_the_limit_all_trials_are_used() -> None:
    order = list(range(299, -1, -1))

    good, others = tpe.split(order, 300)

    assert sorted(good + others) == list(range(300))
    assert good == list(range(275, 300))


@given(q=st.floats(0.001, 0.999), a=st.floats(-8, 6), width=st.floats(0.01, 12))
@settings(max_examples=200, deadline=None)
def test_quantiles_equal_those_of_optuna(q: float, a: float, width: float) -> None:
    found = parzen._truncated(q, a, a + width)
    expected = float(_truncnorm.ppf(np.array([q]), np.array([a]), np.array([a + width]))[0])

    assert a <= found + 1e-9
    assert found == pytest.approx(expected, rel=1e-7, abs=1e-9)


@given(a=st.floats(-30, 30), width=st.floats(1e-3, 20))
@settings(max_examples=200, deadline=None)
def test_probability_masses_equal_those_of_optuna(a: float, width: float) -> None:
    expected = float(_truncnorm._log_gauss_mass(np.array([a]), np.array([a + width]))[0])

    assert math.log(parzen._mass(a, a + width)) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("distributions", [REAL, WHOLE, MIXED])
def test_densities_of_candidates_behind_do_not_change_the_choice(distributions: Mapping[str, BaseDistribution]) -> None:
    axes = tpe.SearchAxes.of(dict(sorted(distributions.items())))
    assert axes is not None
    random = np.random.RandomState(5)
    for count in range(1, 60):
        good, others = (
            axes.kernels(np.array([[drawn(distributions[name], random) for _ in range(size)] for name in axes.names]))
            for size in (1 + count // 4, 4 * count)
        )
        steps = tpe.Steps.of(axes, good.draw(random))
        log_good = good.log_density(steps)
        assert others.least_dense(steps, log_good) == int(np.argmax(log_good - others.log_density(steps)))
