"""What a level's search may draw, in Optuna's words."""

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from optimizer.level import Level
from optimizer.strategy import CategoricalParameter, IntParameter, Parameter, check_names, load
from tradeschool.errors import SettingsError


def distributions(level: Level) -> dict[str, BaseDistribution]:
    """What the search may draw for each parameter that the level gives a range, in the strategy's order.

    Raises:
        SettingsError: where a range is missing, unknown, not of whole numbers for a whole number, or leaves
            the strategy's hard bounds.
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
