"""What a level's sampler needs before its search starts: optional packages, enough parameters, repeatability."""

from importlib.util import find_spec

from optimizer.level.spec import Level, Mode
from optimizer.search.methods.samplers import SamplerCase, numeric
from optimizer.search.methods.user_sampler import check_repeatable
from optimizer.search.space import distributions
from tradeschool.errors import SettingsError

PACKAGES = {"gp": ("torch", "scipy"), "cmaes": ("cmaes",), "qmc": ("scipy",)}
"""Packages by sampler."""
EXTRA = "gp"


def check_sampler(level: Level) -> None:
    """Check that the sampler of a level can search it.

    Raises:
        SettingsError: a package is missing, CMA-ES has fewer than two numeric parameters, or a user's sampler cannot be
            repeated in mode lagged.
        StrategyNotImported: the module of a user's sampler raises.
    """
    spec = level.used_sampler
    searched = {name: each for name, each in sorted(distributions(level).items()) if not each.single()}
    if missing := missing_packages(spec.name):
        raise SettingsError(
            f"level {level.name}: sampler {spec.name} needs {' and '.join(missing)}, which is not installed: "
            f"pip install 'tradeschool-curriculum[{EXTRA}]', or choose another sampler"
        )
    if spec.name == "cmaes" and len(numeric(searched)) < 2:
        raise SettingsError(
            f"level {level.name}: sampler cmaes needs at least two numeric parameters, were {len(numeric(searched))}"
        )
    if spec.is_user_code and level.mode is Mode.LAGGED:
        objectives = len(level.objective)
        check_repeatable(SamplerCase(spec=spec, seed=0, lag=level.lag, distributions=searched, objectives=objectives))


def missing_packages(sampler: str) -> list[str]:
    """Return the packages that a sampler needs and that are not installed."""
    return [package for package in PACKAGES.get(sampler, ()) if find_spec(package) is None]
