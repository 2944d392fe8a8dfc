"""Candle arrays of the simulated exchange and the protocol of its candle sources."""

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tradeschool.markets.grid import Alignment, CandleGrid, aligned_grid
from tradeschool.markets.instruments import Dataset, Instrument
from tradeschool.markets.timeframes import Timeframe
from tradeschool.markets.windows import Window

Times = NDArray[np.int64]
"""Candle opens in Unix seconds, ascending, shape (n_candles,)."""
Prices = NDArray[np.float64]
"""Columns open, high, low and close, quote per base, shape (n_candles, 4)."""
OPEN, HIGH, LOW, CLOSE = range(4)


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedCandles:
    """Candles of one dataset; indexing with a slice or an array of positions returns a selection."""

    times: Times
    prices: Prices
    """Traded prices for crypto, mid prices for FX."""
    volumes: NDArray[np.float64]
    """Base units for crypto, number of prices for FX, shape (n_candles,)."""
    bid: Prices | None = None
    """Only for FX."""
    ask: Prices | None = None
    """Only for FX."""

    def within(self, start: int, end: int) -> "SimulatedCandles":
        """Return views of the candles that open in [start, end), Unix seconds."""
        first, last = np.searchsorted(self.times, [start, end])
        return self[int(first) : int(last)]

    def __getitem__(self, chosen: slice | NDArray[np.intp]) -> "SimulatedCandles":
        return SimulatedCandles(
            times=self.times[chosen],
            prices=self.prices[chosen],
            volumes=self.volumes[chosen],
            bid=None if self.bid is None else self.bid[chosen],
            ask=None if self.ask is None else self.ask[chosen],
        )

    def __len__(self) -> int:
        return len(self.times)


class CandleSource(Protocol):
    """Source of the exchange's candles."""

    @property
    def instruments(self) -> tuple[Instrument, ...]:
        """Instruments that the exchange lists."""
        ...

    def candles(self, dataset: Dataset, start: int, end: int) -> SimulatedCandles:
        """Return the candles of a listed instrument that open in [start, end), Unix seconds; may be empty."""
        ...


def first_candles(source: CandleSource, dataset: Dataset, start: int, end: int, count: int) -> SimulatedCandles:
    """Return up to `count` first candles that open in [start, end), Unix seconds."""
    reach = _reach(dataset, count)
    while True:
        candles = source.candles(dataset, start, min(start + reach, end))
        if len(candles) >= count or start + reach >= end:
            return candles[:count]
        reach *= 4


def last_candles(source: CandleSource, dataset: Dataset, end: int, count: int) -> SimulatedCandles:
    """Return up to `count` last candles that open before `end`, Unix seconds."""
    reach = _reach(dataset, count)
    while True:
        candles = source.candles(dataset, max(end - reach, 0), end)
        if len(candles) >= count or reach >= end:
            return candles[max(len(candles) - count, 0) :]
        reach *= 4


class RealignedCandles:
    """H4 and D1 candles with another start of the day, aggregated from the H1 candles of a source."""

    def __init__(self, source: CandleSource, alignment: Alignment) -> None:
        self._source = source
        self._alignment = alignment

    @property
    def instruments(self) -> tuple[Instrument, ...]:
        """Instruments of the source."""
        return self._source.instruments

    def candles(self, dataset: Dataset, start: int, end: int) -> SimulatedCandles:
        """Return the candles that open in [start, end), Unix seconds."""
        grid = aligned_grid(dataset.timeframe.seconds, self._alignment)
        return aggregated_within(self._source, dataset.at(Timeframe.H1), grid, start, end)


def aggregated_within(source: CandleSource, base: Dataset, grid: CandleGrid, start: int, end: int) -> SimulatedCandles:
    """Aggregate the candles of a shorter timeframe to the candles of a grid that open in [start, end)."""
    if start >= end:
        return no_candles(base.instrument)
    first, last = grid.covering(Window.of_seconds(start, end))
    whole = grid.between(first, last)
    found = aggregated(source.candles(base, whole.start_seconds, whole.end_seconds), grid)
    return found.within(start, end)


def no_candles(instrument: Instrument) -> SimulatedCandles:
    """Return arrays of length zero, with bid and ask for FX."""
    prices = np.empty((0, 4))
    quotes = prices if instrument.has_spread else None
    return SimulatedCandles(times=np.empty(0, np.int64), prices=prices, volumes=np.empty(0), bid=quotes, ask=quotes)


def joined(parts: list[SimulatedCandles]) -> SimulatedCandles:
    """Concatenate candles of consecutive ranges; at least one part, all of the same market."""
    if len(parts) == 1:
        return parts[0]

    bids = [part.bid for part in parts if part.bid is not None]
    asks = [part.ask for part in parts if part.ask is not None]
    return SimulatedCandles(
        times=np.concatenate([part.times for part in parts]),
        prices=np.concatenate([part.prices for part in parts]),
        volumes=np.concatenate([part.volumes for part in parts]),
        bid=np.concatenate(bids) if bids else None,
        ask=np.concatenate(asks) if asks else None,
    )


def aggregated(candles: SimulatedCandles, grid: CandleGrid) -> SimulatedCandles:
    """Aggregate candles to the longer candles of a grid; a candle exists if at least one of its parts exists.

    Source: the providers build every timeframe from the same prices and grid.
    """
    if not len(candles):
        return candles
    buckets = grid.floor(candles.times)
    starts = np.flatnonzero(np.diff(buckets, prepend=buckets[0] - 1))
    return SimulatedCandles(
        times=buckets[starts],
        prices=_bucketed(candles.prices, starts),
        volumes=np.add.reduceat(candles.volumes, starts).round(8),
        bid=None if candles.bid is None else _bucketed(candles.bid, starts),
        ask=None if candles.ask is None else _bucketed(candles.ask, starts),
    )


def as_of(candles: SimulatedCandles, dataset: Dataset, now: float) -> SimulatedCandles:
    """Return the candles as of `now` (Unix seconds): an unfinished last candle is reduced to its elapsed part."""
    if not len(candles) or int(candles.times[-1]) + dataset.timeframe.seconds <= now:
        return candles
    elapsed_fraction = (now - int(candles.times[-1])) / dataset.timeframe.seconds
    decimals = dataset.instrument.decimals
    return replace(
        candles,
        prices=_partial(candles.prices, elapsed_fraction, decimals),
        volumes=np.append(candles.volumes[:-1], _partial_volume(candles.volumes[-1], elapsed_fraction, dataset)),
        bid=None if candles.bid is None else _partial(candles.bid, elapsed_fraction, decimals),
        ask=None if candles.ask is None else _partial(candles.ask, elapsed_fraction, decimals),
    )


def _reach(dataset: Dataset, count: int) -> int:
    """Return a span in seconds that usually contains `count` candles, weekends and holidays included."""
    return count * dataset.timeframe.seconds * 3 // 2 + 4 * 86_400


def _bucketed(prices: Prices, starts: NDArray[np.intp]) -> Prices:
    ends = np.append(starts[1:], len(prices)) - 1
    highest = np.maximum.reduceat(prices[:, HIGH], starts)
    lowest = np.minimum.reduceat(prices[:, LOW], starts)
    return np.column_stack([prices[starts, OPEN], highest, lowest, prices[ends, CLOSE]])


def _partial(prices: Prices, elapsed_fraction: float, decimals: int) -> Prices:
    # Each price has moved the same fraction of its distance from the open, so low and high remain extremes.
    last = prices[-1]
    moved = np.round(last[OPEN] + (last - last[OPEN]) * elapsed_fraction, decimals)
    return np.concatenate([prices[:-1], moved[np.newaxis]])


def _partial_volume(volume: float, elapsed_fraction: float, dataset: Dataset) -> float:
    if dataset.instrument.has_spread:
        return max(1.0, float(volume * elapsed_fraction // 1))
    return round(float(volume) * elapsed_fraction, 8)
