"""Entry signals with their stop, target and trailing distances: the engine's only input from a strategy."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from optimizer.backtest.entry_filters import in_band, in_session, with_trend
from optimizer.bars.indicators import atr_at, marks_of, wilder_atr
from optimizer.bars.preparation import Prepared
from optimizer.level.spec import Direction
from optimizer.strategies.protocol import SignalStrategy
from optimizer.strategies.trade_management import TradeManagement
from tradeschool.errors import SettingsError

LONG, SHORT, EXIT, NONE = 1, -1, 2, 0
"""Signal at the close of a bar: be long, be short, be flat, no signal."""
Number = TypeVar("Number", np.int64, np.float64)
FURTHEST = 2**31 - 1
"""Distance in ticks beyond any price; stops and targets at this distance are never reached."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entries:
    """All judged signals of one trial, ordered by bar; all arrays of shape (n_signals,)."""

    bar: NDArray[np.int32]
    signal: NDArray[np.int8]
    """LONG, SHORT or EXIT."""
    enters: NDArray[np.bool_]
    """Whether the signal may open a position; if not, it still closes an opposite one."""
    stop_ticks: NDArray[np.int64]
    """Distance from the fill to the stop; 0 means no stop, or no entry."""
    target_ticks: NDArray[np.int64]
    """Distance from the fill to the target; 0 means no target."""
    trail_ticks: NDArray[np.int64]
    """Distance from the best price so far to the stop; 0 means no trailing stop."""
    atr_ticks: NDArray[np.float64]
    """Average true range at an entry's bar; 0 if not used, or no entry."""

    def __len__(self) -> int:
        return len(self.bar)


def find_entries(
    strategy: SignalStrategy, prepared: Prepared, parameters: Mapping[str, float], direction: Direction
) -> Entries:
    """Return the judged signals of a strategy with complete, repaired parameters.

    Raises:
        SettingsError: the strategy does not return one int8 signal per bar, or a judged bar comes before its first
            average true range.
    """
    signals = strategy.signals(prepared, parameters, direction)
    check_signals(strategy.name, signals, prepared)
    bars = evaluated_bars_of(signals, prepared)
    return entries_at(prepared, TradeManagement.of(parameters), bars, signals[bars], direction)


def entries_at(
    prepared: Prepared,
    management: TradeManagement,
    bars: NDArray[np.int32],
    signals: NDArray[np.int8],
    direction: Direction,
) -> Entries:
    """Return the given signals with whether direction and filters allow an entry, and the distances of entries.

    Signals that open no position have no distances: their average true ranges are not computed.
    """
    enters = _is_allowed(signals, direction)
    if management.has_session:
        enters &= in_session(prepared, management, bars)
    if management.trend:
        enters &= with_trend(prepared, management, bars, signals)
    opening = np.flatnonzero(enters)
    atr, marks = _average_true_ranges(prepared, management, bars[opening])
    if management.has_band:
        enters[opening] = in_band(management, bars[opening], atr, marks)
    return Entries(
        bar=bars,
        signal=signals,
        enters=enters,
        stop_ticks=_spread(distance_ticks(atr, management.stop_atr), opening, len(bars)),
        target_ticks=_spread(distance_ticks(atr, management.target_atr), opening, len(bars)),
        trail_ticks=_spread(distance_ticks(atr, management.trail_atr), opening, len(bars)),
        atr_ticks=_spread(atr, opening, len(bars)),
    )


def _spread(values: NDArray[Number], places: NDArray[np.intp], count: int) -> NDArray[Number]:
    """Return the values at their places among `count` zeros."""
    if len(places) == count:
        return values
    spread = np.zeros(count, dtype=values.dtype)
    spread[places] = values
    return spread


def evaluated_bars_of(signals: NDArray[np.int8], prepared: Prepared) -> NDArray[np.int32]:
    """Return the judged bars that carry a signal, shape (n_signals,). Signals in warm-up bars are dropped."""
    evaluated = np.flatnonzero(signals[prepared.first_evaluated :].view(np.bool_))  # on int8 it takes ten times as long
    return (evaluated + prepared.first_evaluated).astype(np.int32)


def distance_ticks(atr: NDArray[np.float64], multiple: float) -> NDArray[np.int64]:
    """Return multiples of the ATR as whole ticks, halves rounded up, at least one tick; 0 if the multiple is 0.

    A fill is a whole tick, so rounding the distance rounds the price level.
    """
    if multiple <= 0:
        return np.zeros(len(atr), dtype=np.int64)
    return np.clip(np.floor(atr * multiple + 0.5), 1.0, FURTHEST).astype(np.int64)


def _is_allowed(signals: NDArray[np.int8], direction: Direction) -> NDArray[np.bool_]:
    lowest, highest = (
        SHORT if direction is not Direction.LONG else LONG,
        LONG if direction is not Direction.SHORT else SHORT,
    )
    return (signals >= lowest) & (signals <= highest)


def _average_true_ranges(
    prepared: Prepared, management: TradeManagement, bars: NDArray[np.int32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the ATR at the given bars and at the marks between them (see `indicators`)."""
    if not management.needs_atr:
        return np.zeros(len(bars)), np.zeros(0)
    period = management.atr_period
    if len(bars) and bars[0] < period - 1:
        raise SettingsError(
            f"{prepared.dataset}, bar {bars[0]}: atr_period: at most {bars[0] + 1}, the bars so far, was {period}"
        )
    row = period - prepared.first_atr_period
    if 0 <= row < len(prepared.atr_marks):
        marks = prepared.atr_marks[row]
        return atr_at(bars, prepared.prices, period, marks), marks
    average = wilder_atr(prepared.prices, period)
    return average[bars], marks_of(average)


def check_signals(name: str, signals: NDArray[np.int8], prepared: Prepared) -> None:
    """Check that the signals are one int8 per bar, each LONG, SHORT, EXIT or NONE.

    Raises:
        SettingsError: names the strategy, the dataset, the expected values and the first invalid bar.
    """
    if not isinstance(signals, np.ndarray) or signals.shape != (len(prepared),) or signals.dtype != np.int8:
        raise SettingsError(
            f"strategy {name!r} on {prepared.dataset}: signals must be int8 of shape ({len(prepared)},), "
            f"was {_described(signals)}"
        )
    if signals.min() < SHORT or signals.max() > EXIT:
        bar = int(np.argmax((signals < SHORT) | (signals > EXIT)))
        raise SettingsError(
            f"strategy {name!r} on {prepared.dataset}, bar {bar}: signals must be 1 long, -1 short, 2 exit or "
            f"0 none, was {signals[bar]}"
        )


def _described(signals: object) -> str:
    if not isinstance(signals, np.ndarray):
        return type(signals).__name__
    nan = np.isnan(signals) if signals.dtype.kind == "f" else np.zeros(0, dtype=bool)
    first = f", NaN from bar {int(np.argmax(nan))} on" if nan.any() else ""
    return f"{signals.dtype} of shape {signals.shape}{first}"
