"""The trials of a search as JSON, for plots: parameters, values and importance."""

from collections.abc import Sequence

from optuna.trial import FrozenTrial, TrialState

from optimizer.objective.trial_result import finite_or_none
from optimizer.search.importance import importances
from optimizer.search.trial_summary import TrialView
from optimizer.search.trials import is_feasible
from optimizer.validation.attempt_findings import AttemptFindings

MAX_TRIALS = 500
"""Maximum number of complete trials that are stored; of more, evenly spaced ones."""


def search_json(findings: AttemptFindings) -> dict[str, object]:
    """Return the complete trials of a search with their first objective, and each parameter's importance."""
    complete = [
        trial
        for trial in findings.case.trials
        if trial.state is TrialState.COMPLETE and finite_or_none(trial.values[0]) is not None
    ]
    kept = _spaced(complete)
    names = _numeric_names(complete)
    return {
        "level": findings.level.name,
        "objective": findings.level.objective[0],
        "winner": findings.winner.number if findings.winner else None,
        "complete": len(complete),
        "importance": importances([_view(trial) for trial in complete], findings.level.ranges),
        "trials": [trial.number for trial in kept],
        "values": [trial.values[0] for trial in kept],
        "feasible": [is_feasible(trial) for trial in kept],
        "parameters": {name: [trial.params[name] for trial in kept] for name in names},
    }


def _spaced(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    if len(trials) <= MAX_TRIALS:
        return [*trials]
    return [trials[place * len(trials) // MAX_TRIALS] for place in range(MAX_TRIALS)]


def _numeric_names(trials: Sequence[FrozenTrial]) -> list[str]:
    """Return the parameters that are a number in every trial, by name."""
    names = {name for trial in trials for name in trial.params}
    return sorted(name for name in names if all(isinstance(each.params.get(name), int | float) for each in trials))


def _view(trial: FrozenTrial) -> TrialView:
    return TrialView(
        number=trial.number,
        state="complete",
        value=trial.values[0],
        is_feasible=is_feasible(trial),
        parameters=trial.params,
        metrics={},
        worker="",
        ended=None,
        seconds=0.0,
        reason="",
    )
