"""From a finished search to a winner: candidates on train, the best of them on validation.

The search saw train only. Validation chooses among few and is what the gate reads.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from optuna.trial import FrozenTrial, TrialState

from optimizer.backtest.prepare import Prepared
from optimizer.evaluation import Evaluation
from optimizer.level import Level, Part
from optimizer.objective import judge
from optimizer.study import is_feasible

CANDIDATES = 10
"""How many of the best trials on train are tried on validation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Winner:
    """The parameters that a level chose."""

    number: int
    """Of the trial that they come from."""
    parameters: dict[str, float]
    train: Evaluation
    validation: Evaluation


def ranked(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The feasible complete trials on train, best first; of trials with equal parameters the earliest."""
    feasible = [trial for trial in trials if trial.state is TrialState.COMPLETE and is_feasible(trial)]
    distinct = {tuple(sorted(trial.params.items())): trial for trial in reversed(feasible)}
    return sorted(distinct.values(), key=lambda trial: (-_value(trial), trial.number))


def candidates(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The trials that may be looked at on validation."""
    return ranked(trials)[:CANDIDATES]


def choose(
    level: Level, trials: Sequence[FrozenTrial], train: Sequence[Prepared], validation: Sequence[Prepared]
) -> Winner | None:
    """The candidate that does best on validation; None where no trial was feasible on train.

    As in the search, a candidate that keeps every rule comes before one that does not, whatever their values.
    """
    judged = [(trial, judge(level, validation, trial.params, Part.VALIDATION)) for trial in candidates(trials)]
    if not judged:
        return None
    best, evaluation = max(judged, key=lambda pair: (pair[1].is_feasible, pair[1].value or 0.0, -pair[0].number))
    return Winner(
        number=best.number,
        parameters=dict(best.params),
        train=judge(level, train, best.params, Part.TRAIN),
        validation=evaluation,
    )


def closest(trials: Sequence[FrozenTrial]) -> FrozenTrial | None:
    """Of the complete trials the one that misses the constraints by the least in sum; None without any."""
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    return min(complete, key=lambda trial: (_missed(trial), trial.number), default=None)


def _missed(trial: FrozenTrial) -> float:
    return sum(max(0.0, violation) for violation in trial.constraints.values())


def _value(trial: FrozenTrial) -> float:
    if trial.value is None:
        raise ValueError(f"trial {trial.number} is complete but has no value")
    return trial.value
