"""The confidence sequence: against a plain computation, its coverage and its power by simulation."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import bernoulli, beta

from optimizer.validation.statistics.confidence_sequence import BETS, ConfidenceSequence, Limits, log_capital

DEVIATION = 0.005
BOUND = 8 * DEVIATION
DAYS, STREAMS, ALPHA = 1_095, 1_000, 0.05
Floats = np.ndarray
Noise = Callable[[np.random.Generator, int, int], Floats]


def normal(random: np.random.Generator, streams: int, days: int) -> Floats:
    return random.standard_normal((streams, days))


def student_t(random: np.random.Generator, streams: int, days: int) -> Floats:
    return random.standard_t(4, (streams, days)) / math.sqrt(2)


def clustered(random: np.random.Generator, streams: int, days: int) -> Floats:
    """GARCH(1, 1) of T. Bollerslev (1986), J. of Econometrics 31:307-327, with a variance of 1 on average."""
    found, variance = np.empty((streams, days)), np.ones(streams)
    for day in range(days):
        found[:, day] = np.sqrt(variance) * random.standard_normal(streams)
        variance = 0.02 + 0.10 * found[:, day] ** 2 + 0.88 * variance
    return found


def crashes(random: np.random.Generator, streams: int, days: int) -> Floats:
    """Many small gains and rare losses of up to twelve deviations that cancel them on average."""
    return 1 - random.exponential(1, (streams, days))


NOISES = {each.__name__: each for each in (normal, student_t, clustered, crashes)}


def deciding_day(noise: Noise, sharpe: float, *, streams: int = STREAMS, days: int = DAYS, seed: int = 1) -> Floats:
    """The first day of each stream at which zero is rejected; infinite if none."""
    returns = DEVIATION * (noise(np.random.default_rng(seed), streams, days) + sharpe / math.sqrt(365))
    reached = log_capital(returns, mean=0.0, bound=BOUND, deviation=DEVIATION) >= -math.log(ALPHA)
    return np.where(reached.any(axis=1), reached.argmax(axis=1) + 1.0, np.inf)


@pytest.mark.parametrize("name", NOISES)
def test_without_an_edge_one_stream_in_twenty_is_rejected_at_most_in_three_years_of_daily_looks(name: str) -> None:
    wrong = int(np.isfinite(deciding_day(NOISES[name], 0.0)).sum())
    upper = float(beta.ppf(0.95, wrong + 1, STREAMS - wrong))  # Clopper-Pearson

    assert 0 < wrong <= ALPHA * STREAMS
    assert upper < 0.065


@pytest.mark.parametrize("name", NOISES)
def test_the_limits_cover_the_mean_at_all_times(name: str) -> None:
    """Both limits, with a mean that is not zero: at most one stream in ten is ever outside."""
    mean = 1.5 * DEVIATION / math.sqrt(365)
    returns = DEVIATION * NOISES[name](np.random.default_rng(2), 300, DAYS) + mean
    above = log_capital(returns, mean=mean, bound=BOUND, deviation=DEVIATION).max(axis=1)
    below = log_capital(-returns, mean=-mean, bound=BOUND, deviation=DEVIATION).max(axis=1)

    assert np.mean(above >= -math.log(ALPHA)) <= 0.08
    assert np.mean(below >= -math.log(ALPHA)) <= 0.08


@pytest.mark.parametrize(("sharpe", "least", "most"), [(2.0, 330, 620), (3.0, 180, 330)])
@pytest.mark.parametrize("name", ["normal", "student_t", "clustered"])
def test_an_edge_is_found_in_the_documented_time(name: str, sharpe: float, least: float, most: float) -> None:
    """The optimum of any test of power one is about 2 log(20) / S^2 years: 547 days at 2, 243 at 3."""
    assert least < np.median(deciding_day(NOISES[name], sharpe, streams=400)) < most


def test_the_volatility_may_differ_from_the_reference() -> None:
    """Neither half nor twice the deviation makes the test invalid."""
    for factor in (0.5, 2.0):
        returns = factor * DEVIATION * normal(np.random.default_rng(3), STREAMS, DAYS)
        reached = log_capital(returns, mean=0.0, bound=BOUND, deviation=DEVIATION).max(axis=1) >= -math.log(ALPHA)
        assert reached.mean() <= ALPHA


def plain_capital(returns: Floats, mean: float) -> float:
    """The mean over the bets of the product of 1 + l (x - m), in plain Python."""
    total = 0.0
    for each in BETS:
        bet = min(each / math.sqrt(365) / DEVIATION, 0.9 / (BOUND + mean))
        total += math.prod(1 + bet * (min(max(float(value), -BOUND), BOUND) - mean) for value in returns)
    return total / len(BETS)


def read(returns: Floats) -> list[Limits]:
    sequence = ConfidenceSequence(bound=BOUND, deviation=DEVIATION, alpha_lower=ALPHA, alpha_upper=ALPHA)
    return [sequence.add(float(value)) for value in returns]


def test_evidence_and_limits_equal_a_plain_computation() -> None:
    returns = DEVIATION * (student_t(np.random.default_rng(4), 1, 300)[0] + 3 / math.sqrt(365))
    last = read(returns)[-1]
    step = 0.02 * DEVIATION / math.sqrt(365)

    assert last.e_value == pytest.approx(plain_capital(returns, 0.0))
    assert last.lower is not None
    assert last.upper is not None
    assert last.lower < returns.mean() < last.upper
    best = max(plain_capital(returns[: day + 1], last.lower) for day in range(300))
    assert best >= 1 / ALPHA
    assert max(plain_capital(returns[: day + 1], last.lower + step) for day in range(300)) < 1 / ALPHA
    mirrored = read(-returns)[-1]
    assert mirrored.lower == pytest.approx(-last.upper)
    assert mirrored.upper == pytest.approx(-last.lower)


def test_a_limit_never_retreats_and_larger_values_count_as_the_bound() -> None:
    returns = DEVIATION * (normal(np.random.default_rng(5), 1, 400)[0] + 0.2)
    lower = [each.lower for each in read(returns) if each.lower is not None]

    assert lower == sorted(lower)
    assert read(np.array([10 * BOUND]))[-1] == read(np.array([BOUND]))[-1]
    assert read(np.array([-10 * BOUND]))[-1].e_value == pytest.approx(plain_capital(np.array([-BOUND]), 0.0))
    assert plain_capital(np.array([-BOUND]), 0.0) > 0


def test_the_capital_against_coins_is_their_likelihood_ratio() -> None:
    """A second opinion by scipy: a bet l on a coin of -b or b is the ratio of heads with (1 + l b) / 2 to fair ones."""
    heads = np.random.default_rng(6).random(200) < 0.6
    ratios = []
    for each in BETS:
        bet = min(each / math.sqrt(365) / DEVIATION, 0.9 / BOUND)
        ratios.append(bernoulli.logpmf(heads, (1 + bet * BOUND) / 2).sum() - bernoulli.logpmf(heads, 0.5).sum())

    found = log_capital(np.where(heads, BOUND, -BOUND), mean=0.0, bound=BOUND, deviation=DEVIATION)[-1]

    assert found == pytest.approx(logsumexp(ratios) - math.log(len(BETS)))


def test_a_capital_against_a_true_mean_is_a_martingale() -> None:
    """Over all outcomes of a coin with a mean of zero the capital is 1 on average."""
    outcomes = np.array(np.meshgrid(*[[-BOUND, BOUND]] * 8)).reshape(8, -1).T
    capital = np.exp(log_capital(outcomes, mean=0.0, bound=BOUND, deviation=DEVIATION)[:, -1])

    assert capital.mean() == pytest.approx(1.0)


def test_a_bound_within_the_candidates_is_refused() -> None:
    with pytest.raises(ValueError, match="bound"):
        ConfidenceSequence(bound=DEVIATION / 2, deviation=DEVIATION, alpha_lower=ALPHA, alpha_upper=ALPHA)
