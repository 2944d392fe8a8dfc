"""Combinatorial purged cross-validation (CPCV) of the choice among trials, over their daily returns.

The days are cut into N folds in time order. In each of the C(N, k) splits, k folds are test and the other days train,
without the days next to a test fold: `purge` days on both sides, and `embargo` more days after it. The trial with the
highest Sharpe ratio on train is traded on the test folds. Every fold is test in C(N - 1, k - 1) splits; the j-th of
them makes path j, so there are k / N * C(N, k) paths over all days. Their Sharpe ratios are what the choice would have
made in as many histories out of sample.

Source: M. Lopez de Prado, Advances in Financial Machine Learning (2018), 12.4; purging and embargo 7.4.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray

from optimizer.validation.statistics.bootstrap import sharpe_ratios

FOLDS = 10
"""N of the source."""
TEST_FOLDS = 2
"""k of the source: 45 splits and 9 paths."""
Floats = NDArray[np.float64]
Days = NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True)
class PurgedSplit:
    """One split: the days of train and those of each test fold."""

    train: Days
    tests: tuple[Days, ...]
    folds: tuple[int, ...]
    """Numbers of the test folds, from 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CombinatorialPaths:
    """Paths out of sample of the choice among trials."""

    splits: int
    paths: Floats
    """Daily returns of each path, shape (n_days, n_paths)."""
    sharpes: Floats
    """Sharpe ratio per day of each path; NaN for a constant path."""


def purged_splits(
    days: int, *, folds: int = FOLDS, test_folds: int = TEST_FOLDS, purge: int = 0, embargo: int = 0
) -> Iterator[PurgedSplit]:
    """Yield every split of `days` days, in lexicographic order of the test folds."""
    borders = [fold * (days // folds) for fold in range(folds)] + [days]
    parts = [np.arange(start, end) for start, end in pairwise(borders)]
    for chosen in combinations(range(folds), test_folds):
        is_train = np.ones(days, dtype=np.bool_)
        for fold in chosen:
            is_train[max(0, borders[fold] - purge) : borders[fold + 1] + purge + embargo] = False
        for fold in chosen:
            is_train[parts[fold]] = False
        yield PurgedSplit(train=np.flatnonzero(is_train), tests=tuple(parts[fold] for fold in chosen), folds=chosen)


def combinatorial_paths(
    returns: Floats, *, folds: int = FOLDS, test_folds: int = TEST_FOLDS, purge: int = 0, embargo: int = 0
) -> CombinatorialPaths | None:
    """Return the paths of the choice among trials; `returns` of shape (n_days, n_trials).

    None with fewer than two trials or too few days: each split needs at least two days of train and of each fold.
    """
    days, trials = returns.shape
    if trials < 2 or days < 2 * folds:
        return None
    count = math.comb(folds - 1, test_folds - 1)
    paths, filled, splits = np.full((days, count), np.nan), [0] * folds, 0
    for split in purged_splits(days, folds=folds, test_folds=test_folds, purge=purge, embargo=embargo):
        if len(split.train) < 2:
            return None
        ratios = sharpe_ratios(returns[split.train])
        best = int(np.argmax(np.where(np.isnan(ratios), -np.inf, ratios)))
        for fold, test in zip(split.folds, split.tests, strict=True):
            paths[test, filled[fold]] = returns[test, best]
            filled[fold] += 1
        splits += 1
    return CombinatorialPaths(splits=splits, paths=paths, sharpes=sharpe_ratios(paths))
