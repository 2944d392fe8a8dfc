"""Finished, failed and repeated trials in Optuna's format, ready to be committed to a study."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial
from pydantic import JsonValue

from optimizer.objective.trial_result import Evaluation, TrialOutcome, finite_or_none
from optimizer.search.sampler import TrialRequest

REPEATED = ("metrics", "pruned", "objectives")
"""User attributes that a repeated trial takes from the earlier one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialOrigin:
    """Where and when a trial was evaluated; for display only, never read by the sampler or exported."""

    worker: str
    started: float
    """Unix time in seconds."""
    seconds: float

    @property
    def start(self) -> datetime:
        """Start time of the evaluation."""
        return datetime.fromtimestamp(self.started, UTC)


def finished_trial(
    trial_request: TrialRequest,
    distributions: Mapping[str, BaseDistribution],
    evaluation: Evaluation,
    origin: TrialOrigin,
) -> FrozenTrial:
    """Build the trial of an evaluation, ready to be committed.

    A pruned trial without a value is one that reported no step.
    """
    trial = create_trial(
        state=TrialState.COMPLETE if evaluation.state is TrialOutcome.COMPLETE else TrialState.PRUNED,
        values=list(evaluation.objectives) or None,
        params=dict(trial_request.parameters),
        distributions=dict(distributions),
        intermediate_values=dict(enumerate(evaluation.intermediate)),
        constraints=evaluation.constraints,
        user_attrs={**_attributes(evaluation), **_origin_attributes(origin)},
    )
    return _placed(trial, trial_request.number, origin)


def failed_trial(
    trial_request: TrialRequest, distributions: Mapping[str, BaseDistribution], reason: str, origin: TrialOrigin
) -> FrozenTrial:
    """Build the trial of a failed evaluation."""
    trial = create_trial(
        state=TrialState.FAIL,
        params=dict(trial_request.parameters),
        distributions=dict(distributions),
        user_attrs={"failure": reason, **_origin_attributes(origin)},
    )
    return _placed(trial, trial_request.number, origin)


def repeated_trial(trial_request: TrialRequest, known: FrozenTrial, now: float) -> FrozenTrial:
    """Build the trial of a request whose parameters are known: the earlier trial's result under a new number."""
    trial = create_trial(
        state=known.state,
        values=None if known.values is None else list(known.values),
        params=dict(trial_request.parameters),
        distributions=dict(known.distributions),
        intermediate_values=dict(known.intermediate_values),
        constraints=dict(known.constraints),
        user_attrs={name: known.user_attrs[name] for name in REPEATED if name in known.user_attrs}
        | {"repeats": known.number},
    )
    return _placed(trial, trial_request.number, TrialOrigin(worker="", started=now, seconds=0.0))


def is_feasible(trial: FrozenTrial) -> bool:
    """Return whether the trial meets all constraints."""
    return all(value <= 0 for value in trial.constraints.values())


def _attributes(evaluation: Evaluation) -> dict[str, JsonValue]:
    """Return the metrics as JSON values, null for non-finite ones, and the reason of pruning."""
    metrics: dict[str, JsonValue] = {name: finite_or_none(value) for name, value in evaluation.metrics.items()}
    attributes: dict[str, JsonValue] = {"metrics": metrics}
    if evaluation.pruned_reason:
        attributes["pruned"] = evaluation.pruned_reason
    if evaluation.values:
        attributes["objectives"] = [*evaluation.values]
    return attributes


def _origin_attributes(origin: TrialOrigin) -> dict[str, JsonValue]:
    return {"worker": origin.worker, "started": origin.started, "seconds": origin.seconds}


def _placed(trial: FrozenTrial, number: int, origin: TrialOrigin) -> FrozenTrial:
    trial.number = number
    trial.datetime_start = origin.start
    trial.datetime_complete = origin.start + timedelta(seconds=origin.seconds)
    return trial
