"""Reproduction of a recorded trial: requests and evaluates it again and compares every byte."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from optuna.trial import FrozenTrial

from optimizer.bars.preparation import Prepared
from optimizer.level.spec import Level, Mode
from optimizer.search.in_process import evaluate_request
from optimizer.search.sampler import SearchSpace, TrialRequest, ask
from optimizer.search.trial_table import TableCell, trial_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnDifference:
    """A column of the trial table that differs between record and reproduction."""

    column: str
    recorded: TableCell
    repeated: TableCell

    def __str__(self) -> str:
        return f"{self.column}: recorded {self.recorded!r}, repeated {self.repeated!r}"


def evaluated_number(trials: Sequence[FrozenTrial], number: int) -> int:
    """Return the number of the trial that was evaluated: this one, or the earlier one whose result it repeats."""
    while (known := trials[number].user_attrs.get("repeats")) is not None:
        number = known
    return number


def differences(
    level: Level, space: SearchSpace, trials: Sequence[FrozenTrial], number: int, train: Sequence[Prepared]
) -> list[ColumnDifference]:
    """Return the differences between a recorded trial and its reproduction; normally empty.

    A trial of an asynchronous search can only be evaluated again, not requested again. `trials`: those of its study in
    number order; `number`: a trial that was evaluated in that study.
    """
    recorded = trials[number]
    trial_request = _as_recorded(recorded) if space.mode is Mode.ASYNC else _ask_again(space, trials, number)
    again = evaluate_request(level, trial_request, train)
    (one,), (other,) = trial_rows([recorded]), trial_rows([again])
    return [
        ColumnDifference(column=name, recorded=one.get(name), repeated=other.get(name))
        for name in dict.fromkeys((*one, *other))
        if _bytes(one.get(name)) != _bytes(other.get(name))
    ]


def _ask_again(space: SearchSpace, trials: Sequence[FrozenTrial], number: int) -> TrialRequest:
    history = space.history()
    for trial in trials[: space.visible(number)]:
        history.append(trial)
    return ask(space, history, number)


def _as_recorded(trial: FrozenTrial) -> TrialRequest:
    """Rebuild a recorded request as far as known: a pruned trial is pruned at the same step."""
    steps = len(trial.intermediate_values)
    pruning = (*(None,) * (steps - 1), sys.float_info.max) if "pruned" in trial.user_attrs else ()
    return TrialRequest(number=trial.number, parameters=dict(trial.params), thresholds=pruning, known=None)


def _bytes(cell: TableCell) -> str:
    return json.dumps(cell)
