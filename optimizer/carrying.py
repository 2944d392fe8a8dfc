"""Trials of an attempt taken over into the study of the next one, under their own numbers.

Optuna samples together, from a model of earlier trials, only parameters whose range is the same in all of them. So a
wider attempt is a study of its own, and what is known already is stored in it anew, with the new ranges. Trial n of a
level is the same trial in every attempt's study that holds it: it counts once.
"""

from collections.abc import Mapping, Sequence

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, create_trial

from optimizer.evaluation import rounded_all
from optimizer.level import Gate
from optimizer.study import OpenStudy


def carry(
    study: OpenStudy,
    earlier: Sequence[FrozenTrial],
    distributions: Mapping[str, BaseDistribution],
    *,
    was: Gate,
    now: Gate,
) -> None:
    """Commit the earlier attempt's trials to a study, those that are there already left out.

    Raises:
        StudyChanged, ServiceUnreachable: see `OpenStudy.commit`; to call it again goes on where it stopped.
    """
    if left := earlier[len(study.trials()) :]:
        study.commit(*(moved(trial, distributions, was=was, now=now) for trial in left))


def moved(trial: FrozenTrial, distributions: Mapping[str, BaseDistribution], *, was: Gate, now: Gate) -> FrozenTrial:
    """The trial as the next attempt knows it: under its number, with that attempt's ranges and gate."""
    copy = create_trial(
        state=trial.state,
        value=trial.value,
        params=dict(trial.params),
        distributions=dict(distributions),
        intermediate_values=dict(trial.intermediate_values),
        constraints=under(now, was, trial.constraints, trial.user_attrs.get("metrics", {})),
        user_attrs=dict(trial.user_attrs),
    )
    copy.number = trial.number
    copy.datetime_start, copy.datetime_complete = trial.datetime_start, trial.datetime_complete
    return copy


def under(
    now: Gate, was: Gate, constraints: Mapping[str, float], metrics: Mapping[str, float | None]
) -> dict[str, float]:
    """A trial's constraints, stored for one gate, as they are for another: a retry may relax its targets.

    What could not be measured stays wholly missed.
    """
    if now == was or not constraints:
        return dict(constraints)
    moved = dict(constraints)
    if metrics.get("win_rate") is not None:
        moved["win_rate"] += now.win_rate - was.win_rate
    moved["drawdown"] += was.max_drawdown_intrabar - now.max_drawdown_intrabar
    if metrics.get("profit_factor") is not None or moved["profit_factor"] < 0:  # null is infinite there, else NaN
        # With losses as a share of turnover, the violation is `target * losses - (1 - losses)`.
        losses = (moved["profit_factor"] + 1) / (was.profit_factor + 1)
        moved["profit_factor"] = now.profit_factor * losses - (1 - losses)
    return rounded_all(moved)
