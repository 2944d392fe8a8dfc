"""Anomaly checks: functions from candles to findings, without side effects.

`tradeschool.ohlcv.frame` documents the candle contract, `tradeschool.ohlcv.findings` the kinds of findings and
their severity.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tradeschool.markets.calendars import FX, FX_CALENDARS, closed_windows, expected_slots
from tradeschool.markets.grid import grid_of
from tradeschool.markets.instruments import Market
from tradeschool.markets.windows import Window
from tradeschool.ohlcv.arrays import CandleArrays, are_among
from tradeschool.ohlcv.findings import Finding, FindingKind
from tradeschool.ohlcv.frame import Candles

DAY = 86_400  # seconds
VOLUME_RATIO = 100.0
"""Largest plausible ratio between the median volumes of consecutive days; years of real candles stay below 10."""
DAY_SHARE = 0.25
"""Fraction of a day's candles required for its median to count; an FX Sunday has an eighth."""
PRICE_JUMP_FRACTION = {
    Market.CRYPTO: 0.25,
    Market.FX: 0.05,
    Market.METAL: 0.1,
    Market.INDEX: 0.1,
    Market.COMMODITY: 0.25,
    Market.BOND: 0.05,
    Market.STOCK: 0.25,
}
"""Largest plausible distance of a high or low from the previous close, as a fraction of that close."""
PRICE_RATIO = {market: 5.0 if market in (Market.CRYPTO, Market.COMMODITY, Market.STOCK) else 2.0 for market in Market}
"""Largest plausible ratio of consecutive closes; above it the scale or the instrument is wrong."""
WEEKLY = (Market.FX, Market.METAL)
"""Markets whose weeks begin and end at the times of their calendar; those of indices have hours of their own."""
STEP_CANDLES = 6
"""Candles per day from which a coarser grid is not a coincidence."""
STEP_DAYS = 2
"""Days on a coarser grid from which they are not a coincidence; 1 if there is only one day."""
WEEKEND_SECONDS = 40 * 3600
"""Shortest closure that counts as a weekend; a shorter one is a holiday."""
SHIFT_SECONDS = 1800
"""Smallest offset of both the begin and the end of a weekend for it to count as shifted."""
SHIFTED_WEEKENDS = 2
SHIFTED_SHARE = 0.2
"""Share of all weekends that must be shifted; ignoring daylight saving time shifts half of them."""

Rows = NDArray[np.bool_]
Values = NDArray[np.float64]


def inspect(candles: Candles) -> tuple[Finding, ...]:
    """Return all findings of the candles, by kind and year."""
    if not len(candles):
        return ()
    arrays = _arrays(candles)
    with np.errstate(over="ignore"):  # a damaged price may be of any size; an infinite ratio is a finding, too
        return tuple(finding for check in CHECKS for finding in _findings(arrays, check))


def usual_spacing(times: NDArray[np.int64]) -> int:
    """Return the most common distance between consecutive times in seconds; 0 for fewer than two times.

    `times` need not be sorted.
    """
    distances, counts = np.unique(np.abs(np.diff(times)), return_counts=True)
    return int(distances[counts.argmax()]) if len(distances) else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Check:
    """One anomaly check: its kind, its function and its message."""

    kind: FindingKind
    look: Callable[[CandleArrays], tuple[Rows, Values]]
    """Returns a mask of affected candles and a value for each candle, both of shape (n_candles,)."""
    unit: str
    """Noun for what is counted: candle, day or weekend."""
    words: str
    """Message template with the placeholders `places`, `worst` and `step`."""


def _findings(candles: CandleArrays, check: _Check) -> Iterator[Finding]:
    rows, values = check.look(candles)
    positions = np.flatnonzero(rows)
    years = candles.time[positions].astype("datetime64[s]").astype("datetime64[Y]")
    step, grid = candles.dataset.timeframe.seconds, grid_of(candles.dataset)
    for year in np.unique(years):
        of_year = positions[years == year]
        worst = values[of_year][np.abs(values[of_year]).argmax()]
        window = Window.of_seconds(int(candles.time[of_year[0]]), grid.close_of(int(candles.time[of_year[-1]])))
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
    instrument = candles.dataset.instrument
    if instrument.market not in WEEKLY or instrument.calendar not in FX_CALENDARS:
        return _at(candles)
    closures = [
        (closure.start_seconds, closure.end_seconds)
        for closure in closed_windows(FX, _window(candles))
        if closure.end_seconds - closure.start_seconds >= WEEKEND_SECONDS
    ]
    starts, ends = np.array(closures, dtype=np.int64).reshape(-1, 2).T
    opening = np.searchsorted(candles.time, (starts + ends) // 2)
    closed_late = grid_of(candles.dataset).close(candles.time[opening - 1]) - starts
    opened_late = candles.time[opening] - ends
    # A late open or an early close alone is normal; a wrong time zone shifts both in the same direction.
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
    orphan = ~are_among(candles.time, expected_slots(candles.dataset, _window(candles)))
    return orphan, orphan.astype(np.float64)


CHECKS = (
    _Check(
        kind=FindingKind.WRONG_STEP,
        look=_wrong_step,
        unit="day",
        words="on {places} the candles are {worst:.0f} s apart, expected {step} s",
    ),
    _Check(
        kind=FindingKind.WRONG_TIME_ZONE,
        look=_wrong_time_zone,
        unit="weekend",
        words="{places} with trading hours up to {worst:+.1f} h off Friday and Sunday 17:00 New York time",
    ),
    _Check(
        kind=FindingKind.PRICE_SCALE,
        look=_price_scale,
        unit="candle",
        words="{places} with a close that differs from the previous close by a factor of up to {worst:.3g}",
    ),
    _Check(
        kind=FindingKind.VOLUME_SCALE,
        look=_volume_scale,
        unit="day",
        words="{places} with a median volume that differs from the previous day by a factor of up to {worst:,.0f}",
    ),
    _Check(
        kind=FindingKind.PRICE_JUMP,
        look=_price_jump,
        unit="candle",
        words="{places} with a price up to {worst:.1%} from the previous close",
    ),
    _Check(
        kind=FindingKind.FLAT_WITHOUT_VOLUME,
        look=_flat_without_volume,
        unit="candle",
        words="{places} with equal prices and no volume",
    ),
    _Check(
        kind=FindingKind.OUT_OF_SESSION,
        look=_out_of_session,
        unit="candle",
        words="{places} while the market is closed by calendar",
    ),
)
"""Checks in reporting order: those of severity `refuse` come first."""


def _days(candles: CandleArrays) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the position of each UTC day's first candle and the number of candles of each day."""
    day = candles.time // DAY
    starts = np.flatnonzero(np.diff(day, prepend=day[0] - 1))
    return starts, np.diff(starts, append=len(day))


def _at(
    candles: CandleArrays, positions: NDArray[np.int64] | None = None, values: NDArray[np.generic] | None = None
) -> tuple[Rows, Values]:
    """Return a mask of the given positions and an array with a value for each candle."""
    rows, spread = np.zeros(len(candles), dtype=np.bool_), np.zeros(len(candles))
    if positions is not None:
        rows[positions], spread[positions] = True, values
    return rows, spread


def _window(candles: CandleArrays) -> Window:
    return Window.of_seconds(int(candles.time[0]), grid_of(candles.dataset).close_of(int(candles.time[-1])))


def _arrays(candles: Candles) -> CandleArrays:
    columns = {name: candles.frame[name].to_numpy() for name in ("open", "high", "low", "close", "volume")}
    return CandleArrays(dataset=candles.dataset, time=candles.times, half_spread=None, **columns)
