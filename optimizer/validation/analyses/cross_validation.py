"""Combinatorial purged cross-validation of the choice among a level's complete trials, over their days on train."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from optimizer.backtest.result import BacktestRun
from optimizer.bars.preparation import DAY_SECONDS, Prepared
from optimizer.objective.metrics import DAYS_A_YEAR
from optimizer.objective.trial_result import rounded
from optimizer.validation.evidence import CrossValidation
from optimizer.validation.statistics.combinatorial_cv import FOLDS, TEST_FOLDS, combinatorial_paths


def cross_validation(
    returns: NDArray[np.float64], train: Sequence[Prepared], runs: Sequence[BacktestRun], embargo_days: int
) -> CrossValidation | None:
    """Return the distribution of Sharpe ratios over the paths; None with fewer than two trials or too few days.

    `returns`: daily returns of each trial on train, shape (n_days, n_trials); `runs`: the winner on the bars of train,
    whose longest trade sets the purge.
    """
    purge = longest_trade_days(train, runs)
    found = combinatorial_paths(returns, purge=purge, embargo=embargo_days)
    if found is None or np.isnan(found.sharpes).any():
        return None
    ratios = np.sort(found.sharpes) * math.sqrt(DAYS_A_YEAR)
    return CrossValidation(
        folds=FOLDS,
        test_folds=TEST_FOLDS,
        splits=found.splits,
        purge_days=purge,
        embargo_days=embargo_days,
        trials=returns.shape[1],
        sharpes=tuple(rounded(float(each)) for each in ratios),
        mean=rounded(float(ratios.mean())),
        deviation=rounded(float(ratios.std(ddof=1))),
        share_above_zero=float(np.mean(ratios > 0)),
    )


def longest_trade_days(prepared: Sequence[Prepared], runs: Sequence[BacktestRun]) -> int:
    """Return the longest time from the open of a trade's first bar to that of its last, in days, rounded up."""
    held = [
        int((bars.time[run.trades["exit_bar"]] - bars.time[run.trades["entry_bar"]]).max())
        for bars, run in zip(prepared, runs, strict=True)
        if len(run.trades)
    ]
    return math.ceil(max(held, default=0) / DAY_SECONDS)
