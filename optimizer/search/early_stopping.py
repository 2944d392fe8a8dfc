"""Early stopping: ends a search after a number of trials without improvement.

With several objectives a trial improves if it enters the Pareto front of the trials before it.
"""

from optuna.trial import FrozenTrial, TrialState

from optimizer.objective.dominance import Point, dominates
from optimizer.search.trials import is_feasible


class EarlyStopping:
    """Counter of trials since the last improvement; called once for each committed trial, in number order.

    It uses nothing else, so a search ends with the same trial regardless of workers and interruptions.
    """

    def __init__(self, most: int | None, reused: int) -> None:
        """`most`: trials without improvement, None for no limit; the first `reused` trials do not count."""
        self._most, self._carried = most, reused
        self._front: list[Point] = []
        """Values of the feasible trials that no other dominates; one trial with one objective."""
        self._since = 0

    def is_over(self, trial: FrozenTrial) -> bool:
        """Return whether the search ends with this trial."""
        is_better = self._is_better(trial)
        if is_better:
            self._front = [each for each in self._front if not dominates(trial.values, each)] + [trial.values]
        if trial.number < self._carried:
            return False
        self._since = 0 if is_better else self._since + 1
        return self._most is not None and self._since >= self._most

    def _is_better(self, trial: FrozenTrial) -> bool:
        if trial.state is not TrialState.COMPLETE or not trial.values or not is_feasible(trial):
            return False
        return not any(each == trial.values or dominates(each, trial.values) for each in self._front)
