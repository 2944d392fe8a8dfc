"""Look-ahead check: detects signals that depend on later bars, or on more history than the warm-up.

The candles are cut at many bars; a signal that changes without its future has looked ahead. Changing the future of each
column separately shows which column the strategy reads.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from optimizer.backtest.bar_by_bar import step_through
from optimizer.backtest.costs import CostRates
from optimizer.backtest.entries import check_signals
from optimizer.backtest.result import TradingRules
from optimizer.bars.preparation import Prepared
from optimizer.bars.slicing import changed, head, tail
from optimizer.level.spec import Direction
from optimizer.strategies.protocol import BarStrategy, Strategy
from optimizer.strategies.time_limit import bounded

COLUMNS = ("open", "high", "low", "close", "half_spread")
CUTS = 60
"""Number of bars at which the future is removed."""
STARTS = 8
"""Number of bars before which the past is removed."""
SHIFT = 0.2
"""Fraction by which prices of a changed future differ."""

Signals = Callable[[Prepared], NDArray[np.int8]]


@dataclass(frozen=True, slots=True, kw_only=True)
class LookAheadLeak:
    """A signal that depends on data its bar cannot know, or on more history than the warm-up."""

    bar: int
    """First affected bar."""
    cut: int
    """Bar from which the future was removed, or before which the past was."""
    signal: int
    """Signal with all candles."""
    without: int
    """Signal with the cut."""
    columns: tuple[str, ...] = ()
    """Columns whose future changes the signal; empty if only the number of bars or the past does."""


def signals_of(strategy: Strategy, parameters: Mapping[str, float], direction: Direction) -> Signals:
    """Return a strategy's signals as a function of candles; a bar strategy is stepped without costs.

    Raises:
        SettingsError: the strategy returns an invalid signal.
    """
    if isinstance(strategy, BarStrategy):
        rules = TradingRules(direction=direction, rates=CostRates(fee=0.0, slippage=0.0))

        def decided(candles: Prepared) -> NDArray[np.int8]:
            with bounded():
                entries = step_through(strategy, candles, parameters, rules)[1]
            signals = np.zeros(len(candles), dtype=np.int8)
            signals[entries.bar] = entries.signal
            return signals

        return decided

    def found(candles: Prepared) -> NDArray[np.int8]:
        with bounded():
            signals = strategy.signals(candles, parameters, direction)
        check_signals(strategy.name, signals, candles)
        return signals

    return found


def look_ahead(
    signals: Signals, prepared: Prepared, seed: int, *, cuts: int = CUTS, is_asked: bool = False
) -> LookAheadLeak | None:
    """Return the first judged signal that changes without its future; None if no cut changes one.

    `is_asked`: the signals come from a bar strategy. Its position is closed in the last bar before it is called there,
    so the last bar is not compared.
    """
    whole = signals(prepared)
    for cut in _bars(prepared.first_evaluated + 1, len(prepared), cuts, seed):
        part = signals(head(prepared, cut))
        leak = _first_difference(whole, part, prepared.first_evaluated, cut - is_asked)
        if leak is not None:
            columns = tuple(name for name in COLUMNS if _looks_at(signals, prepared, whole, cut, name))
            return LookAheadLeak(bar=leak, cut=cut, signal=int(whole[leak]), without=int(part[leak]), columns=columns)
    return None


def short_warm_up(
    signals: Signals, prepared: Prepared, warm_up: int, seed: int, starts: int = STARTS
) -> LookAheadLeak | None:
    """Return the first signal after `warm_up` bars that changes without the earlier bars; None if none does.

    Not applicable to bar strategies: they may decide by a position that was opened earlier.
    """
    whole = signals(prepared)
    for start in _bars(1, len(prepared) - warm_up, starts, seed):
        part = np.concatenate((np.zeros(start, dtype=np.int8), signals(tail(prepared, start, warm_up))))
        first = max(start + warm_up, prepared.first_evaluated)
        leak = _first_difference(whole, part, first, len(prepared))
        if leak is not None:
            return LookAheadLeak(bar=leak, cut=start, signal=int(whole[leak]), without=int(part[leak]))
    return None


def is_repeatable(signals: Signals, prepared: Prepared) -> bool:
    """Return whether two calls on the same candles give the same signals."""
    return bool((signals(prepared) == signals(prepared)).all())


def _bars(first: int, end: int, count: int, seed: int) -> list[int]:
    """Return a sorted random sample of bars."""
    if end <= first:
        return []
    random = np.random.default_rng(seed)
    return sorted(int(bar) for bar in random.choice(np.arange(first, end), min(count, end - first), replace=False))


def _first_difference(whole: NDArray[np.int8], part: NDArray[np.int8], first: int, end: int) -> int | None:
    """Return the first bar in [first, end) at which the signals differ, or None."""
    differs = whole[first:end] != part[first:end]
    return first + int(np.argmax(differs)) if differs.any() else None


def _looks_at(signals: Signals, prepared: Prepared, whole: NDArray[np.int8], cut: int, column: str) -> bool:
    values = getattr(prepared, column)
    for factor in (1 - SHIFT, 1 + SHIFT):
        other = values.copy()
        other[cut:] = np.maximum(values[cut:] * factor, 1).astype(values.dtype)
        seen = signals(changed(prepared, column, other))
        if (seen[prepared.first_evaluated : cut] != whole[prepared.first_evaluated : cut]).any():
            return True
    return False
