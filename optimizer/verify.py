"""A recorded trial run again on one core: the same question has to be asked, and every byte of its answer repeated."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from optuna.trial import FrozenTrial

from optimizer.asking import History, Question, Space, ask
from optimizer.backtest.prepare import Prepared
from optimizer.distributions import distributions
from optimizer.level import Level, Mode
from optimizer.objective import evaluate
from optimizer.study import Origin, failed_trial, finished_trial
from optimizer.table import Cell, trial_rows

NOBODY = Origin(worker="", started=0.0, seconds=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A column of the trial table that did not come out again."""

    column: str
    recorded: Cell
    repeated: Cell

    def __str__(self) -> str:
        return f"{self.column}: recorded {self.recorded!r}, repeated {self.repeated!r}"


def evaluated_number(trials: Sequence[FrozenTrial], number: int) -> int:
    """The trial that was evaluated for this one: itself, or the earlier one whose parameters it repeats."""
    while (known := trials[number].user_attrs.get("repeats")) is not None:
        number = known
    return number


def differences(
    level: Level, space: Space, trials: Sequence[FrozenTrial], number: int, train: Sequence[Prepared]
) -> list[Difference]:
    """What differs between a recorded trial and the same trial asked for and evaluated again; nothing as a rule.

    What an asynchronous search asked cannot be asked again, only evaluated. `trials` are those of its study in number
    order; `number` is that of a trial that was evaluated in that study.
    """
    recorded = trials[number]
    question = _as_recorded(recorded) if space.mode is Mode.ASYNC else _ask_again(space, trials, number)
    again = _evaluate_again(level, question, train)
    (one,), (other,) = trial_rows([recorded]), trial_rows([again])
    return [
        Difference(column=name, recorded=one.get(name), repeated=other.get(name))
        for name in dict.fromkeys((*one, *other))
        if _bytes(one.get(name)) != _bytes(other.get(name))
    ]


def _ask_again(space: Space, trials: Sequence[FrozenTrial], number: int) -> Question:
    history = History(space.distributions)
    for trial in trials[: space.visible(number)]:
        history.append(trial)
    return ask(space, history, number)


def _as_recorded(trial: FrozenTrial) -> Question:
    """What an asynchronous search asked, as far as it is known: one that was pruned is pruned at the same step."""
    steps = len(trial.intermediate_values)
    pruning = (*(None,) * (steps - 1), sys.float_info.max) if "pruned" in trial.user_attrs else ()
    return Question(number=trial.number, parameters=dict(trial.params), thresholds=pruning, known=None)


def _evaluate_again(level: Level, question: Question, train: Sequence[Prepared]) -> FrozenTrial:
    searched = distributions(level)
    try:
        evaluation = evaluate(level, train, question.parameters, question.thresholds)
    except Exception as error:  # noqa: BLE001  # a strategy is a stranger's code: what it raises is its answer
        return failed_trial(question, searched, f"{type(error).__name__}: {error}"[:512], NOBODY)
    return finished_trial(question, searched, evaluation, NOBODY)


def _bytes(cell: Cell) -> str:
    return json.dumps(cell)
