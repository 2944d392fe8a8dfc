"""Warm start: copies the trials of an attempt into the next attempt's study under the same numbers.

Optuna's multivariate sampling uses only parameters whose range is equal in all earlier trials. A wider attempt is
therefore a separate study, and known trials are stored in it again with the new ranges. Trial n of a level is the same
trial in every study that holds it and counts once.
"""

from collections.abc import Mapping, Sequence

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, create_trial

from optimizer.level.spec import Gate
from optimizer.objective.trial_result import rounded_all
from optimizer.search.study import OpenStudy


def copy_trials(
    study: OpenStudy,
    earlier: Sequence[FrozenTrial],
    distributions: Mapping[str, BaseDistribution],
    *,
    was: Gate,
    now: Gate,
) -> None:
    """Commit the earlier attempt's trials to a study; skips those already there.

    Raises:
        StudyChanged, ServiceUnreachable: see `OpenStudy.commit`; a second call continues where the first stopped.
    """
    if left := earlier[len(study.trials()) :]:
        study.commit(*(copied_trial(trial, distributions, was=was, now=now) for trial in left))


def copied_trial(
    trial: FrozenTrial, distributions: Mapping[str, BaseDistribution], *, was: Gate, now: Gate
) -> FrozenTrial:
    """Return a trial for the next attempt: same number and result, that attempt's ranges and gate."""
    copy = create_trial(
        state=trial.state,
        values=None if trial.values is None else list(trial.values),
        params=dict(trial.params),
        distributions=dict(distributions),
        intermediate_values=dict(trial.intermediate_values),
        constraints=constraints_under(now, was, trial.constraints, trial.user_attrs.get("metrics", {})),
        user_attrs=dict(trial.user_attrs),
    )
    copy.number = trial.number
    copy.datetime_start, copy.datetime_complete = trial.datetime_start, trial.datetime_complete
    return copy


def constraints_under(
    now: Gate, was: Gate, constraints: Mapping[str, float], metrics: Mapping[str, float | None]
) -> dict[str, float]:
    """Convert a trial's constraints from one gate's targets to another's, because a retry may relax targets.

    A constraint without a measured value keeps the largest violation.
    """
    if now == was or not constraints:
        return dict(constraints)
    moved = dict(constraints)
    if metrics.get("win_rate") is not None:
        moved["win_rate"] += now.win_rate - was.win_rate
    moved["drawdown"] += was.max_drawdown_intrabar - now.max_drawdown_intrabar
    if metrics.get("profit_factor") is not None or moved["profit_factor"] < 0:  # here null means infinite
        # With losses as a share of turnover, the violation is `target * losses - (1 - losses)`.
        losses = (moved["profit_factor"] + 1) / (was.profit_factor + 1)
        moved["profit_factor"] = now.profit_factor * losses - (1 - losses)
    return rounded_all(moved)
