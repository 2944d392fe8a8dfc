"""Probability of backtest overfitting in known cases."""

import math

import numpy as np
import pytest

from optimizer.validation.statistics.overfitting import overfitting


def noise(trials: int, seed: int = 2, days: int = 16 * 20) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.01, (days, trials))


def test_trials_with_equal_sharpe_ratios_are_always_overfitted():
    """With equal mean and deviation, a trial that is better in one half is worse in the other."""
    returns = noise(50)
    returns = (returns - returns.mean(axis=0)) / returns.std(axis=0) * 0.01 + 0.0005

    assert overfitting(returns).probability == 1.0


def test_a_trial_with_the_best_return_each_day_is_never_overfitted():
    returns = noise(50)
    returns[:, 17] += 0.05

    assert overfitting(returns).probability == 0.0


def test_random_returns_are_overfitted_half_of_the_time():
    found = [overfitting(noise(30, seed), 8).probability for seed in range(20)]

    assert np.mean(found) == pytest.approx(0.5, abs=0.12)


def test_every_half_is_used_once():
    assert len(overfitting(noise(5), 16).logits) == math.comb(16, 8)


def test_a_split_equals_one_computed_by_hand():
    """Two parts of four days: the first trial is best in the first half and worst in the second."""
    returns = np.array([[0.03, 0.01], [0.01, 0.0], [-0.01, 0.02], [-0.03, 0.01]])

    found = overfitting(returns, 2)

    assert found.logits == pytest.approx([math.log((1 / 3) / (2 / 3)), math.log((1 / 3) / (2 / 3))])
    assert found.probability == 1.0


def test_trials_without_trades_are_excluded():
    returns = noise(4)
    returns[:, 1:3] = 0.0

    assert overfitting(returns).trials == 2
    assert math.isnan(overfitting(np.zeros((64, 3)), 16).probability)


def test_float32_returns_give_the_same_result():
    assert overfitting(noise(20).astype(np.float32), 8).probability == pytest.approx(
        overfitting(noise(20), 8).probability, abs=0.03
    )


@pytest.mark.parametrize(("days", "parts"), [(100, 15), (31, 16), (0, 16)])
def test_too_few_days_are_refused(days, parts):
    with pytest.raises(ValueError, match="even number of parts"):
        overfitting(np.zeros((days, 3)), parts)
