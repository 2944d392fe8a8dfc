"""Whether a strategy looks at what had not happened yet, or further back than its warm-up says.

The future is cut off at many bars, one after the other: a signal that is another one without its future has looked at
it. Which column it looked at shows when each in turn gets another future.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from optimizer.backtest.costs import Rates
from optimizer.backtest.cutting import changed, head, tail
from optimizer.backtest.entries import check_signals
from optimizer.backtest.prepare import Prepared
from optimizer.backtest.run import Rules
from optimizer.backtest.stepwise import step_through
from optimizer.bounds import bounded
from optimizer.level import Direction
from optimizer.strategy import BarStrategy, Strategy

COLUMNS = ("open", "high", "low", "close", "half_spread")
CUTS = 60
"""Bars at which the future is cut off."""
STARTS = 8
"""Bars before which the past is cut off."""
SHIFT = 0.2
"""By which fraction another future's prices differ."""

Signals = Callable[[Prepared], NDArray[np.int8]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """A signal that depends on what its bar could not know, or on more of the past than the warm-up."""

    bar: int
    """The first one that does."""
    cut: int
    """The bar from which on the future was cut off, or before which the past was."""
    signal: int
    """With all candles."""
    without: int
    """With the cut."""
    columns: tuple[str, ...] = ()
    """The columns whose future it looks at; none where their number alone, or the past, makes the difference."""


def signals_of(strategy: Strategy, parameters: Mapping[str, float], direction: Direction) -> Signals:
    """A strategy's signals as a function of candles; those of a decision engine as it trades them without costs.

    Raises:
        SettingsError: where it answers with what is no signal.
    """
    if isinstance(strategy, BarStrategy):
        rules = Rules(direction=direction, rates=Rates(fee=0.0, slippage=0.0))

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
) -> Leak | None:
    """The first judged signal that is another one without its future; None where none of the cuts shows one.

    `is_asked`: they are a decision engine's, whose position is closed in the last bar before it is asked there, so that
    this bar says nothing.
    """
    whole = signals(prepared)
    for cut in _bars(prepared.first_judged + 1, len(prepared), cuts, seed):
        part = signals(head(prepared, cut))
        leak = _first_difference(whole, part, prepared.first_judged, cut - is_asked)
        if leak is not None:
            columns = tuple(name for name in COLUMNS if _looks_at(signals, prepared, whole, cut, name))
            return Leak(bar=leak, cut=cut, signal=int(whole[leak]), without=int(part[leak]), columns=columns)
    return None


def short_warm_up(signals: Signals, prepared: Prepared, warm_up: int, seed: int, starts: int = STARTS) -> Leak | None:
    """The first signal behind `warm_up` bars that is another one without the bars before those; None without one.

    Not for a decision engine: it may decide by a position that it entered before.
    """
    whole = signals(prepared)
    for start in _bars(1, len(prepared) - warm_up, starts, seed):
        part = np.concatenate((np.zeros(start, dtype=np.int8), signals(tail(prepared, start, warm_up))))
        first = max(start + warm_up, prepared.first_judged)
        leak = _first_difference(whole, part, first, len(prepared))
        if leak is not None:
            return Leak(bar=leak, cut=start, signal=int(whole[leak]), without=int(part[leak]))
    return None


def is_repeatable(signals: Signals, prepared: Prepared) -> bool:
    """Whether the same candles give the same signals twice."""
    return bool((signals(prepared) == signals(prepared)).all())


def _bars(first: int, end: int, count: int, seed: int) -> list[int]:
    """Some bars of a range, each once, in order."""
    if end <= first:
        return []
    random = np.random.default_rng(seed)
    return sorted(int(bar) for bar in random.choice(np.arange(first, end), min(count, end - first), replace=False))


def _first_difference(whole: NDArray[np.int8], part: NDArray[np.int8], first: int, end: int) -> int | None:
    """The first bar from `first` to before `end` whose signals differ."""
    differs = whole[first:end] != part[first:end]
    return first + int(np.argmax(differs)) if differs.any() else None


def _looks_at(signals: Signals, prepared: Prepared, whole: NDArray[np.int8], cut: int, column: str) -> bool:
    values = getattr(prepared, column)
    for factor in (1 - SHIFT, 1 + SHIFT):
        other = values.copy()
        other[cut:] = np.maximum(values[cut:] * factor, 1).astype(values.dtype)
        seen = signals(changed(prepared, column, other))
        if (seen[prepared.first_judged : cut] != whole[prepared.first_judged : cut]).any():
            return True
    return False
