"""Selects and sorts the trials of a search by their metrics, as freqtrade's `hyperopt-list` does."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from optuna.trial import FrozenTrial, TrialState

from optimizer.level.metric_names import METRICS, RISK_METRICS
from optimizer.search.trial_table import named_values
from optimizer.search.trials import is_feasible
from tradeschool.errors import SettingsError

NUMBER, VALUE, SECONDS = "number", "value", "seconds"
STATES = ("complete", "pruned", "fail")
SHORT_NAMES = {"drawdown": "max_drawdown", "objective": VALUE}
"""Names that users of other programs type, and the metrics that they mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """A lower or upper bound of one figure; a trial without the figure does not meet it."""

    name: str
    value: float
    is_upper: bool

    @classmethod
    def of(cls, text: str, *, is_upper: bool) -> Self:
        """Parse a bound such as `sharpe=0.8`.

        Raises:
            SettingsError: If it is malformed.
        """
        option = "--max" if is_upper else "--min"
        name, separator, value = text.partition("=")
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not separator or not math.isfinite(number):
            raise SettingsError(f"{option} {text}: expected METRIC=NUMBER, for example sharpe=0.8")
        return cls(name=SHORT_NAMES.get(name, name), value=number, is_upper=is_upper)

    def is_met(self, figures: Mapping[str, float]) -> bool:
        """Return whether a trial's figure is within the bound."""
        found = figures.get(self.name, math.nan)
        return found <= self.value if self.is_upper else found >= self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialFilter:
    """Which trials of a search to list, in which order, and how many."""

    bounds: tuple[Bound, ...] = ()
    states: tuple[str, ...] = ()
    """Empty: all states."""
    only_profitable: bool = False
    only_feasible: bool = False
    only_best: bool = False
    """Only the feasible trials that were the best so far when they finished."""
    sort: str = NUMBER
    is_reversed: bool = False
    count: int | None = None
    known: tuple[str, ...] = field(default=(NUMBER, VALUE, SECONDS, *METRICS, *RISK_METRICS))

    def select(self, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        """Return the matching trials in the requested order; trials without the sorted figure come last.

        Raises:
            SettingsError: If a bound or the order names no figure of these trials.
        """
        figures = {trial.number: figures_of(trial) for trial in trials}
        names = dict.fromkeys((*self.known, *(name for each in figures.values() for name in each)))
        key = SHORT_NAMES.get(self.sort, self.sort)
        for name in (key, *(bound.name for bound in self.bounds)):
            if name not in names:
                raise SettingsError(f"unknown figure {name}: expected one of {', '.join(names)}")
        chosen = [trial for trial in self._named(trials) if self._matches(trial, figures[trial.number])]
        is_falling = (key in (NUMBER, SECONDS) or "drawdown" in key) is self.is_reversed

        def place(trial: FrozenTrial) -> tuple[bool, float]:
            figure = figures[trial.number].get(key, math.nan)
            return math.isnan(figure), -figure if is_falling else figure

        return sorted(chosen, key=place)[: self.count]

    def _named(self, trials: Sequence[FrozenTrial]) -> Sequence[FrozenTrial]:
        return [*improvements(trials)] if self.only_best else trials

    def _matches(self, trial: FrozenTrial, figures: Mapping[str, float]) -> bool:
        if self.states and trial.state.name.lower() not in self.states:
            return False
        if self.only_feasible and not (trial.state is TrialState.COMPLETE and is_feasible(trial)):
            return False
        if self.only_profitable and not figures.get("profit_factor", math.nan) > 1:
            return False
        return all(bound.is_met(figures) for bound in self.bounds)


def figures_of(trial: FrozenTrial) -> dict[str, float]:
    """Return every figure of a trial that can be compared: number, objective values, metrics, parameters, seconds."""
    values = trial.values or []
    found: dict[str, float] = {NUMBER: float(trial.number)}
    found |= {VALUE: values[0]} if len(values) == 1 else named_values(trial)
    found |= {name: value for name, value in trial.user_attrs.get("metrics", {}).items() if value is not None}
    found |= {name: value for name, value in trial.params.items() if isinstance(value, int | float)}
    seconds = trial.user_attrs.get(SECONDS)
    return found | ({SECONDS: seconds} if isinstance(seconds, int | float) else {})


def improvements(trials: Sequence[FrozenTrial]) -> Iterator[FrozenTrial]:
    """Yield the feasible trials of a search with one objective that were the best so far, in number order."""
    best = -math.inf
    for trial in sorted(trials, key=lambda each: each.number):
        if trial.state is TrialState.COMPLETE and is_feasible(trial) and len(trial.values) == 1:
            (value,) = trial.values
            if value > best:
                best = value
                yield trial
