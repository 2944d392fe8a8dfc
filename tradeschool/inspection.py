"""Candles in, findings out: what sound candles do not do. Pure.

`tradeschool.candles` says what a frame of candles is, `tradeschool.findings` what a finding does.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tradeschool.candles import Candles
from tradeschool.columns import CandleArrays, are_among
from tradeschool.findings import Finding, FindingKind
from tradeschool.market import Market, Window
from tradeschool.sessions import closed_windows, expected_slots

DAY = 86_400  # seconds
VOLUME_RATIO = 100.0
"""Between the median volumes of neighbouring days: more is another unit. Years of real candles stay below 10."""
DAY_SHARE = 0.25
"""Of a day's candles that must be there for its median to count; an FX Sunday has an eighth."""
PRICE_JUMP_FRACTION = {Market.CRYPTO: 0.25, Market.FX: 0.05}
"""Of a candle's high or low from the close before."""
PRICE_RATIO = {Market.CRYPTO: 5.0, Market.FX: 2.0}
"""Of a close to the close before: more is another scale, or another instrument."""
STEP_CANDLES = 6
"""In a day, from which on a coarser grid is no chance."""
STEP_DAYS = 2
"""On a coarser grid, from which on they are no chance; one where there is but one day."""
WEEKEND_SECONDS = 40 * 3600
"""A shorter closure is a holiday."""
SHIFT_SECONDS = 1800
"""By which a weekend has to begin and to end early, or late, to count as shifted."""
SHIFTED_WEEKENDS = 2
SHIFTED_SHARE = 0.2
"""Of all weekends: a summer time that was forgotten shifts half of them."""

Rows = NDArray[np.bool_]
Values = NDArray[np.float64]


def inspect(candles: Candles) -> tuple[Finding, ...]:
    """Everything that is odd about candles, by kind and year."""
    if not len(candles):
        return ()
    arrays = _arrays(candles)
    return tuple(finding for check in CHECKS for finding in _findings(arrays, check))


def usual_spacing(times: NDArray[np.int64]) -> int:
    """The commonest distance between neighbours, in seconds; 0 of fewer than two. `times` need no order."""
    distances, counts = np.unique(np.abs(np.diff(times)), return_counts=True)
    return int(distances[counts.argmax()]) if len(distances) else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Check:
    """One kind: which candles show it, by how much, and the words for it."""

    kind: FindingKind
    look: Callable[[CandleArrays], tuple[Rows, Values]]
    """Both of shape (n_candles,)."""
    unit: str
    """What is counted."""
    words: str
    """With `places`, `worst` and `step`."""


def _findings(candles: CandleArrays, check: _Check) -> Iterator[Finding]:
    rows, values = check.look(candles)
    positions = np.flatnonzero(rows)
    years = candles.time[positions].astype("datetime64[s]").astype("datetime64[Y]")
    step = candles.dataset.timeframe.seconds
    for year in np.unique(years):
        of_year = positions[years == year]
        worst = values[of_year][np.abs(values[of_year]).argmax()]
        window = Window.of_seconds(int(candles.time[of_year[0]]), int(candles.time[of_year[-1]]) + step)
        places = f"{len(of_year):,} {check.unit}{'s' * (len(of_year) > 1)}"
        message = check.words.format(places=places, worst=worst, step=step)
        yield Finding(kind=check.kind, start=window.start, end=window.end, rows=len(of_year), message=message)


def _wrong_step(candles: CandleArrays) -> tuple[Rows, Values]:
    starts, counts = _days(candles)
    since = candles.time - np.repeat(candles.time[starts], counts)
    grid = np.gcd.reduceat(since, starts)
    coarse = (grid > candles.dataset.timeframe.seconds) & (counts >= STEP_CANDLES)
    if coarse.sum() < min(STEP_DAYS, len(starts)):
        coarse[:] = False
    return _at(candles, starts[coarse], grid[coarse])


def _wrong_time_zone(candles: CandleArrays) -> tuple[Rows, Values]:
    if candles.dataset.instrument.market is not Market.FX:
        return _at(candles)
    closures = [
        (closure.start_seconds, closure.end_seconds)
        for closure in closed_windows(Market.FX, _window(candles))
        if closure.end_seconds - closure.start_seconds >= WEEKEND_SECONDS
    ]
    starts, ends = np.array(closures, dtype=np.int64).reshape(-1, 2).T
    opening = np.searchsorted(candles.time, (starts + ends) // 2)
    closed_late = candles.time[opening - 1] + candles.dataset.timeframe.seconds - starts
    opened_late = candles.time[opening] - ends
    # A late open or an early close alone is the market's own: a clock that is wrong moves both.
    shift = np.where(closed_late * opened_late > 0, np.minimum(np.abs(closed_late), np.abs(opened_late)), 0)
    shifted = shift >= SHIFT_SECONDS
    if shifted.sum() < max(SHIFTED_WEEKENDS, SHIFTED_SHARE * len(closures)):
        shifted[:] = False
    return _at(candles, opening[shifted], (shift * np.sign(opened_late))[shifted] / 3600)


def _price_scale(candles: CandleArrays) -> tuple[Rows, Values]:
    ratio = candles.close[1:] / candles.close[:-1]
    ratio = np.concatenate([[1.0], np.maximum(ratio, 1 / ratio)])
    return ratio > PRICE_RATIO[candles.dataset.instrument.market], ratio


def _price_jump(candles: CandleArrays) -> tuple[Rows, Values]:
    before = candles.close[:-1]
    reach = np.concatenate([[0.0], np.maximum(candles.high[1:] / before - 1, 1 - candles.low[1:] / before)])
    return reach > PRICE_JUMP_FRACTION[candles.dataset.instrument.market], reach


def _volume_scale(candles: CandleArrays) -> tuple[Rows, Values]:
    starts, counts = _days(candles)
    medians = np.array([np.median(day) for day in np.split(candles.volume, starts[1:])])
    whole = np.flatnonzero((counts * candles.dataset.timeframe.seconds >= DAY_SHARE * DAY) & (medians > 0))
    ratio = medians[whole][1:] / medians[whole][:-1]
    ratio = np.maximum(ratio, 1 / ratio)
    jumps = ratio > VOLUME_RATIO
    return _at(candles, starts[whole[1:][jumps]], ratio[jumps])


def _flat_without_volume(candles: CandleArrays) -> tuple[Rows, Values]:
    flat = (candles.volume == 0) & (candles.high == candles.low)
    return flat, flat.astype(np.float64)


def _out_of_session(candles: CandleArrays) -> tuple[Rows, Values]:
    stray = ~are_among(candles.time, expected_slots(candles.dataset, _window(candles)))
    return stray, stray.astype(np.float64)


CHECKS = (
    _Check(
        kind=FindingKind.WRONG_STEP,
        look=_wrong_step,
        unit="day",
        words="on {places} the candles lie {worst:.0f} s apart, expected {step} s",
    ),
    _Check(
        kind=FindingKind.WRONG_TIME_ZONE,
        look=_wrong_time_zone,
        unit="weekend",
        words="{places} at which trading ends and begins up to {worst:+.1f} h off Friday and Sunday 17:00 New York",
    ),
    _Check(
        kind=FindingKind.PRICE_SCALE,
        look=_price_scale,
        unit="candle",
        words="{places} with a close that differs from the one before by a factor of up to {worst:.3g}",
    ),
    _Check(
        kind=FindingKind.VOLUME_SCALE,
        look=_volume_scale,
        unit="day",
        words="{places} with a median volume that differs from the day before by a factor of up to {worst:,.0f}",
    ),
    _Check(
        kind=FindingKind.PRICE_JUMP,
        look=_price_jump,
        unit="candle",
        words="{places} with a price up to {worst:.1%} from the close before",
    ),
    _Check(
        kind=FindingKind.FLAT_WITHOUT_VOLUME,
        look=_flat_without_volume,
        unit="candle",
        words="{places} with one price and no volume",
    ),
    _Check(
        kind=FindingKind.OUT_OF_SESSION,
        look=_out_of_session,
        unit="candle",
        words="{places} where the market is closed by calendar",
    ),
)
"""In the order in which they are told: what refuses first."""


def _days(candles: CandleArrays) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Position of each UTC day's first candle, and how many the day has."""
    day = candles.time // DAY
    starts = np.flatnonzero(np.diff(day, prepend=day[0] - 1))
    return starts, np.diff(starts, append=len(day))


def _at(
    candles: CandleArrays, positions: NDArray[np.int64] | None = None, values: NDArray[np.generic] | None = None
) -> tuple[Rows, Values]:
    """The form of an answer: which candles, and a value for each."""
    rows, spread = np.zeros(len(candles), dtype=np.bool_), np.zeros(len(candles))
    if positions is not None:
        rows[positions], spread[positions] = True, values
    return rows, spread


def _window(candles: CandleArrays) -> Window:
    return Window.of_seconds(int(candles.time[0]), int(candles.time[-1]) + candles.dataset.timeframe.seconds)


def _arrays(candles: Candles) -> CandleArrays:
    columns = {name: candles.frame[name].to_numpy() for name in ("open", "high", "low", "close", "volume")}
    return CandleArrays(dataset=candles.dataset, time=candles.times, half_spread=None, **columns)
