"""Minute candles that add up to given five-minute candles: same open, extremes, close, volume and spread.

A five-minute candle with fewer prices than minutes has candles in its first minutes only, as in a quiet market.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fetcher.simulator.candles.source import CLOSE, HIGH, LOW, OPEN, Prices, SimulatedCandles

MINUTE = 60
MINUTES = 5
VOLUME_DIGITS = 8
"""Decimal places of a crypto volume."""

Whole = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Steps:
    """Price paths in whole ticks, all of shape (n_candles, MINUTES)."""

    opens: Whole
    highs: Whole
    lows: Whole
    closes: Whole


def split_into_minutes(rng: np.random.Generator, candles: SimulatedCandles, decimals: int) -> SimulatedCandles:
    """Return minute candles of five-minute candles; aggregating them gives the given candles again."""
    scale = 10.0**decimals
    ticks = np.rint(candles.prices * scale).astype(np.int64)
    volumes = _split_volumes(rng, candles)
    exists = volumes > 0
    steps = _steps(rng, ticks, exists.sum(axis=1))
    times = candles.times[:, np.newaxis] + MINUTE * np.arange(MINUTES)
    mid = np.stack([steps.opens, steps.highs, steps.lows, steps.closes], axis=2)

    def quoted(quote: Prices | None) -> Prices | None:
        if quote is None:
            return None
        distance = np.rint((quote[:, OPEN] - candles.prices[:, OPEN]) * scale).astype(np.int64)
        return np.asarray((mid + distance[:, np.newaxis, np.newaxis])[exists] / scale)

    unit = 1.0 if candles.bid is not None else 10.0**VOLUME_DIGITS
    return SimulatedCandles(
        times=times[exists],
        prices=mid[exists] / scale,
        volumes=volumes[exists] / unit,
        bid=quoted(candles.bid),
        ask=quoted(candles.ask),
    )


def _split_volumes(rng: np.random.Generator, candles: SimulatedCandles) -> Whole:
    """Split volumes in whole units, shape (n_candles, MINUTES); the first minute always has some."""
    unit = 1.0 if candles.bid is not None else 10.0**VOLUME_DIGITS
    total = np.rint(candles.volumes * unit).astype(np.int64)
    weights = np.cumsum(rng.uniform(0.5, 1.5, (len(total), MINUTES)), axis=1)
    shares = weights / weights[:, -1:]
    spare = np.maximum(total - MINUTES, 0)
    ends = np.rint(shares * spare[:, np.newaxis]).astype(np.int64)
    ends += np.minimum(np.arange(1, MINUTES + 1), total[:, np.newaxis])
    return np.diff(ends, axis=1, prepend=0)


def _steps(rng: np.random.Generator, ticks: Whole, counts: Whole) -> _Steps:
    """Return paths from each open to each close that touch high and low; `counts`: minutes with a candle."""
    low, high = ticks[:, LOW, np.newaxis], ticks[:, HIGH, np.newaxis]
    closes = low + np.rint(rng.random((len(ticks), MINUTES)) * (high - low)).astype(np.int64)
    rows, last = np.arange(len(ticks)), counts - 1
    closes[rows, last] = ticks[:, CLOSE]
    opens = np.concatenate([ticks[:, OPEN, np.newaxis], closes[:, :-1]], axis=1)
    highs, lows = np.maximum(opens, closes), np.minimum(opens, closes)
    highs[rows, _drawn_minutes(rng, counts)] = ticks[:, HIGH]
    lows[rows, _drawn_minutes(rng, counts)] = ticks[:, LOW]
    return _Steps(opens=opens, highs=highs, lows=lows, closes=closes)


def _drawn_minutes(rng: np.random.Generator, counts: Whole) -> Whole:
    return (rng.random(len(counts)) * counts).astype(np.int64)
