"""Samplers of Optuna behind one function: the parameters of trial n from seed, number and visible trials.

`random`, `qmc`, `gp` and, with several objectives, `tpe` are created for each trial and seeded by (seed, number).
`cmaes`, `nsgaii` and a user's sampler keep state between trials: the requests of trials 0..n are repeated in number
order on an in-memory study, each with exactly the trials that it could see. Nothing else decides, so completion order
and number of workers change no trial. What a sampler keeps, such as the covariance matrix of CMA-ES, is never stored.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, NSGAIISampler, QMCSampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from optimizer.level.search_methods import CmaEsOptions, GpOptions, NsgaIiOptions, QmcOptions, SamplerSpec
from optimizer.level.spec import Parameters
from optimizer.search.methods.optuna_setup import quiet_optuna, trial_seed
from optimizer.search.methods.told_trials import ToldStudy, as_told, ranked_values

Distributions = Mapping[str, BaseDistribution]


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplerCase:
    """Inputs of a sampler that are constant over a search."""

    spec: SamplerSpec
    seed: int
    lag: int
    distributions: Distributions
    """Searched parameters, sorted by name; each with more than one value."""
    objectives: int

    def visible(self, number: int) -> int:
        """Return the number of trials, counted from trial 0, that the request of trial `number` sees."""
        return max(0, number - self.lag + 1)


class Proposer(Protocol):
    """Proposes the parameters of trials; requests come in number order."""

    def propose(self, number: int, trials: Sequence[FrozenTrial]) -> Parameters:
        """Return the searched parameters of trial `number`; `trials`: the visible ones."""


class FreshSampler:
    """A new sampler for each trial; it sees the visible trials alone."""

    def __init__(self, case: SamplerCase, make: Callable[[int, int], BaseSampler]) -> None:
        """`make`: creates the sampler from seed and number of a trial."""
        self._case, self._make = case, make

    def propose(self, number: int, trials: Sequence[FrozenTrial]) -> Parameters:
        """Return the searched parameters of trial `number`."""
        case, told = self._case, ToldStudy(self._case.distributions, self._case.objectives)
        if case.spec.name not in BLIND:
            for trial in trials:
                told.add(as_told(trial, case.distributions, None))
        with quiet_optuna():
            sampler = self._make(trial_seed(case.seed, number), number)
            return drawn(sampler, told.study(sampler), told.begin(), case.distributions)


class RepeatedSampler:
    """A sampler with state: all requests are repeated in number order on one in-memory study."""

    def __init__(self, case: SamplerCase, make: Callable[[int], BaseSampler], *, reads_constraints: bool) -> None:
        """`make`: creates the sampler of trial `number`; what it keeps is in the study."""
        self._case, self._make, self._reads_constraints = case, make, reads_constraints
        self._told = ToldStudy(case.distributions, case.objectives)
        self._begun = self._finished = 0

    def propose(self, number: int, trials: Sequence[FrozenTrial]) -> Parameters:
        """Return the searched parameters of trial `number`; requests missing before it are repeated first."""
        with quiet_optuna():
            while self._begun < number:
                self._ask(trials[: self._case.visible(self._begun)])
            return self._ask(trials)

    def _ask(self, trials: Sequence[FrozenTrial]) -> Parameters:
        for trial in trials[self._finished :]:
            self._tell(trial)
        number, trial = self._begun, self._told.begin()
        self._begun += 1
        sampler = self._make(number)
        return self.draw(sampler, self._told.study(sampler), trial)

    def draw(self, sampler: BaseSampler, study: Study, trial: FrozenTrial) -> Parameters:
        """Return the sampler's parameters of a begun trial."""
        distributions = self._case.distributions
        if isinstance(sampler, CmaEsSampler):
            distributions = numeric(distributions)
        return drawn(sampler, study, trial, distributions, self._case.distributions)

    def told(self, trial: FrozenTrial) -> FrozenTrial:
        """Return a finished trial as the sampler sees it."""
        is_ranked = self._case.objectives == 1 and trial.state is not TrialState.FAIL
        values = ranked_values(trial, reads_constraints=self._reads_constraints) if is_ranked else None
        return as_told(trial, self._case.distributions, values)

    def _tell(self, trial: FrozenTrial) -> None:
        # In asynchronous mode a process that resumes a search is told trials that it has not requested.
        while self._begun <= trial.number:
            self._told.begin()
            self._begun += 1
        self.finish(trial.number, self.told(trial))
        self._finished += 1

    def finish(self, number: int, trial: FrozenTrial) -> None:
        """Store a result in the study."""
        self._told.finish(number, trial)


BLIND = ("random", "qmc")
"""Samplers that read no trial."""


class _Sequence(QMCSampler):
    """QMC sampler whose place in the sequence is the trial's number."""

    def __init__(self, number: int, options: QmcOptions, seed: int) -> None:
        super().__init__(
            qmc_type=options.qmc_type, scramble=options.scramble, seed=seed, warn_independent_sampling=False
        )
        self._number = number

    def _find_sample_id(self, study: Study, search_space: dict[str, BaseDistribution]) -> int:
        del study, search_space
        return self._number


def proposer_of(case: SamplerCase) -> Proposer:
    """Return the proposer of a built-in sampler."""
    options = case.spec.options
    match case.spec.name:
        case "random":
            return FreshSampler(case, lambda seed, number: RandomSampler(seed=seed))
        case "qmc":
            qmc = QmcOptions.model_validate(options)
            # One scrambled sequence for the whole search: its seed is the study's, its place the trial's number.
            return FreshSampler(case, lambda seed, number: _Sequence(number, qmc, case.seed))
        case "gp":
            gp = GpOptions.model_validate(options).model_dump()
            return FreshSampler(case, lambda seed, number: GPSampler(seed=seed, warn_independent_sampling=False, **gp))
        case "tpe":
            return FreshSampler(
                case, lambda seed, number: TPESampler(seed=seed, multivariate=True, constant_liar=False)
            )
        case "cmaes":
            cmaes = CmaEsOptions.model_validate(options).model_dump()
            return RepeatedSampler(case, lambda number: _cmaes(case, number, cmaes), reads_constraints=False)
        case "nsgaii":
            genetic = NsgaIiOptions.model_validate(options).model_dump()
            return RepeatedSampler(
                case,
                lambda number: NSGAIISampler(seed=trial_seed(case.seed, number), **genetic),
                reads_constraints=True,
            )
    raise AssertionError(f"sampler {case.spec.name} was checked when its level was loaded")


def drawn(
    sampler: BaseSampler,
    study: Study,
    trial: FrozenTrial,
    relative: Distributions,
    distributions: Distributions | None = None,
) -> Parameters:
    """Return a sampler's parameters; those that it does not sample together are sampled one by one, by name.

    `relative`: parameters to sample together; `distributions`: all of them.
    """
    wanted = relative if distributions is None else distributions
    found: Parameters = dict(sampler.sample_relative(study, trial, dict(relative)))
    for name, distribution in wanted.items():
        if name not in found:
            found[name] = sampler.sample_independent(study, trial, name, distribution)
    return {name: found[name] for name in wanted}


def numeric(distributions: Distributions) -> Distributions:
    """Return the parameters that are numeric ranges."""
    return {name: each for name, each in distributions.items() if not isinstance(each, CategoricalDistribution)}


def _cmaes(case: SamplerCase, number: int, options: Mapping[str, object]) -> CmaEsSampler:
    return CmaEsSampler(seed=trial_seed(case.seed, number), warn_independent_sampling=False, **options)  # type: ignore[arg-type]  # checked by CmaEsOptions
