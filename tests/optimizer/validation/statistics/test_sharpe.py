"""Sharpe ratio inference: published numbers and other libraries' results."""

import dataclasses
import math

import numpy as np
import pytest

from optimizer.validation.statistics import sharpe
from optimizer.validation.statistics.sharpe import ReturnMoments, per_period

TRADING_DAYS = 250


def observed(skewness: float, kurtosis: float) -> ReturnMoments:
    """Bailey and Lopez de Prado (2014): a Sharpe ratio of 2.5 a year over 1,250 days."""
    return ReturnMoments(sharpe=per_period(2.5, TRADING_DAYS), periods=1250, skewness=skewness, kurtosis=kurtosis)


def monthly(periods: int, skewness: float = 0.0, kurtosis: float = 3.0) -> ReturnMoments:
    """Bailey and Lopez de Prado (2012): a Sharpe ratio of 0.458 a month."""
    return ReturnMoments(sharpe=0.458, periods=periods, skewness=skewness, kurtosis=kurtosis)


@pytest.mark.parametrize(
    ("trials", "moments", "published"),
    [
        pytest.param(100, observed(-3, 10), 0.9004, id="a hundred trials"),
        pytest.param(46, observed(-3, 10), 0.9505, id="46 trials"),
        pytest.param(88, observed(0, 3), 0.9505, id="88 trials of normal returns"),
    ],
)
def test_the_deflated_sharpe_ratio_equals_the_published_one(trials, moments, published):
    assert round(sharpe.deflated_sharpe(moments, 0.5 / TRADING_DAYS, trials), 4) == published


def test_the_deflated_benchmark_equals_the_published_one():
    assert round(sharpe.deflated_benchmark(0.5 / TRADING_DAYS, 100), 4) == 0.1132


@pytest.mark.parametrize(
    ("moments", "published"),
    [
        pytest.param(monthly(24), 0.982, id="two years, normal"),
        pytest.param(monthly(24, -2.448, 10.164), 0.913, id="two years, skewed"),
        pytest.param(monthly(36, -2.448, 10.164), 0.953, id="three years, skewed"),
    ],
)
def test_the_probabilistic_sharpe_ratio_equals_the_published_one(moments, published):
    """0.458 is rounded: the published value lies between the results of both rounding bounds."""
    ends = [dataclasses.replace(moments, sharpe=ratio) for ratio in (0.4575, 0.458, 0.4585)]

    assert published in [round(sharpe.probabilistic_sharpe(end), 3) for end in ends]
    assert sharpe.probabilistic_sharpe(moments) == pytest.approx(published, abs=6e-4)


@pytest.mark.parametrize(
    ("periods_a_year", "skewness", "kurtosis", "published_years"),
    [
        pytest.param(250, 0.0, 3.0, 2.73, id="daily"),
        pytest.param(52, 0.0, 3.0, 2.83, id="weekly"),
        pytest.param(12, 0.0, 3.0, 3.24, id="monthly"),
        pytest.param(12, -0.72, 5.78, 4.99, id="monthly, skewed"),
    ],
)
def test_the_minimum_track_record_equals_the_published_one(periods_a_year, skewness, kurtosis, published_years):
    """Minimum track record to distinguish a yearly Sharpe ratio of 2 from 1."""
    moments = ReturnMoments(sharpe=per_period(2, periods_a_year), periods=1, skewness=skewness, kurtosis=kurtosis)

    periods = sharpe.minimum_track_record(moments, per_period(1, periods_a_year))

    assert round(periods / periods_a_year, 2) == published_years


def test_below_the_benchmark_no_track_record_is_long_enough():
    assert sharpe.minimum_track_record(monthly(24), 0.5) == math.inf


def test_the_expected_maximum_of_ten_equals_the_published_one():
    assert round(sharpe.expected_maximum(10), 2) == 1.57
    assert sharpe.expected_maximum(1) == 0.0


@pytest.mark.parametrize(
    ("ratio", "periods", "published"), [(1.5, 60, 0.188), (3.0, 60, 0.303), (0.5, 12, 0.306), (2.0, 24, 0.354)]
)
def test_standard_errors_of_normal_returns_match_the_table_of_lo(ratio, periods, published):
    moments = ReturnMoments(sharpe=ratio, periods=periods)

    assert round(math.sqrt(moments.spread / periods), 3) == published


def test_constant_returns_give_no_inference():
    moments = ReturnMoments.of(np.zeros(10))

    assert math.isnan(sharpe.probabilistic_sharpe(moments))


def test_results_equal_those_of_skfolio(skewed):
    measures = pytest.importorskip("skfolio.measures")
    moments, tried = ReturnMoments.of(skewed), np.random.default_rng(8).normal(0, 0.05, 150)
    variance = float(tried.var(ddof=1))

    assert sharpe.probabilistic_sharpe(moments, 0.02) == pytest.approx(
        measures.probabilistic_sharpe_ratio(skewed, 0.02), rel=1e-12
    )
    assert sharpe.deflated_sharpe(moments, variance, 150) == pytest.approx(
        measures.deflated_sharpe_ratio(skewed, tried), rel=1e-12
    )
    assert sharpe.deflated_benchmark(variance, 37.5) == pytest.approx(
        measures.expected_max_sharpe_ratio(37.5, variance**0.5), rel=1e-12
    )


@pytest.fixture
def skewed() -> np.ndarray:
    random = np.random.default_rng(3)
    return random.normal(0.001, 0.01, 500) - 0.02 * (random.random(500) < 0.03)


@pytest.mark.parametrize(("correlation", "expected"), [(0.0, 40.0), (0.5, 20.5), (1.0, 1.0)])
def test_correlated_trials_reduce_the_effective_count(correlation, expected):
    random = np.random.default_rng(5)
    common = random.normal(size=(20_000, 1))
    own = random.normal(size=(20_000, 40))
    returns = math.sqrt(correlation) * common + math.sqrt(1 - correlation) * own

    assert sharpe.effective_trials(returns) == pytest.approx(expected, rel=0.03)


def test_trials_without_trades_are_not_counted():
    returns = np.random.default_rng(5).normal(size=(300, 6))
    returns[:, 2:] = 0.0

    assert 1.0 <= sharpe.effective_trials(returns) <= 2.0
    assert sharpe.effective_trials(np.zeros((300, 6))) == 0.0
