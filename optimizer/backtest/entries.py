"""Entry signals with their stop, target and trailing distances: the engine's only input from a strategy."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from optimizer.backtest.entry_filters import in_band, in_session, with_trend
from optimizer.bars.indicators import atr_at, marks_of, wilder_atr
from optimizer.bars.preparation import Prepared
from optimizer.compilation.jit import njit
from optimizer.level.spec import Direction
from optimizer.strategies.protocol import SignalStrategy
from optimizer.strategies.trade_management import TradeManagement
from tradeschool.errors import SettingsError

LONG, SHORT, EXIT, NONE = 1, -1, 2, 0
"""Signal at the close of a bar: be long, be short, be flat, no signal."""
Number = TypeVar("Number", np.int64, np.float64)
JudgedSignals = Callable[[Prepared, Mapping[str, float]], tuple[NDArray[np.int32], NDArray[np.int8]]]
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
    management = TradeManagement.of(parameters)
    if judged_signals := judged_signals_of(strategy):
        bars, found = judged_signals(prepared, parameters)
        check_judged(strategy.name, bars, found, prepared)
        return entries_at(prepared, management, bars, found, direction)
    signals = strategy.signals(prepared, parameters, direction)
    check_signals(strategy.name, signals, prepared)
    bars = evaluated_bars_of(signals, prepared)
    return entries_at(prepared, management, bars, signals[bars], direction)


def judged_signals_of(strategy: SignalStrategy) -> JudgedSignals | None:
    """Return the optional method `judged_signals`: the judged bars with a signal, ascending, and those signals.

    It counts only in the class that defines `signals`: a class that overrides `signals` alone trades its own.
    """
    own = vars(type(strategy))
    return getattr(strategy, "judged_signals", None) if "judged_signals" in own and "signals" in own else None


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
    opening = np.flatnonzero(_is_allowed(signals, direction))
    if management.has_session:
        opening = opening[in_session(prepared, management, bars[opening])]
    if management.trend:
        opening = opening[with_trend(prepared, management, bars[opening], signals[opening])]
    atr, marks = _average_true_ranges(prepared, management, bars[opening])
    enters = np.zeros(len(bars), dtype=np.bool_)
    enters[opening] = in_band(management, bars[opening], atr, marks) if management.has_band else True
    averages = np.zeros(len(bars))
    averages[opening] = atr
    return Entries(
        bar=bars,
        signal=signals,
        enters=enters,
        stop_ticks=distance_ticks(atr, management.stop_atr, opening, len(bars)),
        target_ticks=distance_ticks(atr, management.target_atr, opening, len(bars)),
        trail_ticks=distance_ticks(atr, management.trail_atr, opening, len(bars)),
        atr_ticks=averages,
    )


def evaluated_bars_of(signals: NDArray[np.int8], prepared: Prepared) -> NDArray[np.int32]:
    """Return the judged bars that carry a signal, shape (n_signals,). Signals in warm-up bars are dropped."""
    evaluated = np.flatnonzero(signals[prepared.first_evaluated :].view(np.bool_))  # on int8 it takes ten times as long
    return (evaluated + prepared.first_evaluated).astype(np.int32)


def distance_ticks(
    atr: NDArray[np.float64], multiple: float, places: NDArray[np.intp], count: int
) -> NDArray[np.int64]:
    """Return multiples of the ATR at their places among `count` signals, 0 at others; all 0 if the multiple is 0.

    A distance is in whole ticks, halves rounded up, and at least one tick. A fill is a whole tick, so rounding the
    distance rounds the price level.
    """
    distances = np.zeros(count, dtype=np.int64)
    if multiple > 0:
        _fill_distances(distances, places, atr, float(multiple))
    return distances


@njit
def _fill_distances(
    distances: NDArray[np.int64], places: NDArray[np.intp], atr: NDArray[np.float64], multiple: float
) -> None:
    for number in range(places.size):
        ticks = np.floor(atr[number] * multiple + 0.5)
        distances[places[number]] = int(min(max(ticks, 1.0), float(FURTHEST)))


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


def check_judged(name: str, bars: NDArray[np.int32], signals: NDArray[np.int8], prepared: Prepared) -> None:
    """Check that the bars are judged and ascend, and that each has a signal LONG, SHORT or EXIT.

    Raises:
        SettingsError: names the strategy and the dataset.
    """
    are_arrays = bars.dtype == np.int32 and signals.dtype == np.int8 and bars.shape == signals.shape == (bars.size,)
    if not are_arrays or not _are_judged(bars, signals, prepared.first_evaluated, len(prepared)):
        raise SettingsError(
            f"strategy {name!r} on {prepared.dataset}: judged_signals must be ascending judged bars as int32, and as "
            "many signals 1 long, -1 short or 2 exit as int8"
        )


@njit
def _are_judged(bars: NDArray[np.int32], signals: NDArray[np.int8], first: int, count: int) -> bool:
    after = first - 1
    for place in range(bars.size):
        signal = signals[place]
        if bars[place] <= after or bars[place] >= count or signal < SHORT or signal > EXIT or signal == NONE:
            return False
        after = bars[place]
    return True


def _described(signals: object) -> str:
    if not isinstance(signals, np.ndarray):
        return type(signals).__name__
    nan = np.isnan(signals) if signals.dtype.kind == "f" else np.zeros(0, dtype=bool)
    first = f", NaN from bar {int(np.argmax(nan))} on" if nan.any() else ""
    return f"{signals.dtype} of shape {signals.shape}{first}"
