"""Similarity analysis."""

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from optimizer.validation.analyses.similarity import overlap, similarity
from tests.factories.levels import PARAMETERS, RANGES, level_of

ONE = level_of(name="1")
TWO = level_of(name="2", ranges={**RANGES, "slow": (10.0, 100.0)})


def trial(number: int, value: float, **parameters: float) -> FrozenTrial:
    made = optuna.trial.create_trial(
        state=TrialState.COMPLETE,
        value=value,
        params={**PARAMETERS, **parameters},
        distributions={name: optuna.distributions.FloatDistribution(0, 500) for name in PARAMETERS},
        constraints={"c": -1.0},
    )
    made.number = number
    return made


def trials(shift: int) -> list[FrozenTrial]:
    return [trial(number, 100.0 - number, fast=10 + shift + number, slow=50) for number in range(30)]


def test_distance_is_relative_to_the_range_of_both_levels() -> None:
    found = similarity(TWO, {**PARAMETERS, "slow": 65}, trials(2), ONE, {**PARAMETERS, "slow": 20}, trials(0))

    assert found["parameters"]["slow"]["distance"] == pytest.approx((65 - 20) / (100 - 10))
    assert found["parameters"]["fast"]["distance"] == 0
    assert found["widest_apart"] == "slow"
    assert found["mean_distance"] == pytest.approx(0.5 / 5)


def test_overlap_compares_the_best_ten_percent() -> None:
    """The best three of thirty: fast 10..12 and 12..14 share a point; slow is 50 in both."""
    found = similarity(TWO, PARAMETERS, trials(2), ONE, PARAMETERS, trials(0))

    assert found["trials_in_best_tenth"] == {"2": 3, "1": 3}
    assert found["parameters"]["fast"]["best_tenth"] == (12, 14)
    assert found["parameters"]["fast"]["earlier_best_tenth"] == (10, 12)
    assert found["parameters"]["fast"]["overlap"] == 0.0
    assert found["parameters"]["slow"]["overlap"] == 1.0


@pytest.mark.parametrize(
    ("one", "other", "share"),
    [
        ((0, 10), (0, 10), 1.0),
        ((0, 10), (5, 15), 1 / 3),
        ((0, 1), (2, 3), 0.0),
        ((4, 4), (4, 4), 1.0),
        ((4, 4), (5, 5), 0),
    ],
)
def test_overlap_is_shared_length_over_covered_length(one, other, share: float) -> None:
    assert overlap(one, other) == pytest.approx(share) == overlap(other, one)


def test_without_feasible_trials_there_is_no_range() -> None:
    found = similarity(TWO, PARAMETERS, [], ONE, PARAMETERS, trials(0))

    assert found["parameters"]["fast"]["overlap"] is None
    assert found["parameters"]["fast"]["distance"] == 0
