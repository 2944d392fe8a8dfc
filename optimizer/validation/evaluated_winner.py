"""The winner that the evidence is about, with the trials of its search."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from optuna.trial import FrozenTrial, TrialState

from optimizer.level.spec import Level
from optimizer.objective.choices import Choice
from optimizer.objective.sizing import WHOLE
from optimizer.validation.evidence import (
    Skill,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatedWinner:
    """The winner under examination, with the trials of its search."""

    level: Level
    """The level as the attempt searched it."""
    attempt: int
    trial: int
    parameters: Mapping[str, int | float]
    size: float = WHOLE
    """Size of its account, solved on train; 1 without a risk budget."""
    trials: Sequence[FrozenTrial]
    """All trials of the attempt's study, including those carried over."""
    out_of_sample: Skill | None = None
    """Skill of the attempt's account on the days that selected nothing."""
    looks: Sequence[Skill] = ()
    """Skills of all attempts of the run, which may have read the same days."""
    trials_of_run: int
    """Number of completed and pruned trials of every level and attempt, those of windows included."""
    seed: int
    windows: Sequence[Choice] = ()
    """The choice of each window of a walk-forward; empty otherwise."""

    @property
    def choices(self) -> Sequence[Choice]:
        """What traded validation: the choice of each window, else the winner."""
        return self.windows or [Choice(parameters=self.parameters, size=self.size)]


def complete_trials(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the trials that ran to their end, neither pruned nor failed."""
    return [trial for trial in trials if trial.state is TrialState.COMPLETE]
