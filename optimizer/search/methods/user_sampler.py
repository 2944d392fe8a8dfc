"""A user's sampler `module:NAME`: any sampler of Optuna, or a function that returns one.

One sampler serves a whole search: it is created from the study's seed, and its requests and results come in number
order, also when they are repeated after a kill. A process that must not import user code has another one run it; see
`optimizer.search.methods.remote`.
"""

import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
    json_to_distribution,
)
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState, create_trial

from optimizer.level.search_methods import SamplerSpec
from optimizer.level.spec import Parameters
from optimizer.search.methods.optuna_setup import quiet_optuna, trial_seed
from optimizer.search.methods.remote import Remote, remote_samplers
from optimizer.search.methods.samplers import Proposer, RepeatedSampler, SamplerCase
from optimizer.search.methods.told_trials import as_told
from optimizer.strategies.registry import find_sampler
from tradeschool.errors import SettingsError, StrategyFailed, TradeschoolError
from tradeschool.plain_text import located_error

CHECKED_TRIALS = 16
"""Number of made-up trials of the repeatability check."""
CHECKED_LAG = 2


class UserSampler(RepeatedSampler):
    """A user's sampler in this process."""

    def __init__(self, case: SamplerCase) -> None:
        sampler = _build(case.spec, trial_seed(case.seed, 0))
        super().__init__(case, lambda number: sampler, reads_constraints=True)
        self._sampler = sampler

    @property
    def requests(self) -> int:
        """Number of trials requested so far."""
        return self._begun

    def draw(self, sampler: BaseSampler, study: Study, trial: FrozenTrial) -> Parameters:
        """Return the parameters as Optuna would ask for them.

        Raises:
            SettingsError: a parameter is outside its range.
        """
        with self._failures(f"proposing trial {trial.number}"):
            sampler.before_trial(study, trial)
            wanted = self._case.distributions
            together = sampler.infer_relative_search_space(study, trial)
            space = {name: each for name, each in wanted.items() if name in together}
            relative: Parameters = sampler.sample_relative(study, trial, space)
            found: Parameters = {}
            for name, distribution in wanted.items():
                alone = name not in relative
                value = sampler.sample_independent(study, trial, name, distribution) if alone else relative[name]
                _require_inside(self._case.spec.name, name, value, distribution)
                found[name], trial = value, self._told.set_parameter(trial, name, value)
            return found

    def told(self, trial: FrozenTrial) -> FrozenTrial:
        """Return a finished trial with its own state and values."""
        return as_told(trial, self._case.distributions, None)

    def finish(self, number: int, trial: FrozenTrial) -> None:
        """Tell the sampler, then store the result, in Optuna's order."""
        with self._failures(f"receiving the result of trial {number}"):
            self._sampler.after_trial(self._told.study(self._sampler), trial, trial.state, trial.values)
        super().finish(number, trial)

    @contextmanager
    def _failures(self, step: str) -> Iterator[None]:
        """Raise whatever the sampler raises as one of the project's errors."""
        try:
            yield
        except TradeschoolError:
            raise
        except Exception as error:
            raise StrategyFailed(self._case.spec.name, step, located_error(error), kind="sampler") from error


class RemoteSampler:
    """A user's sampler in another process."""

    def __init__(self, case: SamplerCase, remote: Remote) -> None:
        self._case, self._remote = case, remote

    def propose(self, number: int, trials: Sequence[FrozenTrial]) -> Parameters:
        """Return the searched parameters of trial `number`; all visible trials are sent, as the process may be new."""
        facts = {"case": case_as_json(self._case), "number": number, "trials": [*map(_trial_as_json, trials)]}
        return dict(self._remote(self._case.spec.name, "sample", facts))


class SamplerServer:
    """Serves the requests of `RemoteSampler` in the process that runs the sampler."""

    def __init__(self) -> None:
        self._key, self._sampler = "", None  # type: str, UserSampler | None

    def sample(self, facts: Mapping[str, Any]) -> Parameters:
        """Return the parameters of a trial."""
        case, number = case_from_json(facts["case"]), int(facts["number"])
        key = json.dumps(facts["case"], sort_keys=True)
        if self._sampler is None or key != self._key or self._sampler.requests > number:
            self._key, self._sampler = key, UserSampler(case)
        trials = [_trial_from_json(each, case) for each in facts["trials"]]
        return self._sampler.propose(number, trials)


@cache
def sampler_server() -> SamplerServer:
    """Return the server of this process."""
    return SamplerServer()


def user_proposer(case: SamplerCase) -> Proposer:
    """Return the proposer of a user's sampler: in this process, or by the process that runs users' samplers."""
    remote = remote_samplers()
    return UserSampler(case) if remote is None else RemoteSampler(case, remote)


def check_repeatable(case: SamplerCase) -> None:
    """Check that two samplers of the same seed propose the same parameters for made-up trials.

    Raises:
        SettingsError: they do not, so that a search could not be repeated.
        StrategyNotImported: the sampler's module raises.
    """
    if remote := remote_samplers():
        remote(case.spec.name, "check_sampler", {"case": case_as_json(case)})
        return
    one, other = _made_up_search(case), _made_up_search(case)
    for number, (first, second) in enumerate(zip(one, other, strict=True)):
        if first != second:
            raise SettingsError(
                f"sampler {case.spec.name} cannot be used in mode lagged: with the same seed it proposed {first} and "
                f"{second} for trial {number}: give it a parameter `seed` that decides all its random numbers, or use "
                "mode async"
            )


def case_as_json(case: SamplerCase) -> dict[str, object]:
    """Return a case for `case_from_json`."""
    return {
        "spec": case.spec.model_dump(mode="json"),
        "seed": case.seed,
        "lag": case.lag,
        "distributions": {name: distribution_to_json(each) for name, each in case.distributions.items()},
        "objectives": case.objectives,
    }


def case_from_json(content: Mapping[str, Any]) -> SamplerCase:
    """Restore a case from `case_as_json`."""
    return SamplerCase(
        spec=SamplerSpec.model_validate(content["spec"]),
        seed=content["seed"],
        lag=content["lag"],
        distributions={name: json_to_distribution(each) for name, each in content["distributions"].items()},
        objectives=content["objectives"],
    )


def _build(spec: SamplerSpec, seed: int) -> BaseSampler:
    found = find_sampler(spec.name)
    if isinstance(found, BaseSampler) or not callable(found):
        raise SettingsError(
            f"sampler {spec.name!r}: expected a sampler class, or a function that returns a sampler, was "
            f"{'a sampler' if isinstance(found, BaseSampler) else type(found).__name__}"
        )
    try:
        accepted = inspect.signature(found).parameters
        takes_seed = "seed" in accepted or any(each.kind is each.VAR_KEYWORD for each in accepted.values())
        with quiet_optuna():
            sampler = found(**({"seed": seed} if takes_seed else {}), **spec.options)
    except (TypeError, ValueError) as error:
        raise SettingsError(f"sampler {spec.name!r}: {type(error).__name__}: {error}") from error
    if not isinstance(sampler, BaseSampler):
        raise SettingsError(
            f"sampler {spec.name!r}: expected an optuna.samplers.BaseSampler, was {type(sampler).__name__}"
        )
    return sampler


def _require_inside(sampler: str, name: str, value: object, distribution: BaseDistribution) -> None:
    try:
        is_inside = distribution._contains(distribution.to_internal_repr(value))
    except (TypeError, ValueError):
        is_inside = False
    if not is_inside:
        raise SettingsError(f"sampler {sampler}: {name}: expected a value of {distribution}, was {value!r}")


def _made_up_search(case: SamplerCase) -> list[Parameters]:
    """Search a smooth function with this sampler and return the proposed parameters."""
    checked = SamplerCase(
        spec=case.spec, seed=case.seed, lag=CHECKED_LAG, distributions=case.distributions, objectives=case.objectives
    )
    sampler, trials = UserSampler(checked), []  # type: UserSampler, list[FrozenTrial]
    proposed = []
    for number in range(CHECKED_TRIALS):
        proposed.append(sampler.propose(number, trials[: checked.visible(number)]))
        trials.append(_made_up_trial(checked, number, proposed[-1]))
    return proposed


def _made_up_trial(case: SamplerCase, number: int, parameters: Parameters) -> FrozenTrial:
    total = sum((_place(each, parameters[name]) - 0.3) ** 2 for name, each in case.distributions.items())
    trial = create_trial(
        values=[-total + objective for objective in range(case.objectives)],
        params=dict(parameters),
        distributions=dict(case.distributions),
        constraints={"made_up": total - 1.0},
    )
    trial.number = number
    return trial


def _place(distribution: BaseDistribution, value: float) -> float:
    """Return the place of a value in its range, from 0 to 1."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices.index(value) / len(distribution.choices)
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    return (value - distribution.low) / (distribution.high - distribution.low)


def _trial_as_json(trial: FrozenTrial) -> dict[str, object]:
    return {
        "number": trial.number,
        "state": trial.state.name,
        "values": None if trial.values is None else list(trial.values),
        "params": dict(trial.params),
        # JSON has no NaN, and its keys are text.
        "steps": [[step, None if value != value else value] for step, value in trial.intermediate_values.items()],
        "constraints": dict(trial.constraints),
    }


def _trial_from_json(content: Mapping[str, Any], case: SamplerCase) -> FrozenTrial:
    state, distributions = TrialState[content["state"]], case.distributions
    trial = create_trial(
        state=state,
        values=content["values"],
        params={name: content["params"][name] for name in distributions},
        distributions=dict(distributions),
        intermediate_values={step: float("nan") if value is None else value for step, value in content["steps"]},
        constraints=content["constraints"],
    )
    trial.number = content["number"]
    return trial
