"""Selection: picks candidates on train and the winner among them on validation.

The search reads train only. Validation chooses among few candidates and is read by the gate.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from optuna.trial import FrozenTrial, TrialState

from optimizer.bars.preparation import Prepared
from optimizer.level.spec import Level, Part
from optimizer.objective.objective import evaluate_part
from optimizer.objective.trial_result import Evaluation
from optimizer.search.trials import is_feasible

CANDIDATES = 10
"""Number of best trials on train that are evaluated on validation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Winner:
    """The selected trial of a level."""

    number: int
    """Number of its trial."""
    parameters: dict[str, float]
    train: Evaluation
    validation: Evaluation


def ranked(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the feasible complete trials on train, best first; of trials with equal parameters the earliest."""
    feasible = [trial for trial in trials if trial.state is TrialState.COMPLETE and is_feasible(trial)]
    distinct = {tuple(sorted(trial.params.items())): trial for trial in reversed(feasible)}
    return sorted(distinct.values(), key=lambda trial: (-_value(trial), trial.number))


def candidates(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the trials to evaluate on validation."""
    return ranked(trials)[:CANDIDATES]


def choose(
    level: Level, trials: Sequence[FrozenTrial], train: Sequence[Prepared], validation: Sequence[Prepared]
) -> Winner | None:
    """Return the best candidate on validation; None if no trial was feasible on train.

    As in the search, feasible candidates rank before infeasible ones, whatever their values.
    """
    evaluated = [
        (trial, evaluate_part(level, validation, trial.params, Part.VALIDATION)) for trial in candidates(trials)
    ]
    if not evaluated:
        return None
    best, evaluation = max(evaluated, key=lambda pair: (pair[1].is_feasible, pair[1].value or 0.0, -pair[0].number))
    return Winner(
        number=best.number,
        parameters=dict(best.params),
        train=evaluate_part(level, train, best.params, Part.TRAIN),
        validation=evaluation,
    )


def closest(trials: Sequence[FrozenTrial]) -> FrozenTrial | None:
    """Return the complete trial with the smallest total violation; None without complete trials."""
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    return min(complete, key=lambda trial: (_missed(trial), trial.number), default=None)


def _missed(trial: FrozenTrial) -> float:
    return sum(max(0.0, violation) for violation in trial.constraints.values())


def _value(trial: FrozenTrial) -> float:
    if trial.value is None:
        raise ValueError(f"trial {trial.number} is complete but has no value")
    return trial.value
