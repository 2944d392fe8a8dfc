"""Combinatorial purged cross-validation against skfolio, and on returns with known answers."""

import math

import numpy as np
import pytest

from optimizer.validation.statistics.bootstrap import sharpe_ratios
from optimizer.validation.statistics.combinatorial_cv import combinatorial_paths, purged_splits


@pytest.mark.parametrize(
    ("days", "folds", "test_folds", "purge", "embargo"),
    [(60, 10, 2, 0, 0), (61, 6, 2, 1, 0), (100, 10, 8, 0, 0), (83, 8, 3, 2, 1), (50, 5, 2, 0, 3)],
)
def test_splits_and_paths_are_those_of_skfolio(
    days: int, folds: int, test_folds: int, purge: int, embargo: int
) -> None:
    selection = pytest.importorskip("skfolio.model_selection")
    theirs = selection.CombinatorialPurgedCV(
        n_folds=folds, n_test_folds=test_folds, purged_size=purge, embargo_size=embargo
    )
    expected = list(theirs.split(np.zeros((days, 1))))
    found = list(purged_splits(days, folds=folds, test_folds=test_folds, purge=purge, embargo=embargo))

    assert len(found) == len(expected) == math.comb(folds, test_folds)
    for ours, (train, tests) in zip(found, expected, strict=True):
        assert ours.train.tolist() == train.tolist()
        assert [each.tolist() for each in ours.tests] == [each.tolist() for each in tests]
    filled, ids = [0] * folds, []
    for split in found:
        ids.append([filled[fold] for fold in split.folds])
        for fold in split.folds:
            filled[fold] += 1
    assert np.array(ids).tolist() == theirs.get_path_ids().tolist()
    assert set(filled) == {theirs.n_test_paths}


def test_a_trial_that_is_best_everywhere_makes_every_path() -> None:
    random = np.random.default_rng(3)
    returns = random.normal(0, 0.01, (200, 5))
    returns[:, 3] += 0.02

    found = combinatorial_paths(returns, purge=1, embargo=1)

    assert found is not None
    assert (found.splits, found.paths.shape) == (45, (200, 9))
    assert np.array_equal(found.paths, np.repeat(returns[:, [3]], 9, axis=1))
    assert found.sharpes == pytest.approx(sharpe_ratios(returns[:, [3]]).repeat(9))


def test_choices_among_noise_make_nothing_out_of_sample() -> None:
    """The best of 50 trials without skill has a high ratio on train and none on its paths, within five errors."""
    means = []
    for seed in range(40):
        returns = np.random.default_rng(seed).normal(0, 0.01, (400, 50))
        found = combinatorial_paths(returns)
        assert found is not None
        assert sharpe_ratios(returns).max() >= found.sharpes.mean()
        means.append(float(found.sharpes.mean()))

    assert abs(np.mean(means)) < 5 * np.std(means, ddof=1) / math.sqrt(len(means))


def test_too_little_has_no_paths() -> None:
    assert combinatorial_paths(np.zeros((200, 1))) is None
    assert combinatorial_paths(np.zeros((19, 5))) is None
    assert combinatorial_paths(np.ones((100, 4)), purge=60) is None
