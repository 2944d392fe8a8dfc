"""Surrogate markets without skill: real candles with days reordered in blocks and each bar's direction randomised.

Days are drawn in blocks of random length, as in the stationary bootstrap (Politis and Romano, see
`statistics.bootstrap`), each in place of a day of the same weekday. This preserves volatility clusters, sessions,
weekends and intraday patterns. Blocks alone would keep trends of hours, so each bar is also inverted at random. No bar
then predicts the direction of the next one, while the size of moves is unchanged.

All markets of a window share one order and the same signs, and every timeframe of a market is built from its finest
one, so correlations between markets and timeframes remain.

Source of the random signs: R. Y. Liu, Bootstrap Procedures under some Non-I.I.D. Models (1988), Annals of Statistics
16:1696-1708.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from optimizer.bars.preparation import DAY_SECONDS, largest_ticks
from optimizer.level.spec import Level
from optimizer.objective.objective import Read
from tradeschool.markets.grid import grid_of
from tradeschool.markets.instruments import Dataset, Instrument
from tradeschool.markets.windows import Window
from tradeschool.ohlcv.arrays import CandleArrays

BLOCK_DAYS = 10.0
"""Mean block length in days."""
WEEK = 7

Floats = NDArray[np.float64]


def surrogate(level: Level, read: Read, seed: Sequence[int]) -> Read:
    """Return a function that reads surrogate candles of the level's markets, reproducible by seed.

    The returned function raises the same errors as `read`.
    """

    @cache
    def market(instrument: Instrument, whole: Window) -> CandleArrays:
        finest = min(
            (each.source for each in level.datasets if (each.source.instrument, each.window) == (instrument, whole)),
            key=lambda dataset: dataset.timeframe.seconds,
        )
        drawn = [*seed, whole.start_seconds, whole.end_seconds]
        ordered = reordered(read(finest, whole), whole, day_order((whole.end - whole.start).days, drawn))
        return sign_flipped(ordered, draw_signs(ordered, whole, drawn))

    @cache
    def candles(dataset: Dataset, whole: Window) -> CandleArrays:
        made = market(dataset.instrument, whole)
        return made if made.dataset == dataset else joined_to(dataset, made)

    def one(dataset: Dataset, window: Window) -> CandleArrays:
        holders = (each.window for each in level.datasets if each.source == dataset)
        made = candles(dataset, next(whole for whole in holders if whole.contains(window)))
        return made[(made.time >= window.start_seconds) & (made.time < window.end_seconds)]

    return one


def day_order(days: int, seed: Sequence[int]) -> NDArray[np.int64]:
    """Return the source day for each day of a window, shape (n_days,); both have the same weekday."""
    random = np.random.default_rng(list(seed))
    jumps = random.random(days) < 1.0 / BLOCK_DAYS
    anywhere = random.random(days)
    order = np.empty(days, dtype=np.int64)
    for place in range(days):
        follows = place > 0 and not jumps[place] and order[place - 1] + 1 < days
        weeks = (days - 1 - place % WEEK) // WEEK + 1
        order[place] = order[place - 1] + 1 if follows else place % WEEK + WEEK * int(anywhere[place] * weeks)
    return order


def draw_signs(moves: "RelativePrices", window: Window, seed: Sequence[int]) -> NDArray[np.bool_]:
    """Return which bars keep their sign, shape (n_bars,); equal for all markets of a window and timeframe."""
    seconds = moves.dataset.timeframe.seconds
    slots = (window.end_seconds - window.start_seconds) // seconds
    kept = np.random.default_rng([*seed, seconds]).random(slots) < 0.5
    return kept[(moves.time - window.start_seconds) // seconds]


@dataclass(frozen=True, slots=True, kw_only=True)
class RelativePrices:
    """Bars as logarithmic distances from the previous close, all arrays of shape (n_bars,)."""

    dataset: Dataset
    start: float
    """Price before the first bar."""
    time: NDArray[np.int64]
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    half_spread: Floats | None


def reordered(candles: CandleArrays, window: Window, days: NDArray[np.int64]) -> RelativePrices:
    """Return the bars of a history whose day n is day `days[n]` of the given candles."""
    midnights = window.start_seconds + DAY_SECONDS * np.arange(len(days) + 1)
    starts = np.searchsorted(candles.time, midnights)
    counts = np.diff(starts)[days]
    places = np.repeat(starts[days] - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
    later = np.repeat(DAY_SECONDS * (np.arange(len(days)) - days), counts)
    before = np.concatenate((candles.open[:1], candles.close[:-1]))
    return RelativePrices(
        dataset=candles.dataset,
        start=float(candles.open[0]) if len(candles) else 1.0,
        time=_nearest_opens(candles.dataset, candles.time[places] + later),
        open=np.log(candles.open / before)[places],
        high=np.log(candles.high / before)[places],
        low=np.log(candles.low / before)[places],
        close=np.log(candles.close / before)[places],
        volume=candles.volume[places],
        half_spread=None if candles.half_spread is None else candles.half_spread[places],
    )


def _nearest_opens(dataset: Dataset, times: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the nearest candle opens: a day from summer is an hour off the grid of a trading day in winter."""
    if not dataset.timeframe.is_day_aligned:
        return times
    return grid_of(dataset).floor(times + dataset.timeframe.seconds // 2)


def sign_flipped(moves: RelativePrices, kept: NDArray[np.bool_]) -> CandleArrays:
    """Build candles of these moves, inverted where not `kept`; zero expected return for a holder, in whole ticks."""
    drift = (
        math.log(float(np.mean(np.cosh(moves.close)))) if len(kept) else 0.0
    )  # because of convexity a zero mean log return has a positive mean return
    sign = np.where(kept, 1.0, -1.0)
    closes = np.cumsum(sign * moves.close - drift)
    before = math.log(moves.start) + np.concatenate(([0.0], closes))[: len(closes)] - drift

    def priced(move: Floats) -> Floats:
        return whole_ticks(np.exp(before + move), moves.dataset.instrument)

    return CandleArrays(
        dataset=moves.dataset,
        time=moves.time,
        open=priced(sign * moves.open),
        high=priced(np.where(kept, moves.high, -moves.low)),
        low=priced(np.where(kept, moves.low, -moves.high)),
        close=priced(sign * moves.close),
        volume=moves.volume,
        half_spread=moves.half_spread,
    )


def joined_to(dataset: Dataset, candles: CandleArrays) -> CandleArrays:
    """Aggregate candles to a longer timeframe of the same market, by the rules of derived datasets."""
    grid = grid_of(dataset)
    starts = np.flatnonzero(np.diff(grid.number(candles.time), prepend=-1))
    if not len(starts):
        return replace(candles, dataset=dataset)
    ends = np.append(starts[1:], len(candles)) - 1
    return replace(
        candles[starts],
        dataset=dataset,
        time=grid.floor(candles.time[starts]),
        high=np.maximum.reduceat(candles.high, starts),
        low=np.minimum.reduceat(candles.low, starts),
        close=candles.close[ends],
        volume=np.add.reduceat(candles.volume, starts),
    )


def whole_ticks(prices: Floats, instrument: Instrument) -> Floats:
    """Round prices to whole ticks of an instrument."""
    ticks: Floats = np.clip(np.rint(prices / instrument.tick), 1, largest_ticks(instrument)) * instrument.tick
    return ticks
