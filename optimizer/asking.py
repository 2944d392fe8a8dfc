"""Trial n's parameters from the seed and the finished trials 0..n-lag: pure, and the same on every machine.

The sampler is made anew for every question and sees exactly the trials that are visible to it, in number order,
so who finished first and how many workers there are changes nothing.
"""

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import TPESampler
from optuna.storages import InMemoryStorage
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from optimizer.evaluation import rounded
from optimizer.level import Parameters

STARTUP_TRIALS = 10
"""Trials that are drawn at random before the sampler believes in a pattern; Optuna's own default."""
PRUNING_STARTUP_TRIALS = 5
"""Complete trials that must be visible before any trial may be pruned; `MedianPruner`'s own default."""
LOWEST = -sys.float_info.max
"""Threshold of a step where no complete trial reported a number: only a trial that has none either is below."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """Everything but earlier trials that decides which parameters are asked."""

    seed: int
    lag: int
    """Trial n is asked once trials 0..n-lag are finished, and the sampler sees exactly those."""
    distributions: Mapping[str, BaseDistribution]
    repair: Callable[[Parameters], Parameters]
    """The nearest parameters that obey the strategy's own rules; what it returns is the trial's parameters."""
    first_points: tuple[Parameters, ...] = ()
    """Parameters of trials 0, 1, ...; a parameter that a point leaves out is sampled."""

    def visible(self, number: int) -> int:
        """How many finished trials, counted from trial 0, the question of trial `number` looks at."""
        return max(0, number - self.lag + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One trial to be evaluated."""

    number: int
    """Counted from 0."""
    parameters: Parameters
    thresholds: tuple[float | None, ...]
    """By step: the trial is pruned where its best value so far is below. A step beyond the end has none."""
    known: FrozenTrial | None
    """A visible trial that has answered these very parameters: there is nothing to evaluate."""


class History:
    """The finished trials that a question may look at, in number order; it only grows."""

    def __init__(self) -> None:
        quieten_optuna()
        self._storage = InMemoryStorage()
        self._name = "visible"
        self._study_id = self._storage.create_new_study([StudyDirection.MAXIMIZE], self._name)
        self._answered: dict[tuple[tuple[str, float], ...], FrozenTrial] = {}

    def append(self, trial: FrozenTrial) -> None:
        """Let the trial that follows the last one be seen."""
        assert trial.number == len(self), f"expected trial {len(self)}, was {trial.number}"
        self._storage.create_new_trial(self._study_id, trial)
        if trial.state is not TrialState.FAIL:
            self._answered.setdefault(_key(trial.params), trial)

    @property
    def trials(self) -> Sequence[FrozenTrial]:
        """All visible trials in number order; not to be changed."""
        return self._storage.get_all_trials(self._study_id, deepcopy=False)

    def answer(self, parameters: Parameters) -> FrozenTrial | None:
        """The first visible trial that completed, or was pruned, with these very parameters."""
        return self._answered.get(_key(parameters))

    def study(self, sampler: TPESampler) -> Study:
        """The visible trials as an Optuna study; made anew because a study caches its trials."""
        return optuna.load_study(study_name=self._name, storage=self._storage, sampler=sampler)

    def __len__(self) -> int:
        return len(self.trials)


def quieten_optuna() -> None:
    """Optuna prints each study that it makes to standard error; only the command prints."""
    optuna.logging.disable_default_handler()
    optuna.logging.enable_propagation()
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def ask(space: Space, history: History, number: int) -> Question:
    """The question of trial `number`; `history` must hold exactly `space.visible(number)` trials."""
    expected = space.visible(number)
    assert len(history) == expected, f"trial {number} looks at {expected} trials, not {len(history)}"
    parameters = _sample(space, history, number)
    if number < len(space.first_points):
        parameters |= space.first_points[number]
    parameters = space.repair(parameters)
    return Question(
        number=number,
        parameters=parameters,
        thresholds=thresholds(history.trials),
        known=history.answer(parameters),
    )


def trial_seed(seed: int, number: int) -> int:
    """The sampler's own seed for one trial, in [0, 2**32)."""
    return int.from_bytes(blake2b(f"{seed}:{number}".encode(), digest_size=4).digest(), "big")


def thresholds(trials: Sequence[FrozenTrial]) -> tuple[float | None, ...]:
    """By step, the median of the complete trials; None, or the end, where nothing may be pruned.

    Source: `optuna.pruners.MedianPruner` with its defaults, maximising.
    """
    complete = [trial.intermediate_values for trial in trials if trial.state is TrialState.COMPLETE]
    if len(complete) < PRUNING_STARTUP_TRIALS:
        return ()
    steps = max((step + 1 for values in complete for step in values), default=0)
    return tuple(_median([values[step] for values in complete if step in values]) for step in range(steps))


def _sample(space: Space, history: History, number: int) -> Parameters:
    # Multivariate is Optuna's default for one objective and, unlike `group`, not experimental. The lie about
    # running trials is off: a question must not depend on which others are open.
    sampler = TPESampler(
        n_startup_trials=STARTUP_TRIALS, seed=trial_seed(space.seed, number), multivariate=True, constant_liar=False
    )
    study, trial = history.study(sampler), _unfinished(number)
    # All trials of a study have the same distributions, so their intersection, for which Optuna compares every
    # trial with every other, is what we know already.
    ordered = sorted(space.distributions.items())
    searched = {name: distribution for name, distribution in ordered if not distribution.single()}
    drawn = sampler.sample_relative(study, trial, searched)
    parameters: Parameters = {}
    for name, distribution in ordered:
        if distribution.single():
            parameters[name] = _only(distribution)
        elif name in drawn:
            parameters[name] = _agreed(drawn[name], distribution)
        else:
            parameters[name] = _agreed(sampler.sample_independent(study, trial, name, distribution), distribution)
    return parameters


def _only(distribution: BaseDistribution) -> float:
    choices: Sequence[float] = getattr(distribution, "choices", ())
    only: float = choices[0] if choices else getattr(distribution, "low")  # noqa: B009  # not of the base class
    return only


def _agreed(value: float, distribution: BaseDistribution) -> float:
    if not isinstance(distribution, FloatDistribution):
        return value
    return min(max(rounded(float(value)), distribution.low), distribution.high)


def _unfinished(number: int) -> FrozenTrial:
    trial = optuna.trial.create_trial(state=TrialState.RUNNING)
    trial.number = number
    return trial


def _median(values: list[float]) -> float | None:
    numbers = [value for value in values if not math.isnan(value)]
    if not numbers:
        return LOWEST if values else None
    median = float(np.percentile(np.array(numbers), 50))
    return median if math.isfinite(median) else None


def _key(parameters: Mapping[str, float]) -> tuple[tuple[str, float], ...]:
    return tuple(sorted(parameters.items()))
