"""Signals with the distances of their stops and targets: all that an engine needs to know of a strategy."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from optimizer.backtest.indicators import wilder_atr
from optimizer.backtest.prepare import Prepared
from optimizer.level import Direction
from optimizer.strategy import AtrStops, Strategy
from tradeschool.errors import SettingsError

LONG, SHORT, EXIT, NONE = 1, -1, 2, 0
"""What a signal at the close of a bar says: be long, be short, be out, nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entries:
    """Every judged signal of one trial, in order of bars; all arrays of shape (n_signals,)."""

    bar: NDArray[np.int32]
    signal: NDArray[np.int8]
    """LONG, SHORT or EXIT."""
    stop_ticks: NDArray[np.int64]
    """Distance from the fill to the stop; 0 for none."""
    target_ticks: NDArray[np.int64]
    """Distance from the fill to the target; 0 for none."""

    def __len__(self) -> int:
        return len(self.bar)


def judged_bars_of(signals: NDArray[np.int8], prepared: Prepared) -> NDArray[np.int32]:
    """The judged bars that carry a signal, shape (n_signals,). Warm-up bars carry none, whatever they say."""
    judged = np.flatnonzero(signals[prepared.first_judged :] != NONE)
    return (judged + prepared.first_judged).astype(np.int32)


def distance_ticks(atr: NDArray[np.float64], multiple: float) -> NDArray[np.int64]:
    """Multiples of the ATR as whole ticks, halves rounded up, at least one tick.

    A fill is a whole tick, so that this rounds the level itself.
    """
    return np.maximum(np.floor(atr * multiple + 0.5), 1.0).astype(np.int64)


def find_entries(
    strategy: Strategy, prepared: Prepared, parameters: Mapping[str, float], direction: Direction
) -> Entries:
    """The judged signals of a strategy with its repaired parameters, and their distances from each bar's ATR.

    Raises:
        SettingsError: where a strategy answers with anything but one int8 signal a bar.
    """
    signals = strategy.signals(prepared, parameters, direction)
    _check_signals(strategy, signals, len(prepared))
    bars = judged_bars_of(signals, prepared)
    stop_ticks, target_ticks = _distances(strategy.stops, prepared, parameters, bars)
    return Entries(bar=bars, signal=signals[bars], stop_ticks=stop_ticks, target_ticks=target_ticks)


def _check_signals(strategy: Strategy, signals: NDArray[np.int8], length: int) -> None:
    if signals.shape != (length,) or signals.dtype != np.int8:
        was = f"{signals.dtype} of shape {signals.shape}"
        raise SettingsError(f"strategy {strategy.name!r}: signals must be int8 of shape ({length},), was {was}")
    if signals.min() < SHORT or signals.max() > EXIT:
        raise SettingsError(f"strategy {strategy.name!r}: signals must be 1 long, -1 short, 2 exit or 0 none")


def _distances(
    stops: AtrStops | None, prepared: Prepared, parameters: Mapping[str, float], bars: NDArray[np.int32]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    if stops is None:
        none = np.zeros(len(bars), dtype=np.int64)
        return none, none
    atr = wilder_atr(prepared.high, prepared.low, prepared.close, int(parameters[stops.period]))[bars]
    return distance_ticks(atr, parameters[stops.stop]), distance_ticks(atr, parameters[stops.target])
