"""Pruners: derive the thresholds of a trial from the visible trials, so that a worker needs no other trial."""

import math
from bisect import insort
from collections.abc import Sequence
from hashlib import blake2b
from typing import Protocol

from optuna.trial import FrozenTrial, TrialState

from optimizer.level.search_methods import HyperbandOptions, MedianOptions, PercentileOptions, PrunerSpec

MEDIAN = 50.0
LOWEST = -1.7976931348623157e308
"""Threshold of a step at which no complete trial reported a number; only NaN is below it."""
Thresholds = tuple[float | None, ...]


class Pruner(Protocol):
    """Collects the visible trials and returns the thresholds of a trial."""

    def append(self, trial: FrozenTrial) -> None:
        """Add a finished trial."""

    def thresholds(self, number: int) -> Thresholds:
        """Return the threshold by step of trial `number`; None, or the end, where nothing is pruned."""


class NoPruner:
    """Prunes nothing."""

    def append(self, trial: FrozenTrial) -> None:
        """Ignore the trial."""

    def thresholds(self, number: int) -> Thresholds:
        """Return no threshold."""
        del number
        return ()


class PercentilePruner:
    """Prunes a trial whose best value so far is below a percentile of the complete trials at the same step.

    Source: optuna 5.0, pruners/_percentile.py, for a study that maximises.
    """

    def __init__(self, options: MedianOptions, percentile: float) -> None:
        """`percentile`: share of trials to keep, in percent."""
        self._options, self._quantile = options, (100.0 - percentile) / 100.0
        self._steps: dict[int, list[float]] = {}
        """Sorted values that complete trials reported at each step, without NaN."""
        self._reports: dict[int, int] = {}
        self._complete = 0

    def append(self, trial: FrozenTrial) -> None:
        """Add a finished trial; only complete ones count."""
        if trial.state is not TrialState.COMPLETE:
            return
        self._complete += 1
        for step, value in trial.intermediate_values.items():
            numbers = self._steps.setdefault(step, [])
            self._reports[step] = self._reports.get(step, 0) + 1
            if not math.isnan(value):
                insort(numbers, value)

    def thresholds(self, number: int) -> Thresholds:
        """Return the percentile of the complete trials by step."""
        del number
        if self._complete < self._options.n_startup_trials or not self._steps:
            return ()
        return tuple(self._threshold(step) for step in range(max(self._steps) + 1))

    def _threshold(self, step: int) -> float | None:
        options, numbers = self._options, self._steps.get(step)
        is_checked = step >= options.n_warmup_steps and (step - options.n_warmup_steps) % options.interval_steps == 0
        if numbers is None or not is_checked:
            return None
        if self._reports[step] < options.n_min_trials:
            return LOWEST
        return quantile(numbers, self._quantile)


class HyperbandPruner:
    """Hyperband: each trial belongs to a bracket and is compared within it after a growing number of datasets.

    The resource of a trial is its number of datasets run. The bracket follows from seed and number alone. Of the trials
    that ran a bracket's n datasets, the best 1 / `reduction_factor` continue.
    Source: Li et al., Hyperband, JMLR 18:1-52 (2018); optuna 5.0, pruners/_hyperband.py and _successive_halving.py.
    """

    def __init__(self, options: HyperbandOptions, seed: int, steps: int) -> None:
        """`steps`: number of datasets of the level."""
        self._seed, factor = seed, options.reduction_factor
        most = max(options.min_resource, options.max_resource or steps)
        count = 1
        while options.min_resource * factor**count <= most:
            count += 1
        self._factor, self._steps = factor, steps
        self._checks = [
            {step for power in range(bracket, count) if (step := options.min_resource * factor**power - 1) < steps - 1}
            for bracket in range(count)
        ]
        """Steps, from 0, after which a trial of each bracket is compared; never the last, which has its value."""
        self._budgets = [
            math.ceil(count * factor ** (count - 1 - bracket) / (count - bracket)) for bracket in range(count)
        ]
        self._values: dict[tuple[int, int], list[float]] = {}
        """Sorted values by bracket and step."""

    def append(self, trial: FrozenTrial) -> None:
        """Add a finished trial to its bracket."""
        bracket = self.bracket(trial.number)
        for step in self._checks[bracket]:
            value = trial.intermediate_values.get(step, math.nan)
            if not math.isnan(value):
                insort(self._values.setdefault((bracket, step), []), value)

    def thresholds(self, number: int) -> Thresholds:
        """Return the value that the last of the continuing trials had, at each step at which the bracket compares."""
        bracket = self.bracket(number)
        return tuple(
            self._threshold(bracket, step) if step in self._checks[bracket] else None for step in range(self._steps)
        )

    def bracket(self, number: int) -> int:
        """Return the bracket of a trial; its frequency follows the bracket's budget."""
        digest = blake2b(f"{self._seed}:{number}:bracket".encode(), digest_size=8).digest()
        place = int.from_bytes(digest, "big") % sum(self._budgets)
        for bracket, budget in enumerate(self._budgets):
            place -= budget
            if place < 0:
                return bracket
        raise AssertionError("the place is below the sum of the budgets")

    def _threshold(self, bracket: int, step: int) -> float:
        others = self._values.get((bracket, step), [])
        continuing = max(1, (len(others) + 1) // self._factor)
        return others[-continuing] if len(others) >= continuing else LOWEST


def pruner_of(spec: PrunerSpec, seed: int, steps: int) -> Pruner:
    """Return the pruner of a study; `steps`: number of datasets of the level."""
    match spec.name:
        case "median":
            return PercentilePruner(MedianOptions.model_validate(spec.options), MEDIAN)
        case "percentile":
            options = PercentileOptions.model_validate(spec.options)
            return PercentilePruner(options, options.percentile)
        case "hyperband":
            return HyperbandPruner(HyperbandOptions.model_validate(spec.options), seed, steps)
    return NoPruner()


def quantile(numbers: Sequence[float], share: float) -> float | None:
    """Return the quantile of sorted numbers as `numpy.percentile` does; `LOWEST` of none, None if not finite."""
    if not numbers:
        return LOWEST
    place = share * (len(numbers) - 1)
    low, high = numbers[math.floor(place)], numbers[math.ceil(place)]
    part = place - math.floor(place)
    found = high - (high - low) * (1 - part) if part >= 0.5 else low + (high - low) * part
    return found if math.isfinite(found) else None
