"""Backtest of one strategy on one dataset, with the engine that fits the strategy's kind."""

from collections.abc import Callable, Mapping
from functools import cache

from optimizer.backtest.bar_by_bar import step_through
from optimizer.backtest.entries import find_entries
from optimizer.backtest.kernel import trade
from optimizer.backtest.result import BacktestRun, TradingRules
from optimizer.bars.preparation import Prepared
from optimizer.level.spec import Bounds
from optimizer.strategies import trade_management
from optimizer.strategies.protocol import (
    BarStrategy,
    SignalStrategy,
    Strategy,
    bounds_of,
    completed_bounds,
    load,
    warm_up_of,
)
from tradeschool.markets.timeframes import Timeframe

Engine = Callable[[Prepared, Mapping[str, float], TradingRules], BacktestRun]
"""Function of candles, complete and repaired parameters, and rules that returns the run."""


def run_strategy(
    strategy: Strategy, prepared: Prepared, parameters: Mapping[str, float], rules: TradingRules
) -> BacktestRun:
    """Backtest a dataset with complete, repaired parameters.

    Raises:
        SettingsError: the strategy returns an invalid signal; names dataset and bar.
    """
    return engine_of(strategy)(prepared, parameters, rules)


@cache
def built_in_engine(name: str) -> Engine:
    """Return the engine for a built-in strategy."""
    return engine_of(load(name))


def engine_of(strategy: Strategy) -> Engine:
    """Return the engine for a strategy; call once per strategy, the type check is slower than a short backtest."""
    if isinstance(strategy, BarStrategy):
        return lambda prepared, parameters, rules: step_through(strategy, prepared, parameters, rules)[0]
    return lambda prepared, parameters, rules: trade(
        prepared, find_entries(strategy, prepared, parameters, rules.direction), rules
    )


def warm_up_bars(strategy: Strategy, bounds: Mapping[str, Bounds], timeframe: Timeframe) -> int:
    """Return the warm-up in bars for all parameters within `bounds`; parameters without bounds use their defaults.

    Raises:
        SettingsError: the strategy's `warm_up` does not return a number of bars.
    """
    whole = completed_bounds(strategy, bounds)
    return max(warm_up_of(strategy, whole, timeframe), trade_management.warm_up(whole, timeframe))


def atr_periods(strategy: Strategy, bounds: Mapping[str, Bounds]) -> tuple[int, int] | None:
    """Return the lowest and highest ATR period worth precomputing; None if the strategy has none."""
    if trade_management.ATR_PERIOD.name not in bounds_of(strategy) or not isinstance(strategy, SignalStrategy):
        return None
    low, high = completed_bounds(strategy, bounds)[trade_management.ATR_PERIOD.name]
    return int(low), int(high)
