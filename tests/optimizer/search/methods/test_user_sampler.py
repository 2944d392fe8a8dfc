"""Users' samplers: built from the seed, checked for repeatability, and refused in one line."""

from collections.abc import Callable
from dataclasses import replace

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from optimizer.level.search_methods import SamplerSpec
from optimizer.level.spec import Level, Mode
from optimizer.search.methods import requirements
from optimizer.search.methods.remote import samplers_run_by
from optimizer.search.methods.requirements import check_sampler
from optimizer.search.methods.samplers import SamplerCase
from optimizer.search.methods.user_sampler import SamplerServer, UserSampler, check_repeatable, user_proposer
from tests.factories.levels import level_of
from tradeschool.errors import SettingsError, StrategyFailed

DISTRIBUTIONS = {
    "fast": IntDistribution(5, 30),
    "mode": CategoricalDistribution([0, 1, 2]),
    "stop": FloatDistribution(1.0, 5.0),
}


class Unseeded(optuna.samplers.RandomSampler):
    """Takes no seed."""

    def __init__(self) -> None:
        super().__init__()


class Outside(optuna.samplers.RandomSampler):
    """Proposes a value outside the range."""

    def sample_independent(self, study, trial, name, distribution):
        return 99


class Raising(optuna.samplers.RandomSampler):
    """Raises after its first trials."""

    def before_trial(self, study, trial) -> None:
        if trial.number > 2:
            raise RuntimeError("no more")


def with_options(seed: int, spread: float = 1.0, *, wide: bool = False):
    assert (spread, wide) == (0.5, True)
    return optuna.samplers.RandomSampler(seed=seed)


def nothing(seed: int) -> None:
    """Return no sampler."""


INSTANCE = optuna.samplers.RandomSampler(seed=1)


def case(name: str, **options: object) -> SamplerCase:
    spec = SamplerSpec(name=name if "." in name.split(":")[0] else f"{__name__}:{name}", options=options)
    return SamplerCase(spec=spec, seed=7, lag=4, distributions=DISTRIBUTIONS, objectives=1)


@pytest.mark.parametrize("name", ["RandomSampler", "TPESampler", "NSGAIISampler", "QMCSampler"])
def test_optuna_s_samplers_can_be_repeated(name: str) -> None:
    check_repeatable(case(f"optuna.samplers:{name}"))


def test_options_reach_the_factory() -> None:
    check_repeatable(case("with_options", spread=0.5, wide=True))


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("Unseeded", {}, "cannot be used in mode lagged: with the same seed it proposed"),
        ("Outside", {}, "expected a value of IntDistribution"),
        ("nothing", {}, "expected an optuna.samplers.BaseSampler, was NoneType"),
        ("INSTANCE", {}, "expected a sampler class, or a function that returns a sampler, was a sampler"),
        ("DISTRIBUTIONS", {}, "was dict"),
        ("Unseeded", {"colour": 3}, "unexpected keyword argument 'colour'"),
        ("absent", {}, "cannot be imported"),
    ],
)
def test_a_sampler_that_cannot_be_used_is_refused(name: str, options: dict[str, object], said: str) -> None:
    with pytest.raises(SettingsError, match=said) as caught:
        check_repeatable(case(name, **options))

    assert "\n" not in str(caught.value)


def test_a_sampler_that_raises_is_named_with_its_trial() -> None:
    with pytest.raises(StrategyFailed, match=r"sampler .*:Raising failed at proposing trial 3: RuntimeError: no more"):
        check_repeatable(case("Raising"))


def level(sampler: str, **changes: object) -> Level:
    return Level.model_validate({**level_of().model_dump(), "sampler": sampler, **changes})


def test_an_unrepeatable_sampler_may_be_used_in_mode_async() -> None:
    with pytest.raises(SettingsError, match="mode async"):
        check_sampler(level(f"{__name__}:Unseeded"))

    check_sampler(level(f"{__name__}:Unseeded", mode=Mode.ASYNC))


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements, "find_spec", lambda name: None)

    with pytest.raises(SettingsError, match=r"sampler gp needs torch and scipy, which is not installed: pip install"):
        check_sampler(level("gp"))


def test_cma_es_needs_two_numeric_parameters() -> None:
    ranges = {name: (low, low) for name, (low, _) in level_of().ranges.items()}

    with pytest.raises(SettingsError, match="sampler cmaes needs at least two numeric parameters, were 1"):
        check_sampler(level("cmaes", ranges={**ranges, "fast": (5, 9)}))


def test_another_process_proposes_the_same_trials_also_after_a_kill(answers: Callable[..., list]) -> None:
    given = case("optuna.samplers:TPESampler")
    here = answers(UserSampler(given))
    server = [SamplerServer()]

    def remote(name: str, what: str, facts: dict[str, object]):
        assert (name, what) == ("optuna.samplers:TPESampler", "sample")
        if facts["number"] == 9:
            server[0] = SamplerServer()  # the process was killed
        return server[0].sample(facts)

    with samplers_run_by(remote):
        assert answers(user_proposer(given)) == here
        assert answers(user_proposer(replace(given, seed=8))) != here


@pytest.fixture
def answers() -> Callable[..., list]:
    from optimizer.search.methods.user_sampler import _made_up_trial

    def search(proposer) -> list:
        trials, proposed = [], []
        for number in range(16):
            proposed.append(proposer.propose(number, trials[: max(0, number - 3)]))
            trials.append(_made_up_trial(case("with_options"), number, proposed[-1]))
        return proposed

    return search
