"""Twelve made datasets of the curriculum's size, sealed in a store: random walks without a missing candle."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl

from tradeschool.markets.calendars import expected_slots
from tradeschool.markets.catalogue import default_catalogue
from tradeschool.markets.instruments import Dataset, Market
from tradeschool.markets.windows import Window
from tradeschool.ohlcv.frame import Candles, schema
from tradeschool.store import Seal
from tradeschool.store.frame_store import FrameStore

START_TICKS = {Market.CRYPTO: 3_000_000, Market.FX: 110_000}
SWING = {Market.CRYPTO: 2e-3, Market.FX: 3e-4}
"""Standard deviation of a five minutes' move, as a fraction."""


def make(root: Path) -> None:
    """Seal every range of the default catalogue."""
    store = FrameStore(root)
    for seed, wanted in enumerate(default_catalogue()):
        _seal(store, wanted.dataset, wanted.window, seed)


def _seal(store: FrameStore, dataset: Dataset, window: Window, seed: int) -> None:
    slots = expected_slots(dataset, window)
    frame = _walk(dataset, slots, np.random.default_rng(seed))
    candles = Candles.parse(frame, dataset, window)
    files = [store.write_year(_part(candles, dataset, part), window, year) for year, part in window.years()]
    store.seal(
        dataset,
        Seal(
            dataset=dataset.name,
            start=window.start,
            end=window.end,
            rows=len(slots),
            expected=len(slots),
            gaps=(),
            derived=False,
            files=tuple(files),
            sealed_at=datetime.now(UTC),
        ),
    )


def _walk(dataset: Dataset, slots: np.ndarray, random: np.random.Generator) -> pl.DataFrame:
    market, tick = dataset.instrument.market, dataset.instrument.tick
    swing = SWING[market] * (dataset.timeframe.seconds / 300) ** 0.5
    close = START_TICKS[market] * np.exp(np.clip(np.cumsum(random.normal(0, swing, len(slots))), -2, 2))
    opened = np.concatenate(([START_TICKS[market]], close[:-1]))
    above, below = np.abs(random.normal(0, swing / 2, (2, len(slots)))) * close
    ticks = np.rint([opened, np.maximum(opened, close) + above, np.minimum(opened, close) - below, close])
    columns = dict(zip(("open", "high", "low", "close"), ticks * tick, strict=True))
    spread = {"half_spread": np.full(len(slots), 7 * tick)}
    frame = pl.DataFrame({"ts": slots * 1_000_000, **columns, "volume": np.ones(len(slots)), **spread})
    return frame.select(schema(dataset).keys()).cast(schema(dataset))


def _part(candles: Candles, dataset: Dataset, part: Window) -> Candles:
    inside = pl.col("ts").is_between(part.start, part.end, closed="left")
    return Candles.parse(candles.frame.filter(inside), dataset, part)
