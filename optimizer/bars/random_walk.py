"""Synthetic candles: a random walk with the gaps, flat bars and jumps of real candles."""

import numpy as np

from tradeschool.markets.grid import grid_of
from tradeschool.markets.instruments import Dataset, Market
from tradeschool.markets.windows import Window
from tradeschool.ohlcv.arrays import CandleArrays

START_TICKS = {market: 110_000 if market is Market.FX else 2_000_000 for market in Market}
"""First price in ticks, such as 20,000.00 for crypto and 1.10000 for FX."""
MISSING = 0.002
"""Share of missing bars."""
VOLATILITY = 0.05
"""Standard deviation of the daily return."""
DAY_SECONDS = 86_400
HALF_SPREAD_TICKS = 7


def random_walk(dataset: Dataset, window: Window, seed: int) -> CandleArrays:
    """Return synthetic candles over a window, reproducible by seed; FX has half-spreads and trades around the clock."""
    random = np.random.default_rng(seed)
    slots = grid_of(dataset).opens(window)
    time = slots[random.random(len(slots)) >= MISSING]
    start, tick = START_TICKS[dataset.instrument.market], dataset.instrument.tick
    step = VOLATILITY * np.sqrt(dataset.timeframe.seconds / DAY_SECONDS)
    moves = random.standard_t(4, len(time)) * step / np.sqrt(2)
    close = np.maximum(np.rint(start * np.exp(np.cumsum(moves - moves.mean()))), 2.0)
    opened = np.concatenate(([start], close[:-1]))
    reach = np.rint(np.abs(random.normal(0, step / 2, (2, len(time)))) * close)
    low = np.maximum(np.minimum(opened, close) - reach[0], 1.0)
    high = np.maximum(opened, close) + reach[1]
    has_spread = dataset.instrument.has_spread
    return CandleArrays(
        dataset=dataset,
        time=time,
        open=opened * tick,
        high=high * tick,
        low=low * tick,
        close=close * tick,
        volume=random.integers(1, 1_000, len(time)).astype(np.float64),
        half_spread=np.full(len(time), HALF_SPREAD_TICKS * tick) if has_spread else None,
    )
