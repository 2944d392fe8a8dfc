"""Sampler: derives the parameters of trial n from the seed and the finished trials 0..n-lag.

The sampler is pure and gives the same result on every machine. It is created again for each trial request and sees
exactly the visible trials, in number order, so neither completion order nor the number of workers changes a result. The
density estimation is in `optimizer.search.tpe`.
"""

import math
from bisect import insort
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import RandomSampler, TPESampler
from optuna.storages import InMemoryStorage
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from optimizer.level.search_methods import DEFAULT_PRUNER, DEFAULT_SAMPLER, PrunerSpec, SamplerSpec
from optimizer.level.spec import Level, Mode, Parameters
from optimizer.objective.trial_result import rounded
from optimizer.search.methods.optuna_setup import silence_optuna, trial_seed
from optimizer.search.methods.pruners import pruner_of
from optimizer.search.methods.samplers import Proposer, SamplerCase, proposer_of
from optimizer.search.methods.user_sampler import user_proposer
from optimizer.search.tpe import MAX_BELOW, Array, SearchAxes, load, split, suggest
from tradeschool.errors import StrategyFailed

STARTUP_TRIALS = 10
"""Trials drawn at random before the TPE sampler is used; Optuna's default."""
TPE, MEDIAN = SamplerSpec(name=DEFAULT_SAMPLER), PrunerSpec(name=DEFAULT_PRUNER)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSpace:
    """Search space and settings: every input of the sampler except earlier trials."""

    seed: int
    lag: int
    """Trial n is requested once trials 0..n-lag are finished; the sampler sees exactly those trials."""
    distributions: Mapping[str, BaseDistribution]
    repair: Callable[[Parameters], Parameters]
    """Returns the nearest parameters that obey the strategy's own rules; the trial uses the returned values."""
    mode: Mode = Mode.LAGGED
    first_points: tuple[Parameters, ...] = ()
    """Parameters of trials 0, 1, ...; a parameter missing from a point is sampled."""
    sampler: SamplerSpec = TPE
    pruner: PrunerSpec = MEDIAN
    objectives: int = 1
    """Number of objectives."""
    steps: int = 1
    """Number of datasets, each a step at which a trial may be pruned."""

    @classmethod
    def of(
        cls,
        level: Level,
        *,
        seed: int,
        distributions: Mapping[str, BaseDistribution],
        repair: Callable[[Parameters], Parameters],
        first_points: tuple[Parameters, ...] = (),
    ) -> "SearchSpace":
        """Return the search space of a level."""
        return cls(
            seed=seed,
            lag=level.lag,
            distributions=distributions,
            repair=repair,
            mode=level.mode,
            first_points=first_points,
            sampler=level.used_sampler,
            pruner=level.used_pruner,
            objectives=len(level.objective),
            steps=len(level.datasets),
        )

    def history(self) -> "TrialHistory":
        """Return an empty history for this search."""
        return TrialHistory(self.distributions, self)

    def visible(self, number: int) -> int:
        """Return the number of finished trials, counted from trial 0, that the request of trial `number` sees."""
        return max(0, number - self.lag + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRequest:
    """Trial request: the parameters and pruning thresholds of one trial."""

    number: int
    """Counted from 0."""
    parameters: Parameters
    thresholds: tuple[float | None, ...]
    """Threshold by step: the trial is pruned if its best value so far is below. Steps beyond the end have none."""
    known: FrozenTrial | None
    """A visible trial with the same parameters; its result is reused and nothing is evaluated."""


class TrialHistory:
    """Append-only sequence of the finished trials that a trial request may see, in order of arrival.

    Derived values are updated on each append, so the cost of a request does not grow with the number of trials.
    """

    def __init__(self, distributions: Mapping[str, BaseDistribution], space: SearchSpace | None = None) -> None:
        """`space`: seed, sampler and pruner of the search; None for TPE and the median pruner."""
        searched = {name: each for name, each in sorted(distributions.items()) if not each.single()}
        self.searched = searched
        """Parameters with more than one value, sorted by name."""
        self.axes = SearchAxes.of(searched)
        """Axes for the compiled sampler; None if Optuna's own sampler must be used."""
        self.proposer = None if space is None else _proposer(space, searched)
        """Sampler of the search; None for the compiled TPE, whose input the history keeps."""
        self._pruner = pruner_of(space.pruner, space.seed, space.steps) if space else pruner_of(MEDIAN, 0, 1)
        self._trials: list[FrozenTrial] = []
        self._answered: dict[tuple[tuple[str, float], ...], FrozenTrial] = {}
        self._scored: list[FrozenTrial] = []
        """Complete and pruned trials; the sampler learns from these."""
        self._ranks: list[tuple[int, float, float, int]] = []
        """Ranks of the scored trials, best first; the last item of each is the index in `_scored`."""
        self._values = np.empty((len(searched), 64))
        self._random = np.random.RandomState(0)  # Optuna's generator; to make one takes 0.1 ms, to seed it 1 us

    def append(self, trial: FrozenTrial) -> None:
        """Add a finished trial; the order of calls affects later requests."""
        self._trials.append(trial)
        if trial.state is TrialState.FAIL:
            return
        self._answered.setdefault(_key(trial.params), trial)
        self._pruner.append(trial)
        if self.proposer is None:
            self._score(trial)

    def get_ready(self) -> None:
        """Load the compiled functions that the first model-based request needs; takes about 0.3 s."""
        if self.axes is not None and self.proposer is None:
            load(self.axes)

    @property
    def trials(self) -> Sequence[FrozenTrial]:
        """All trials, in order of arrival."""
        return self._trials

    @property
    def scored(self) -> int:
        """Number of trials that the sampler can learn from."""
        return len(self._scored)

    def known_result(self, parameters: Parameters) -> FrozenTrial | None:
        """Return the first visible complete or pruned trial with exactly these parameters."""
        return self._answered.get(_key(parameters))

    def thresholds(self, number: int = 0) -> tuple[float | None, ...]:
        """Return the pruner's threshold of trial `number` by step; None, or the end, where nothing is pruned."""
        return self._pruner.thresholds(number)

    def split(self) -> tuple[Array, Array]:
        """Return the values of the good and of the other trials, each of shape (n_parameters, n_trials)."""
        good, others = split([rank[-1] for rank in self._ranks[:MAX_BELOW]], len(self._scored))
        return self._values[:, good], self._values[:, others]

    def generator(self, seed: int) -> np.random.RandomState:
        """Return a generator of random numbers with this seed; it is the same object at each call."""
        self._random.seed(seed)
        return self._random

    def study(self, sampler: TPESampler) -> Study:
        """Return the visible trials as an in-memory Optuna study."""
        silence_optuna()
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


def ask(space: SearchSpace, history: TrialHistory, number: int) -> TrialRequest:
    """Return the request of trial `number`; in lagged mode `history` holds exactly `space.visible(number)` trials."""
    expected = space.visible(number)
    assert space.mode is Mode.ASYNC or len(history) == expected, f"{number} looks at {expected}, not {len(history)}"
    parameters = _sample(space, history, number)
    if number < len(space.first_points):
        parameters |= space.first_points[number]
    try:
        parameters = space.repair(parameters)
    except StrategyFailed as error:
        raise error.at(f"repair of trial {number}") from None
    return TrialRequest(
        number=number,
        parameters=parameters,
        thresholds=history.thresholds(number),
        known=history.known_result(parameters),
    )


def _sample(space: SearchSpace, history: TrialHistory, number: int) -> Parameters:
    drawn = _sample_unseen(space, history, number)
    return {
        name: _agreed(drawn[name], distribution) if name in drawn else _only(distribution)
        for name, distribution in sorted(space.distributions.items())
    }


def _sample_unseen(space: SearchSpace, history: TrialHistory, number: int) -> Parameters:
    """Sample the searched parameters."""
    if history.proposer is not None:
        return history.proposer.propose(number, history.trials)
    seed = trial_seed(space.seed, number)
    if history.scored < STARTUP_TRIALS:
        return _sample_at_random(history.searched, seed)
    if history.axes is not None:
        return suggest(history.axes, *history.split(), history.generator(seed))
    # Multivariate is Optuna's default for one objective and, unlike `group`, not experimental. `constant_liar` is off
    # because a request must not depend on which other trials are running.
    sampler = TPESampler(n_startup_trials=STARTUP_TRIALS, seed=seed, multivariate=True, constant_liar=False)
    study, trial = history.study(sampler), _unfinished(number)
    # All trials of a study have the same distributions, so the intersection search space is known. Optuna would compare
    # every trial with every other.
    drawn: Parameters = sampler.sample_relative(study, trial, dict(history.searched))
    for name, distribution in history.searched.items():
        if name not in drawn:
            drawn[name] = sampler.sample_independent(study, trial, name, distribution)
    return drawn


def _sample_at_random(searched: Mapping[str, BaseDistribution], seed: int) -> Parameters:
    """Sample as Optuna's `TPESampler` does before its start-up trials are finished; a study would change nothing."""
    sampler = RandomSampler(seed=seed)
    study, trial = cast("Study", None), cast("FrozenTrial", None)  # a random sampler reads neither
    return {name: sampler.sample_independent(study, trial, name, each) for name, each in searched.items()}


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
    """Return the sort key of a trial, best first: feasible complete, then pruned by last step, then infeasible.

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


def _proposer(space: SearchSpace, searched: Mapping[str, BaseDistribution]) -> Proposer | None:
    """Return the sampler of a search; None for TPE with one objective, or without a parameter to sample."""
    if not searched or (space.sampler.name == DEFAULT_SAMPLER and space.objectives == 1):
        return None
    case = SamplerCase(
        spec=space.sampler, seed=space.seed, lag=space.lag, distributions=searched, objectives=space.objectives
    )
    return user_proposer(case) if space.sampler.is_user_code else proposer_of(case)


def _key(parameters: Mapping[str, float]) -> tuple[tuple[str, float], ...]:
    return tuple(sorted(parameters.items()))
