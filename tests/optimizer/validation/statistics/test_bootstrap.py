"""Bootstrap: block lengths as in other libraries, and interval coverage."""

import math

import numpy as np
import pytest

from optimizer.validation.statistics import bootstrap
from optimizer.validation.statistics.bootstrap import block_length, resampled_days, sharpe_ratios


def correlated(rho: float, seed: int, count: int = 1461) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0.0005, 0.01, count)
    for day in range(1, count):
        noise[day] += rho * noise[day - 1]
    return noise


@pytest.mark.parametrize("rho", [0.0, 0.1, 0.3, 0.6])
@pytest.mark.parametrize("seed", [1, 2])
def test_block_lengths_equal_those_of_arch(rho, seed):
    arch = pytest.importorskip("arch.bootstrap")
    returns = correlated(rho, seed)

    assert block_length(returns) == pytest.approx(max(1.0, arch.optimal_block_length(returns).iloc[0, 0]), rel=1e-9)


@pytest.mark.parametrize("returns", [np.zeros(100), np.array([0.1, 0.2]), np.array([])])
def test_a_constant_series_has_blocks_of_one_day(returns):
    assert block_length(returns) == 1.0


def test_days_within_a_block_are_consecutive():
    places = np.concatenate(list(resampled_days(300, 10.0, seed=4, resamples=1_500)), axis=1)

    follows = places[1:] == (places[:-1] + 1) % 300

    assert places.shape == (300, 1_500)
    assert np.bincount(places.ravel(), minlength=300).min() > 1_000
    assert follows.mean() == pytest.approx(0.9 + 0.1 / 300, abs=0.003)


def test_the_same_seed_gives_the_same_interval():
    returns = correlated(0.2, 3, 400)

    assert bootstrap.interval(returns, sharpe_ratios, 7, resamples=500) == bootstrap.interval(
        returns, sharpe_ratios, 7, resamples=500
    )
    assert bootstrap.interval(returns, sharpe_ratios, 7, resamples=500) != bootstrap.interval(
        returns, sharpe_ratios, 8, resamples=500
    )


def test_the_interval_equals_that_of_arch():
    """Random draws differ between the libraries; both bounds agree within a tenth of the interval width."""
    arch = pytest.importorskip("arch.bootstrap")
    returns = correlated(0.3, 5, 700)
    resampler = arch.StationaryBootstrap(block_length(returns), returns, seed=1)
    expected = resampler.conf_int(lambda drawn: drawn.mean() / drawn.std(ddof=1), 3_000, method="percentile").ravel()

    low, high = bootstrap.interval(returns, sharpe_ratios, 7, resamples=3_000)

    width = expected[1] - expected[0]
    assert low == pytest.approx(expected[0], abs=width / 10)
    assert high == pytest.approx(expected[1], abs=width / 10)


def test_any_statistic_has_an_interval():
    returns = correlated(0.0, 5, 300)

    low, high = bootstrap.interval(returns, lambda drawn: (drawn > 0).mean(axis=0), 3, resamples=400)

    assert low < (returns > 0).mean() < high


@pytest.mark.parametrize("returns", [np.zeros(50), np.array([0.1]), np.array([])])
def test_constant_returns_have_no_interval(returns):
    assert all(math.isnan(bound) for bound in bootstrap.interval(returns, sharpe_ratios, 1, resamples=50))


def test_a_constant_column_has_no_ratio():
    ratios = sharpe_ratios(np.array([[0.0, 1.0], [0.0, 2.0], [0.0, 3.0]]))

    assert math.isnan(ratios[0])
    assert ratios[1] == 2.0
