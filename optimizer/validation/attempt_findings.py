"""An attempt to be judged, and the findings on it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from optuna.trial import FrozenTrial

from optimizer.curriculum.retry_plan import AttemptFacts
from optimizer.level.spec import Level, Part
from optimizer.objective.break_even import TradingCosts
from optimizer.objective.portfolio import Portfolio
from optimizer.objective.trial_result import Evaluation
from optimizer.validation.evidence import Skill
from optimizer.validation.gate import Criterion, is_passed
from optimizer.validation.selection import Winner, attempt_facts, closest
from optimizer.validation.walk_forward import SearchedWindow


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviousLevel:
    """The previous level, for comparison."""

    level: Level
    winner: Mapping[str, float]
    trials: Sequence[FrozenTrial]


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptCase:
    """An attempt to be judged."""

    level: Level
    """The level as this attempt searched it."""
    attempt: int
    relaxed: float
    """Share by which the gate's targets were relaxed; usually 0."""
    trials: Sequence[FrozenTrial]
    """All trials of its study, including those carried over."""
    reused: int
    predecessor: PreviousLevel | None
    seed: int
    windows: Sequence[SearchedWindow] = ()
    """The searched windows of a walk-forward, in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptFindings:
    """All results of one attempt at a level."""

    case: AttemptCase
    winner: Winner | None
    """None if no trial was feasible on train."""
    readings: tuple[Criterion, ...] = ()
    """The gate on validation, including stress tests if the level has limits."""
    test: Evaluation | None = None
    """The winner on test; reported, decides nothing."""
    accounts: Mapping[Part, Portfolio] = field(default_factory=dict)
    """The winner's portfolio by part; with `walk_forward` validation is that of all windows out of sample."""
    benchmark: Mapping[Part, Portfolio] = field(default_factory=dict)
    """The buy-and-hold portfolio by part; with a risk budget, at the size that has the same risk on train."""
    skill: Skill | None = None
    """Skill of the account on the days that selected nothing; None without a winner."""
    costs: Mapping[Part, TradingCosts] = field(default_factory=dict)
    """Charged and break-even costs of the winner by part."""
    trade_returns: Mapping[Part, NDArray[np.float64]] = field(default_factory=dict)
    """Net result of each of the winner's trades by part, as a fraction of the dataset's starting account."""
    analyses: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    """Analyses by file name."""
    window_metrics: Sequence[Mapping[str, float | None]] = ()
    """Metrics of each window's choice out of sample, in the order of the windows."""

    @property
    def level(self) -> Level:
        """The level as this attempt searched it."""
        return self.case.level

    @property
    def trials(self) -> Sequence[FrozenTrial]:
        """The attempt's own trials, without those carried over."""
        return self.case.trials[self.case.reused :]

    @property
    def passed(self) -> bool:
        """Whether the gate passed."""
        return self.winner is not None and is_passed(list(self.readings))

    @property
    def facts(self) -> AttemptFacts:
        """What the plan of a retry depends on."""
        return attempt_facts(self.case.trials, self.winner.parameters if self.winner else None, self.readings)

    @property
    def relaxed(self) -> float:
        """Share by which the gate's targets were relaxed."""
        return self.case.relaxed

    @property
    def validation_days(self) -> float:
        """Number of days behind the gate's readings; NaN without a winner."""
        return self.winner.validation.metrics["days"] if self.winner else math.nan

    @property
    def nearest(self) -> Mapping[str, float]:
        """Without a winner: what the nearest trial misses on train, by constraint."""
        near = closest(self.case.trials) if self.winner is None else None
        return dict(near.constraints) if near else {}

    @property
    def reason(self) -> str:
        """Human-readable reason why the gate passed or failed; mentions relaxed targets."""
        if self.winner is None:
            return "no trial met all constraints on train"
        missed = [reading.name for reading in self.readings if not reading.met]
        said = f"missed on validation: {', '.join(missed)}" if missed else "all criteria met on validation"
        return f"{said} (targets relaxed by {self.case.relaxed:g})" if self.case.relaxed else said
