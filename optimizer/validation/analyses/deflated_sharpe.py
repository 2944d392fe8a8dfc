"""Deflated Sharpe ratio (DSR) of a winner: on train for all trials of the run, out of sample for its attempts."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from optuna.trial import FrozenTrial

from optimizer.level.spec import Level
from optimizer.objective.metrics import DAYS_A_YEAR
from optimizer.objective.trial_result import finite_or_none, rounded
from optimizer.validation.evaluated_winner import EvaluatedWinner, complete_trials
from optimizer.validation.evidence import (
    DeflatedSharpe,
    Skill,
)
from optimizer.validation.statistics.sharpe import (
    ReturnMoments,
    deflated_benchmark,
    effective_trials,
    per_period,
    probabilistic_sharpe,
)

Floats = NDArray[np.float64]


def deflate(subject: EvaluatedWinner, winner: Floats, returns: Floats) -> DeflatedSharpe:
    """Return the deflated Sharpe ratio; the variance is that of the Sharpe ratios of the level's complete trials.

    It is defined for Sharpe ratios, so it reads them whatever the search's objective is.
    """
    moments = ReturnMoments.of(winner)
    ratios = [per_period(_sharpe_of(subject.level, trial), DAYS_A_YEAR) for trial in complete_trials(subject.trials)]
    variance = float(np.var(ratios, ddof=1)) if len(ratios) > 1 else math.nan
    effective = max(1.0, subject.trials_of_run * effective_trials(returns) / returns.shape[1])
    luck, less_luck = (deflated_benchmark(variance, count) for count in (subject.trials_of_run, effective))
    return DeflatedSharpe(
        sharpe=_a_year(moments.sharpe),
        days=moments.periods,
        trials=subject.trials_of_run,
        expected_maximum=_a_year(luck),
        probability=finite_or_none(probabilistic_sharpe(moments, luck)),
        effective_trials=effective,
        effective_probability=finite_or_none(probabilistic_sharpe(moments, less_luck)),
    )


def deflate_out_of_sample(found: Skill | None, looks: Sequence[Skill]) -> DeflatedSharpe | None:
    """Return the DSR of an account out of sample; the trials are the attempts that read any of its days.

    Its variance is that of their Sharpe ratios; the first attempt has no rival and is not deflated.
    """
    if found is None or found.sharpe is None:
        return None
    rivals = [look for look in looks if look.first_day <= found.last_day and look.last_day >= found.first_day]
    ratios = [per_period(look.sharpe or 0.0, DAYS_A_YEAR) for look in rivals]
    count = max(1, len(ratios))
    luck = deflated_benchmark(float(np.var(ratios, ddof=1)) if count > 1 else 0.0, count)
    moments = ReturnMoments(
        sharpe=per_period(found.sharpe, DAYS_A_YEAR),
        periods=found.days,
        skewness=found.skewness or 0.0,
        kurtosis=3.0 if found.kurtosis is None else found.kurtosis,
    )
    probability = finite_or_none(probabilistic_sharpe(moments, luck))
    return DeflatedSharpe(
        sharpe=found.sharpe,
        days=found.days,
        trials=count,
        expected_maximum=_a_year(luck),
        probability=probability,
        effective_trials=float(count),
        effective_probability=probability,
    )


def _sharpe_of(level: Level, trial: FrozenTrial) -> float:
    """Return a complete trial's Sharpe ratio on train; 0 if undefined."""
    if level.objective == ("sharpe",):
        return trial.value or 0.0
    return trial.user_attrs["metrics"]["sharpe"] or 0.0


def _a_year(ratio: float) -> float | None:
    return finite_or_none(rounded(ratio * math.sqrt(DAYS_A_YEAR)))
