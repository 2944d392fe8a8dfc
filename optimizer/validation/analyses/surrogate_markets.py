"""Surrogate markets without skill: real candles with days reordered in blocks and each bar's direction randomised.

Days are drawn in blocks of random length, as in the stationary bootstrap (Politis and Romano, see
`statistics.bootstrap`), each in place of a day of the same weekday. This preserves volatility clusters, sessions,
weekends and intraday patterns. Blocks alone would keep trends of hours, so each bar is also inverted at random. No bar
then predicts the direction of the next one, while the size of moves is unchanged.

One surrogate market serves a whole curriculum: all levels, markets and timeframes share one order of days and one set
of signs, so a day that several levels read is the same day for each, and correlations between markets and timeframes
remain. A day is replaced by one on which the curriculum reads the same markets, so no candle is missing. Every
timeframe of a market is built from the finest one that any level reads on that day.

Source of the random signs: R. Y. Liu, Bootstrap Procedures under some Non-I.I.D. Models (1988), Annals of Statistics
16:1696-1708.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from optimizer.bars.preparation import DAY_SECONDS, largest_ticks
from optimizer.level.level_dataset import LevelDataset
from optimizer.level.spec import Level
from optimizer.objective.objective import Read
from tradeschool.markets.grid import grid_of
from tradeschool.markets.instruments import Dataset, Instrument
from tradeschool.markets.windows import Window
from tradeschool.ohlcv.arrays import CandleArrays, joined

BLOCK_DAYS = 10.0
"""Mean block length in days."""
WEEK = 7

Floats = NDArray[np.float64]
Days = NDArray[np.int64]


def surrogate(levels: Sequence[Level], read: Read, seed: Sequence[int]) -> Read:
    """Return a function that reads surrogate candles of the levels' markets, reproducible by seed.

    The returned function raises the same errors as `read`.
    """
    market = SurrogateMarket(levels, read, seed)

    @cache
    def candles(dataset: Dataset) -> CandleArrays:
        return market.candles(dataset)

    def one(dataset: Dataset, window: Window) -> CandleArrays:
        made = candles(dataset)
        first, end = np.searchsorted(made.time, (window.start_seconds, window.end_seconds))
        return made[slice(int(first), int(end))]

    return one


class SurrogateMarket:
    """All markets of a curriculum over the days from its first to its last."""

    def __init__(self, levels: Sequence[Level], read: Read, seed: Sequence[int]) -> None:
        self._read, self._seed = read, [*seed]
        self._datasets = list(dict.fromkeys(each for level in levels for each in level.datasets))
        starts, ends = zip(*((each.window.start, each.window.end) for each in self._datasets), strict=True)
        self._span = Window(min(starts), max(ends))
        self._finest = {
            instrument: self._finest_by_day(instrument)
            for instrument in dict.fromkeys(each.source.instrument for each in self._datasets)
        }
        self._order = day_order(alike_days(list(self._finest.values())), self._seed)
        self._made: dict[Instrument, list[CandleArrays]] = {}

    def candles(self, dataset: Dataset) -> CandleArrays:
        """Return all surrogate candles of a dataset, on the days on which a level reads it."""
        days = np.zeros(len(self._order), dtype=bool)
        for each in self._datasets:
            if each.source == dataset:
                days[self._days_of(each.window)] = True
        return joined(dataset, [self._on_days(dataset, run, days) for run in self._runs(dataset.instrument)])

    def _on_days(self, dataset: Dataset, run: CandleArrays, days: NDArray[np.bool_]) -> CandleArrays:
        number = np.clip((run.time - self._span.start_seconds) // DAY_SECONDS, 0, len(days) - 1)
        kept = run[days[number]]
        return kept if kept.dataset == dataset or not len(kept) else joined_to(dataset, kept)

    def _runs(self, instrument: Instrument) -> list[CandleArrays]:
        """Return the candles of a market, one part for each run of days with the same finest timeframe.

        Prices continue from run to run, unless days without candles lie between them.
        """
        if instrument in self._made:
            return self._made[instrument]
        finest, last, runs = self._finest[instrument], None, []
        for start, end in _runs_of(finest):
            if not finest[start]:
                last = None
                continue
            source = self._source(instrument, int(finest[start]))
            moves = reordered(source, self._span, self._order[start:end], first=start)
            if last is not None:
                moves = replace(moves, start=last)
            runs.append(sign_flipped(moves, draw_signs(moves, self._span, self._seed)))
            last = float(runs[-1].close[-1]) if len(runs[-1]) else last
        self._made[instrument] = runs
        return runs

    def _source(self, instrument: Instrument, seconds: int) -> CandleArrays:
        """Return the real candles of a market in one timeframe, on all days on which a level reads them."""
        held = [each for each in self._datasets if _is_of(each, instrument, seconds)]
        found = [self._read(each.source, each.window) for each in held]
        return joined(held[0].source, found)

    def _finest_by_day(self, instrument: Instrument) -> Days:
        """Return the seconds of the finest timeframe of a market on each day; 0 on a day that no level reads."""
        finest = np.zeros((self._span.end - self._span.start).days, dtype=np.int64)
        for each in self._datasets:
            if each.source.instrument == instrument:
                days, seconds = self._days_of(each.window), each.source.timeframe.seconds
                finest[days] = np.where(finest[days] == 0, seconds, np.minimum(finest[days], seconds))
        return finest

    def _days_of(self, window: Window) -> slice:
        first = (window.start - self._span.start) // timedelta(days=1)
        return slice(first, first + (window.end - window.start).days)


def alike_days(columns: Sequence[Days]) -> Days:
    """Return the class of each day, shape (n_days,): days of one class have equal values in every column."""
    _, classes = np.unique(np.stack(columns), axis=1, return_inverse=True)
    return np.asarray(classes, dtype=np.int64).reshape(-1)


def day_order(classes: Days, seed: Sequence[int]) -> Days:
    """Return the source day for each day, shape (n_days,); both have the same weekday and the same class."""
    random, days = np.random.default_rng(list(seed)), len(classes)
    jumps = random.random(days) < 1.0 / BLOCK_DAYS
    anywhere = random.random(days)
    alike: dict[tuple[int, int], list[int]] = {}
    for day, kind in enumerate(classes.tolist()):
        alike.setdefault((kind, day % WEEK), []).append(day)
    order = np.empty(days, dtype=np.int64)
    for place, kind in enumerate(classes.tolist()):
        following = int(order[place - 1]) + 1 if place else days
        follows = not jumps[place] and following < days and classes[following] == kind
        choices = alike[kind, place % WEEK]
        order[place] = following if follows else choices[int(anywhere[place] * len(choices))]
    return order


def draw_signs(moves: "RelativePrices", window: Window, seed: Sequence[int]) -> NDArray[np.bool_]:
    """Return which bars keep their sign, shape (n_bars,); equal for all markets of a window and timeframe."""
    seconds = moves.dataset.timeframe.seconds
    slots = -(-(window.end_seconds - window.start_seconds) // seconds)
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


def reordered(candles: CandleArrays, window: Window, days: Days, first: int = 0) -> RelativePrices:
    """Return the bars of a history whose day `first` + n is day `days[n]` of the candles, counted in the window."""
    midnights = window.start_seconds + DAY_SECONDS * days
    starts, ends = (np.searchsorted(candles.time, times) for times in (midnights, midnights + DAY_SECONDS))
    counts = ends - starts
    places = np.repeat(starts - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
    later = np.repeat(DAY_SECONDS * (first + np.arange(len(days)) - days), counts)
    before = _previous_closes(candles)
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


def _previous_closes(candles: CandleArrays) -> Floats:
    """Return the close before each bar; its own open after a gap of more than a week, which no block spans."""
    before = np.concatenate((candles.open[:1], candles.close[:-1]))
    is_first = np.diff(candles.time, prepend=candles.time[:1]) > WEEK * DAY_SECONDS
    return np.where(is_first, candles.open, before)


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


def _is_of(dataset: LevelDataset, instrument: Instrument, seconds: int) -> bool:
    return dataset.source.instrument == instrument and dataset.source.timeframe.seconds == seconds


def _runs_of(values: Days) -> Iterator[tuple[int, int]]:
    """Yield start and end of each run of equal values."""
    borders = [0, *(np.flatnonzero(np.diff(values)) + 1).tolist(), len(values)]
    yield from pairwise(borders)


def whole_ticks(prices: Floats, instrument: Instrument) -> Floats:
    """Round prices to whole ticks of an instrument."""
    ticks: Floats = np.clip(np.rint(prices / instrument.tick), 1, largest_ticks(instrument)) * instrument.tick
    return ticks
