"""A recorded trial run again on one core: the same question has to be asked, and every byte of its answer repeated."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from optuna.trial import FrozenTrial

from optimizer.alone import evaluated
from optimizer.asking import History, Question, Space, ask
from optimizer.backtest.prepare import Prepared
from optimizer.level import Level, Mode
from optimizer.table import Cell, trial_rows


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
    again = evaluated(level, question, train)
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


def _bytes(cell: Cell) -> str:
    return json.dumps(cell)
