"""Trial n's parameters from the seed and the finished trials 0..n-lag: pure, and the same on every machine.

The sampler is made anew for every question and sees exactly the trials that are visible to it, in number order,
so who finished first and how many workers there are changes nothing. Its arithmetic is in `optimizer.parzen`.
"""

import math
import sys
from bisect import insort
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
from optimizer.level import Mode, Parameters
from optimizer.parzen import MOST_BELOW, Array, Axes, load, split, suggest
from tradeschool.errors import StrategyFailed

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
    mode: Mode = Mode.LAGGED
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
    """The finished trials that a question may look at, in the order in which they came; it only grows.

    What questions need of them is kept as it grows, so that the ten thousandth costs no more than the hundredth.
    """

    def __init__(self, distributions: Mapping[str, BaseDistribution]) -> None:
        searched = {name: each for name, each in sorted(distributions.items()) if not each.single()}
        self.searched = searched
        """The parameters that have more than one value, in order of name."""
        self.axes = Axes.of(searched)
        """None where the sampler has to be Optuna's own."""
        self._trials: list[FrozenTrial] = []
        self._answered: dict[tuple[tuple[str, float], ...], FrozenTrial] = {}
        self._scored: list[FrozenTrial] = []
        """Those that completed or were pruned, which a sampler learns from."""
        self._ranks: list[tuple[int, float, float, int]] = []
        """Of the scored ones, best first; the last entry is the place among them."""
        self._values = np.empty((len(searched), 64))
        self._steps: dict[int, list[float]] = {}
        """What complete trials have reported, in order of size, without NaN."""
        self._complete = 0

    def append(self, trial: FrozenTrial) -> None:
        """Let one more trial be seen; the order in which they come is part of what is asked."""
        self._trials.append(trial)
        if trial.state is TrialState.FAIL:
            return
        self._answered.setdefault(_key(trial.params), trial)
        self._score(trial)
        if trial.state is TrialState.COMPLETE:
            self._complete += 1
            for step, value in trial.intermediate_values.items():
                numbers = self._steps.setdefault(step, [])
                if not math.isnan(value):
                    insort(numbers, value)

    def get_ready(self) -> None:
        """Load what the first question that learns will need; it takes a third of a second."""
        if self.axes is not None:
            load(self.axes)

    @property
    def scored(self) -> int:
        """How many trials a sampler can learn from."""
        return len(self._scored)

    def answer(self, parameters: Parameters) -> FrozenTrial | None:
        """The first visible trial that completed, or was pruned, with these very parameters."""
        return self._answered.get(_key(parameters))

    def thresholds(self) -> tuple[float | None, ...]:
        """By step, the median of the complete trials; None, or the end, where nothing may be pruned.

        Source: `optuna.pruners.MedianPruner` with its defaults, maximising.
        """
        if self._complete < PRUNING_STARTUP_TRIALS or not self._steps:
            return ()
        return tuple(_median(self._steps.get(step)) for step in range(max(self._steps) + 1))

    def split(self) -> tuple[Array, Array]:
        """Values of the good and of the other trials, each of shape (n_parameters, n_trials)."""
        good, others = split([rank[-1] for rank in self._ranks[:MOST_BELOW]], len(self._scored))
        return self._values[:, good], self._values[:, others]

    def study(self, sampler: TPESampler) -> Study:
        """The visible trials as an Optuna study."""
        quieten_optuna()
        storage = InMemoryStorage()
        study_id = storage.create_new_study([StudyDirection.MAXIMIZE], "visible")
        for trial in self._trials:
            storage.create_new_trial(study_id, trial)
        return optuna.load_study(study_name="visible", storage=storage, sampler=sampler)

    def __len__(self) -> int:
        return len(self._trials)

    def _score(self, trial: FrozenTrial) -> None:
        place = len(self._scored)
        if place == self._values.shape[1]:
            self._values = np.concatenate([self._values, np.empty_like(self._values)], axis=1)
        if self.axes is not None:
            self._values[:, place] = [each.to_internal_repr(trial.params[name]) for name, each in self.searched.items()]
        self._scored.append(trial)
        insort(self._ranks, (*_rank(trial), place))


def quieten_optuna() -> None:
    """Optuna prints each study that it makes to standard error; only the command prints."""
    optuna.logging.disable_default_handler()
    optuna.logging.enable_propagation()
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def ask(space: Space, history: History, number: int) -> Question:
    """The question of trial `number`; where that is lagged, `history` holds exactly `space.visible(number)` trials."""
    expected = space.visible(number)
    assert space.mode is Mode.ASYNC or len(history) == expected, f"{number} looks at {expected}, not {len(history)}"
    parameters = _sample(space, history, number)
    if number < len(space.first_points):
        parameters |= space.first_points[number]
    try:
        parameters = space.repair(parameters)
    except StrategyFailed as error:
        raise error.at(f"repair of trial {number}") from None
    return Question(
        number=number,
        parameters=parameters,
        thresholds=history.thresholds(),
        known=history.answer(parameters),
    )


def trial_seed(seed: int, number: int) -> int:
    """The sampler's own seed for one trial, in [0, 2**32)."""
    return int.from_bytes(blake2b(f"{seed}:{number}".encode(), digest_size=4).digest(), "big")


def _sample(space: Space, history: History, number: int) -> Parameters:
    drawn = _drawn(space, history, number)
    return {
        name: _agreed(drawn[name], distribution) if name in drawn else _only(distribution)
        for name, distribution in sorted(space.distributions.items())
    }


def _drawn(space: Space, history: History, number: int) -> Parameters:
    """Of the parameters that are searched."""
    seed = trial_seed(space.seed, number)
    if history.axes is not None and history.scored >= STARTUP_TRIALS:
        return suggest(history.axes, *history.split(), np.random.RandomState(seed))  # Optuna's generator
    # Multivariate is Optuna's default for one objective and, unlike `group`, not experimental. The lie about
    # running trials is off: a question must not depend on which others are open.
    sampler = TPESampler(n_startup_trials=STARTUP_TRIALS, seed=seed, multivariate=True, constant_liar=False)
    study, trial = history.study(sampler), _unfinished(number)
    # All trials of a study have the same distributions, so their intersection, for which Optuna compares every
    # trial with every other, is what we know already.
    drawn: Parameters = sampler.sample_relative(study, trial, dict(history.searched))
    for name, distribution in history.searched.items():
        if name not in drawn:
            drawn[name] = sampler.sample_independent(study, trial, name, distribution)
    return drawn


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


def _rank(trial: FrozenTrial) -> tuple[int, float, float]:
    """The less, the better: feasible complete trials by value, pruned ones by how far they came, then the infeasible.

    Source: optuna 5.0, samplers/_tpe/sampler.py, `_split_trials`, for a study that maximises.
    """
    violation = sum(value for value in trial.constraints.values() if value > 0)
    if violation > 0:
        return 2, violation, 0.0
    if trial.state is TrialState.COMPLETE:
        assert trial.value is not None
        return 0, -trial.value, 0.0
    if not trial.intermediate_values:
        return 1, 1.0, 0.0
    step, value = max(trial.intermediate_values.items())
    return 1, -step, math.inf if math.isnan(value) else -value


def _median(numbers: Sequence[float] | None) -> float | None:
    """Of numbers in order of size, as NumPy's percentile counts it; None of a step that nobody reported."""
    if not numbers:
        return None if numbers is None else LOWEST
    low, high = numbers[(len(numbers) - 1) // 2], numbers[len(numbers) // 2]
    median = high - (high - low) * 0.5
    return median if math.isfinite(median) else None


def _key(parameters: Mapping[str, float]) -> tuple[tuple[str, float], ...]:
    return tuple(sorted(parameters.items()))
