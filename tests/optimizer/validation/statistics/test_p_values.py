"""P-values: Monte Carlo, Fisher's combination, and the days until they change."""

import math

import numpy as np
import pytest
from scipy import stats

from optimizer.validation.statistics.p_values import fisher, further_days, monte_carlo_p, needed_p

TWO_PARTS = [(0.05, 0.05), (0.001, 0.9), (0.5, 0.5), (1.0, 1.0)]


def test_a_monte_carlo_p_is_never_zero_and_counts_ties() -> None:
    assert monte_carlo_p(3.0, [0.0, 1.0, 2.0]) == 0.25
    assert monte_carlo_p(1.0, [0.0, 1.0, 2.0]) == 0.75
    assert monte_carlo_p(1.0, []) == 1.0


def test_a_monte_carlo_p_equals_that_of_scipy() -> None:
    random = np.random.default_rng(3)
    null = random.normal(size=199)
    result = stats.monte_carlo_test(
        np.array([0.9]),
        lambda size: null.reshape(size),
        lambda sample, axis: sample.mean(axis),
        n_resamples=199,
        alternative="greater",
    )

    assert monte_carlo_p(0.9, list(null)) == pytest.approx(result.pvalue)


def test_monte_carlo_p_values_are_uniform_without_skill() -> None:
    random = np.random.default_rng(1)
    found = [monte_carlo_p(values[0], list(values[1:])) for values in random.normal(size=(2_000, 20))]

    assert stats.chisquare(np.bincount(np.rint(np.array(found) * 20).astype(int), minlength=21)[1:]).pvalue > 0.01


@pytest.mark.parametrize("p_values", TWO_PARTS)
def test_fishers_combination_equals_that_of_scipy(p_values: tuple[float, float]) -> None:
    assert fisher(p_values) == pytest.approx(stats.combine_pvalues(p_values, method="fisher").pvalue)


def test_one_p_value_stays_as_it_is_and_none_is_no_evidence() -> None:
    assert fisher([0.03]) == pytest.approx(0.03)
    assert fisher([]) == 1.0
    assert fisher([0.0, 0.0]) == pytest.approx(0.0)


def test_combined_p_values_without_skill_are_uniform() -> None:
    found = [fisher(tuple(pair)) for pair in np.random.default_rng(2).random((1_000, 2))]

    assert stats.kstest(found, "uniform").pvalue > 0.01


@pytest.mark.parametrize("other", [1 / 21, 0.3])
@pytest.mark.parametrize("bound", [0.01, 0.05])
def test_the_needed_p_gives_the_bound(other: float, bound: float) -> None:
    assert fisher([other, needed_p([other], bound)]) == pytest.approx(bound)
    assert needed_p([], bound) == pytest.approx(bound)


def test_further_days_at_the_same_pace_grow_with_the_square_of_t() -> None:
    found = further_days(1.2, 400, 1.2 / math.sqrt(400), 0.01)

    assert found == pytest.approx(400 * (stats.norm.isf(0.01) / 1.2) ** 2 - 400)


@pytest.mark.parametrize("pace", [0.02, 0.05, 0.2])
@pytest.mark.parametrize(("t", "days"), [(0.0, 0), (-1.0, 200), (1.5, 300), (0.5, 900)])
def test_after_the_further_days_the_statistic_is_at_its_bound(t: float, days: int, pace: float) -> None:
    found = further_days(t, days, pace, 0.01)

    reached = (t * math.sqrt(days) + pace * found) / math.sqrt(days + found)
    assert reached == pytest.approx(stats.norm.isf(0.01))


def test_no_days_are_needed_or_none_are_enough() -> None:
    assert further_days(3.0, 100, 0.0, 0.01) == 0.0
    assert further_days(1.0, 100, 0.1, 1.2) == 0.0
    assert math.isinf(further_days(1.0, 100, 0.0, 0.01))
    assert math.isinf(further_days(1.0, 100, -0.1, 0.01))
