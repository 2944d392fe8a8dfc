"""One strategy over one dataset, by whichever of the engines suits the strategy."""

from collections.abc import Callable, Mapping

from optimizer import management
from optimizer.backtest.entries import find_entries
from optimizer.backtest.kernel import trade
from optimizer.backtest.prepare import Prepared
from optimizer.backtest.run import Rules, Run
from optimizer.backtest.stepwise import step_through
from optimizer.level import Bounds
from optimizer.strategy import BarStrategy, SignalStrategy, Strategy, bounds_of, completed_bounds, warm_up_of
from tradeschool.market import Timeframe

Engine = Callable[[Prepared, Mapping[str, float], Rules], Run]
"""From candles, complete and repaired parameters, and rules to what comes of them."""


def run_strategy(strategy: Strategy, prepared: Prepared, parameters: Mapping[str, float], rules: Rules) -> Run:
    """What comes of trading a dataset with complete, repaired parameters.

    Raises:
        SettingsError: where the strategy answers with what is no signal; with dataset and bar.
    """
    return engine_of(strategy)(prepared, parameters, rules)


def engine_of(strategy: Strategy) -> Engine:
    """How to trade datasets by a strategy: found once, because to look at what it is takes longer than a small one."""
    if isinstance(strategy, BarStrategy):
        return lambda prepared, parameters, rules: step_through(strategy, prepared, parameters, rules)[0]
    return lambda prepared, parameters, rules: trade(
        prepared, find_entries(strategy, prepared, parameters, rules.direction), rules
    )


def warm_up_bars(strategy: Strategy, bounds: Mapping[str, Bounds], timeframe: Timeframe) -> int:
    """Bars before the first judged one, for any parameters within `bounds`; parameters left out are at their defaults.

    Raises:
        SettingsError: where the strategy asks for anything but a number of bars.
    """
    whole = completed_bounds(strategy, bounds)
    return max(warm_up_of(strategy, whole, timeframe), management.warm_up(whole, timeframe))


def atr_periods(strategy: Strategy, bounds: Mapping[str, Bounds]) -> tuple[int, int] | None:
    """The periods whose average true ranges are worth working out beforehand; None where the strategy has none."""
    if management.ATR_PERIOD.name not in bounds_of(strategy) or not isinstance(strategy, SignalStrategy):
        return None
    low, high = completed_bounds(strategy, bounds)[management.ATR_PERIOD.name]
    return int(low), int(high)
