"""Alpha: coefficients and errors as in statsmodels, and p-values that are uniform without skill."""

import math

import numpy as np
import pytest
from scipy import stats

from optimizer.validation.statistics.alpha import alpha_of, newey_west_lags, upper_tail

SEEDS = 400
DAYS = 1_000


def market(seed: int, days: int = DAYS, drift: float = 0.0004) -> np.ndarray:
    """Daily returns of a market with volatility clusters (GARCH(1,1)) and Student's t shocks."""
    random, variance, found = np.random.default_rng(seed), 4e-4, np.empty(days)
    shocks = random.standard_t(5, days) / math.sqrt(5 / 3)
    for day in range(days):
        found[day] = math.sqrt(variance) * shocks[day]
        variance = 1e-5 + 0.07 * found[day] ** 2 + 0.9 * variance
    return found + drift


def positions(seed: int, days: int = DAYS, kept: float = 0.9) -> np.ndarray:
    """A position of -1, 0 or 1 that knows nothing of the market and is kept for some days."""
    random = np.random.default_rng([seed, 1])
    drawn, held = random.integers(-1, 2, days), np.empty(days)
    changes = random.random(days) > kept
    for day in range(days):
        held[day] = drawn[day] if changes[day] or not day else held[day - 1]
    return held


@pytest.mark.parametrize("seed", range(5))
def test_alpha_beta_and_error_equal_those_of_statsmodels(seed: int) -> None:
    linear_model = pytest.importorskip("statsmodels.regression.linear_model")
    benchmark = market(seed)
    returns = 0.3 * benchmark + 0.0003 + np.convolve(market(seed + 100), [0.6, 0.3, 0.1], "same")
    lags = newey_west_lags(DAYS)
    expected = linear_model.OLS(returns, np.column_stack([np.ones(DAYS), benchmark])).fit(
        cov_type="HAC", cov_kwds={"maxlags": lags, "kernel": "bartlett", "use_correction": True}
    )

    found = alpha_of(returns, benchmark)

    assert (found.lags, found.periods) == (6, DAYS)
    assert [found.alpha, found.beta] == pytest.approx(expected.params, rel=1e-9)
    assert found.standard_error == pytest.approx(expected.bse[0], rel=1e-9)
    assert found.t == pytest.approx(expected.tvalues[0], rel=1e-9)
    assert found.p == pytest.approx(stats.t.sf(expected.tvalues[0], DAYS - 2), rel=1e-9)


def test_the_number_of_lags_follows_the_published_rule() -> None:
    assert [newey_west_lags(days) for days in (0, 1, 2, 100, 365, 1461, 2373)] == [0, 0, 1, 4, 5, 7, 8]


@pytest.mark.parametrize(
    ("returns", "benchmark"),
    [
        (np.zeros(50), market(1, 50)),
        (np.full(50, 0.01), market(1, 50)),
        (market(1, 50), market(1, 50)),
        (0.25 * market(1, 50), market(1, 50)),
        (np.array([0.1, 0.2]), np.array([0.1, 0.3])),
        (np.array([]), np.array([])),
    ],
    ids=["cash", "constant", "the market itself", "a share of the market", "two days", "no day"],
)
def test_an_account_without_a_result_of_its_own_is_no_evidence(returns: np.ndarray, benchmark: np.ndarray) -> None:
    found = alpha_of(returns, benchmark)

    assert found.t == 0.0
    assert found.p >= 0.5


def test_a_constant_benchmark_explains_nothing() -> None:
    returns = market(2, 200)

    found = alpha_of(returns, np.zeros(200))

    assert (found.beta, found.coefficients) == (0.0, 1)
    assert found.alpha == pytest.approx(returns.mean())


def test_the_size_of_the_account_does_not_change_t() -> None:
    benchmark, returns = market(1), positions(1) * market(1) + 0.0002

    assert alpha_of(0.2 * returns, benchmark).t == pytest.approx(alpha_of(returns, benchmark).t)


@pytest.mark.parametrize("drift", [0.0, 0.002], ids=["no drift", "strong drift"])
@pytest.mark.parametrize("days", [DAYS, 250])
def test_p_values_without_skill_are_uniform(drift: float, days: int) -> None:
    """A strategy that is long two thirds of the time shares the drift, which is no skill."""
    found = []
    for seed in range(SEEDS):
        traded = market(seed, days, drift)
        held = np.maximum(positions(seed, days), 0) + 0.5
        found.append(alpha_of(held * traded, traded).p)

    assert stats.kstest(found, "uniform").pvalue > 0.01
    assert np.mean(np.array(found) <= 0.05) <= 0.08


def test_a_t_test_of_the_mean_would_count_drift_as_skill() -> None:
    """The reason for the regression: of the same accounts, the plain mean looks significant in most."""
    found = []
    for seed in range(100):
        traded = market(seed, drift=0.002)
        found.append(alpha_of((np.maximum(positions(seed), 0) + 0.5) * traded, np.zeros(DAYS)).p)

    assert np.mean(np.array(found) <= 0.05) > 0.5


def test_intervals_of_alpha_cover_the_true_value() -> None:
    """Two standard errors around alpha, by Student's t: 95 % nominal, with autocorrelated returns."""
    true, covered = 0.0004, 0
    for seed in range(SEEDS):
        noise = np.convolve(market(seed, DAYS + 2, 0.0), [0.8, 0.15, 0.05], "valid")
        benchmark = market(seed + 10_000)
        found = alpha_of(true + 0.5 * benchmark + noise, benchmark)
        covered += abs(found.alpha - true) <= stats.t.ppf(0.975, DAYS - 2) * found.standard_error

    assert 0.93 <= covered / SEEDS <= 0.97


def test_the_upper_tail_equals_that_of_scipy() -> None:
    assert upper_tail(2.5, 40) == pytest.approx(stats.t.sf(2.5, 40))
    assert upper_tail(9.0, 0) == 1.0
