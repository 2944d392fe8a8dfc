"""Selection: picks candidates on train and the winner among them on validation.

The search reads train only. Validation chooses among few candidates and is read by the gate. With several objectives
the candidates are trials of the Pareto front on train, and the rule of `optimizer.objective.dominance` picks among them
on validation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from optuna.trial import FrozenTrial, TrialState

from optimizer.bars.preparation import Prepared
from optimizer.curriculum.retry_plan import AttemptFacts, Shortfall
from optimizer.level.metric_names import LEVERAGE, SIZE
from optimizer.level.spec import Level, Part
from optimizer.objective.choices import Choice
from optimizer.objective.dominance import by_distance, front_of
from optimizer.objective.objective import evaluate_part
from optimizer.objective.sizing import WHOLE
from optimizer.objective.trial_result import Evaluation, finite_or_none, rounded
from optimizer.search.pareto import pareto_front
from optimizer.search.trials import is_feasible
from optimizer.validation.gate import Criterion

CANDIDATES = 10
"""Number of best trials on train that are evaluated on validation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Winner:
    """The selected trial of a level."""

    number: int
    """Number of its trial."""
    parameters: dict[str, float]
    size: float
    """Size of its account, solved on train; 1 without a risk budget."""
    leverage: float | None
    """Largest notional of a position over the equity, on train; None without a risk budget."""
    train: Evaluation
    validation: Evaluation

    @property
    def choice(self) -> Choice:
        """What trades its account."""
        return Choice(parameters=self.parameters, size=self.size)


def ranked(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the feasible complete trials on train, best first; of trials with equal parameters the earliest.

    With several objectives, those of the Pareto front.
    """
    if any(len(trial.values or ()) > 1 for trial in trials):
        return pareto_front(trials)
    feasible = [trial for trial in trials if trial.state is TrialState.COMPLETE and is_feasible(trial)]
    distinct = {tuple(sorted(trial.params.items())): trial for trial in reversed(feasible)}
    return sorted(distinct.values(), key=lambda trial: (-_value(trial), trial.number))


def size_of(trial: FrozenTrial) -> float:
    """Return the size of a trial's account, solved on train; 1 without a risk budget."""
    return float(trial.user_attrs["metrics"].get(SIZE, WHOLE))


def choice_of(trial: FrozenTrial) -> Choice:
    """Return what trades a trial's account."""
    return Choice(parameters=dict(trial.params), size=size_of(trial))


def candidates(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the trials to evaluate on validation."""
    return ranked(trials)[:CANDIDATES]


def choose(
    level: Level, trials: Sequence[FrozenTrial], train: Sequence[Prepared], validation: Sequence[Prepared]
) -> Winner | None:
    """Return the best candidate on validation; None if no trial was feasible on train.

    As in the search, feasible candidates rank before infeasible ones, whatever their values. With several objectives
    the candidates' values on validation are ordered by the same rule as the Pareto front.
    """
    evaluated = [
        (trial, evaluate_part(level, validation, trial.params, Part.VALIDATION, size_of(trial)))
        for trial in candidates(trials)
    ]
    if not evaluated:
        return None
    best, evaluation = _best(evaluated)
    on_train = evaluate_part(level, train, best.params, Part.TRAIN)
    return Winner(
        number=best.number,
        parameters=dict(best.params),
        size=size_of(best),
        leverage=on_train.metrics.get(LEVERAGE),
        train=on_train,
        validation=evaluation,
    )


def _best(evaluated: Sequence[tuple[FrozenTrial, Evaluation]]) -> tuple[FrozenTrial, Evaluation]:
    if len(evaluated[0][1].objectives) < 2:
        return max(evaluated, key=lambda pair: (pair[1].is_feasible, pair[1].value or 0.0, -pair[0].number))
    eligible = [pair for pair in evaluated if pair[1].is_feasible] or list(evaluated)
    eligible.sort(key=lambda pair: pair[0].number)
    front = [eligible[place] for place in front_of([evaluation.objectives for _, evaluation in eligible])]
    return front[by_distance([evaluation.objectives for _, evaluation in front])[0]]


def closest(trials: Sequence[FrozenTrial]) -> FrozenTrial | None:
    """Return the complete trial with the smallest total violation; None without complete trials."""
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    return min(complete, key=lambda trial: (_missed(trial), trial.number), default=None)


def attempt_facts(
    trials: Sequence[FrozenTrial], winner: Mapping[str, float] | None, readings: Sequence[Criterion]
) -> AttemptFacts:
    """Return what the plan of a retry depends on; `winner`: its parameters, `readings`: its gate on validation."""
    near = None if winner else closest(trials)
    return AttemptFacts(
        feasible=winner is not None,
        parameters=dict(winner) if winner else dict(near.params) if near else None,
        on_train=tuple(
            Shortfall(name=name, by=violation) for name, violation in near.constraints.items() if violation > 0
        )
        if near
        else (),
        on_validation=tuple(
            Shortfall(name=reading.name, by=finite_or_none(rounded(abs(reading.value - reading.target))))
            for reading in readings
            if not reading.met
        ),
    )


def _missed(trial: FrozenTrial) -> float:
    return sum(max(0.0, violation) for violation in trial.constraints.values())


def _value(trial: FrozenTrial) -> float:
    if trial.value is None:
        raise ValueError(f"trial {trial.number} is complete but has no value")
    return trial.value
