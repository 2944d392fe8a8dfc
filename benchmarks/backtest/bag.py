"""Seeded random parameter sets of sma_cross, and a dataset's signals as a task for other programs."""

from pathlib import Path

import numpy as np

from optimizer.backtest.entries import Entries, find_entries
from optimizer.bars.preparation import Prepared
from optimizer.level.spec import Direction
from optimizer.strategies.protocol import load, repaired

SMA = load("sma_cross")
RANGES = {
    "fast": (5.0, 60.0),
    "slow": (20.0, 250.0),
    "atr_period": (7.0, 28.0),
    "stop_atr": (0.8, 5.0),
    "target_atr": (0.8, 8.0),
}
"""Of the curriculum's third level: both directions, all datasets."""
USUAL = {"fast": 20, "slow": 100, "atr_period": 14, "stop_atr": 2.0, "target_atr": 4.0}


def draw(count: int, seed: int) -> list[dict[str, float]]:
    """Parameter sets, each drawn evenly from the ranges."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        drawn = {name: float(random.uniform(low, high)) for name, (low, high) in RANGES.items()}
        whole = {
            name: round(value) if name in ("fast", "slow", "atr_period") else value for name, value in drawn.items()
        }
        found.append({name: repaired(SMA, whole)[name] for name in RANGES})
    return found


def entries_of(prepared: Prepared, parameters: dict[str, float]) -> Entries:
    """A dataset's signals in both directions."""
    return find_entries(SMA, prepared, repaired(SMA, parameters), Direction.BOTH)


def write_task(prepared: Prepared, entries: Entries, path: Path, bars: int | None = None) -> None:
    """The first `bars` judged and unjudged bars, and their signals, as `programs/common.py` wants them."""
    count, tick = bars or len(prepared), prepared.dataset.instrument.tick
    signal, stop, target = np.zeros(count, dtype=np.int8), np.zeros(count), np.zeros(count)
    inside = entries.bar < count
    places = entries.bar[inside]
    signal[places] = entries.signal[inside]
    stop[places], target[places] = entries.stop_ticks[inside] * tick, entries.target_ticks[inside] * tick
    prices = {name: getattr(prepared, name)[:count] * tick for name in ("open", "high", "low", "close")}
    np.savez(path, time=prepared.time[:count], **prices, signal=signal, stop=stop, target=target)
