"""The visible trials as an in-memory Optuna study, for one search and one sampler.

Optuna's samplers read and write a study. This one is derived from the visible trials in number order alone and is never
stored, so what a sampler keeps in it is rebuilt after a kill.
"""

import math
from collections.abc import Mapping, Sequence

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.storages import InMemoryStorage
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from optimizer.search.methods.optuna_setup import silence_optuna

NAME = "visible"
PRUNED_OFFSET, INFEASIBLE_OFFSET = -4e6, -8e6
"""Added to the value of pruned and of infeasible trials; values are within 1e6."""
LARGEST = 1e6


class ToldStudy:
    """In-memory study to which trials are told once they are visible."""

    def __init__(self, distributions: Mapping[str, BaseDistribution], objectives: int) -> None:
        silence_optuna()
        self._distributions = distributions
        self._storage = InMemoryStorage()
        self._study_id = self._storage.create_new_study([StudyDirection.MAXIMIZE] * objectives, NAME)

    def study(self, sampler: BaseSampler) -> Study:
        """Return the study for one request; its caches are empty."""
        study = optuna.load_study(study_name=NAME, storage=self._storage, sampler=sampler)
        study._thread_local.in_optimize_loop = True  # a sampler that has no trial left calls `study.stop`
        return study

    def begin(self) -> FrozenTrial:
        """Add a running trial and return it."""
        return self._storage.get_trial(self._storage.create_new_trial(self._study_id))

    def set_parameter(self, trial: FrozenTrial, name: str, value: float) -> FrozenTrial:
        """Store one parameter of a begun trial and return the trial."""
        distribution = self._distributions[name]
        self._storage.set_trial_param(trial._trial_id, name, distribution.to_internal_repr(value), distribution)
        return self._storage.get_trial(trial._trial_id)

    def add(self, trial: FrozenTrial) -> None:
        """Add a finished trial that was not begun here."""
        self._storage.create_new_trial(self._study_id, trial)

    def finish(self, number: int, trial: FrozenTrial) -> None:
        """Store the result of a begun trial; what the sampler has stored with it stays."""
        storage = self._storage
        trial_id = storage.get_trial_id_from_study_id_trial_number(self._study_id, number)
        for name, value in trial.params.items():
            distribution = trial.distributions[name]
            storage.set_trial_param(trial_id, name, distribution.to_internal_repr(value), distribution)
        for step, value in trial.intermediate_values.items():
            storage.set_trial_intermediate_value(trial_id, step, value)
        for key, attribute in trial.system_attrs.items():
            storage.set_trial_system_attr(trial_id, key, attribute)
        storage.set_trial_state_values(trial_id, trial.state, trial.values)


def as_told(
    trial: FrozenTrial, distributions: Mapping[str, BaseDistribution], values: Sequence[float] | None
) -> FrozenTrial:
    """Return a finished trial for a sampler, restricted to the searched parameters.

    `values`: values to tell with state COMPLETE; None tells state and values as they are.
    """
    if trial.state is TrialState.FAIL:
        return create_trial(state=TrialState.FAIL)
    return create_trial(
        state=trial.state if values is None else TrialState.COMPLETE,
        values=_known(trial) if values is None else list(values),
        params={name: trial.params[name] for name in distributions},
        distributions=dict(distributions),
        intermediate_values=dict(trial.intermediate_values),
        constraints=dict(trial.constraints),
    )


def ranked_values(trial: FrozenTrial, *, reads_constraints: bool) -> list[float]:
    """Return values that order trials of a single-objective search as TPE does, for samplers that use ranks alone.

    Feasible complete trials come first, then pruned ones by their last value, then infeasible ones by their violation.
    A sampler that `reads_constraints` gets the value of an infeasible complete trial as it is.
    """
    violation = sum(value for value in trial.constraints.values() if value > 0)
    if violation > 0 and not (reads_constraints and trial.state is TrialState.COMPLETE):
        return [INFEASIBLE_OFFSET - min(violation, LARGEST)]
    if trial.state is TrialState.COMPLETE:
        return list(trial.values or ())
    last = max(trial.intermediate_values.items(), default=(0, math.nan))[1]
    return [PRUNED_OFFSET + (-LARGEST if math.isnan(last) else last)]


def _known(trial: FrozenTrial) -> list[float] | None:
    return None if trial.values is None else list(trial.values)
