"""The search space of a level: its ranges as Optuna distributions, its rules and its sampler settings."""

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from optimizer.level.spec import Level, Parameters
from optimizer.objective.objective import repair
from optimizer.search.sampler import SearchSpace
from optimizer.strategies.protocol import CategoricalParameter, IntParameter, Parameter, check_names, load
from tradeschool.errors import SettingsError


def search_space(level: Level, seed: int, first_points: tuple[Parameters, ...] = ()) -> SearchSpace:
    """Return the search space of a level's study; `first_points` as in `SearchSpace`.

    Raises:
        SettingsError: See `distributions`.
    """
    return SearchSpace.of(
        level,
        seed=seed,
        distributions=distributions(level),
        repair=lambda parameters: repair(level, parameters),
        first_points=first_points,
    )


def distributions(level: Level) -> dict[str, BaseDistribution]:
    """Return the distribution of each parameter that has a range in the level, in the strategy's order.

    Raises:
        SettingsError: a range is missing or unknown, is not whole-numbered for an integer parameter, or exceeds the
            strategy's hard bounds.
    """
    strategy = load(level.strategy)
    check_names(strategy, level.ranges)
    searched = [parameter for parameter in strategy.parameters if parameter.name in level.ranges]
    return {parameter.name: _distribution(level, parameter) for parameter in searched}


def _distribution(level: Level, parameter: Parameter) -> BaseDistribution:
    low, high = level.ranges[parameter.name]
    if not parameter.low <= low <= high <= parameter.high:
        raise SettingsError(
            f"level {level.name}: {parameter.name}: expected a range inside "
            f"{parameter.low:g}..{parameter.high:g}, was {low:g}..{high:g}"
        )
    if not isinstance(parameter, IntParameter | CategoricalParameter):
        return FloatDistribution(low, high, log=parameter.log, step=parameter.step)
    if low != int(low) or high != int(high):
        raise SettingsError(f"level {level.name}: {parameter.name}: expected whole numbers, was {low:g}..{high:g}")
    if isinstance(parameter, CategoricalParameter):
        return CategoricalDistribution(range(int(low), int(high) + 1))
    return IntDistribution(int(low), int(high), log=parameter.log, step=parameter.step)
