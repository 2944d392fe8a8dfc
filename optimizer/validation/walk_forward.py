"""Walk-forward: the search of a window, its choice, and the metrics of each choice out of sample.

The runs of all windows together are the account out of sample, on which the gate decides. Source: R. Pardo, The
Evaluation and Optimization of Trading Strategies (2008), chapter 11.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from optuna.trial import FrozenTrial

from optimizer.backtest.result import BacktestRun
from optimizer.level.spec import Level, Parameters
from optimizer.objective import metrics
from optimizer.objective.choices import Choice
from optimizer.objective.trial_result import finite_or_none
from optimizer.validation.selection import choice_of, ranked


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchedWindow:
    """One window with its finished search."""

    number: int
    """Counted from 1."""
    level: Level
    """The level of its search: all its days are train."""
    trials: Sequence[FrozenTrial]
    """All trials of its study, including those carried over."""
    reused: int
    until: date
    """First day after all days that its choice depends on."""

    @property
    def chosen(self) -> FrozenTrial | None:
        """The trial that is traded in this window; None if none met every constraint."""
        return chosen_trial(self.trials)

    @property
    def parameters(self) -> Parameters | None:
        """The choice; None if there is none."""
        return None if self.chosen is None else dict(self.chosen.params)

    @property
    def choice(self) -> Choice:
        """What trades the window's out-of-sample days; cash without a chosen trial."""
        return choice_of(self.chosen) if self.chosen else Choice(parameters=None)


def chosen_trial(trials: Sequence[FrozenTrial]) -> FrozenTrial | None:
    """Return the choice of a window's search: its best feasible trial on train; None if there is none.

    No day after train is read, so the choice is known before the first out-of-sample day.
    """
    return next(iter(ranked(trials)), None)


def metrics_by_window(level: Level, runs: Sequence[BacktestRun]) -> list[Mapping[str, float | None]]:
    """Return the metrics of each window's runs, in the order of the windows; non-finite values are None."""
    count = len(level.datasets)
    parts = [runs[start : start + count] for start in range(0, len(runs), count)]
    return [{name: finite_or_none(value) for name, value in metrics.figures(part).items()} for part in parts]
