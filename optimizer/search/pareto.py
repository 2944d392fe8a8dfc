"""Pareto front of a search with several objectives; see `optimizer.objective.dominance` for its rule."""

from collections.abc import Sequence

from optuna.trial import FrozenTrial, TrialState

from optimizer.objective.dominance import by_distance, front_of
from optimizer.search.trials import is_feasible


def pareto_front(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the trials of the Pareto front, in the order of the rule; of trials with equal parameters the earliest."""
    feasible = [trial for trial in trials if trial.state is TrialState.COMPLETE and trial.values and is_feasible(trial)]
    distinct = {tuple(sorted(trial.params.items())): trial for trial in reversed(feasible)}
    earliest = sorted(distinct.values(), key=lambda trial: trial.number)
    front = [earliest[place] for place in front_of([trial.values for trial in earliest])]
    return [front[place] for place in by_distance([trial.values for trial in front])]
