"""Synthetic candles sealed in a store."""

from collections.abc import Callable
from datetime import UTC, datetime

import polars as pl

from tests.factories.levels import read_made
from tradeschool.markets.calendars import expected_slots
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.windows import Window
from tradeschool.ohlcv.arrays import CandleArrays
from tradeschool.ohlcv.frame import Candles, schema
from tradeschool.store import Gap, Seal
from tradeschool.store.frame_store import FrameStore


def seal_made(
    store: FrameStore,
    dataset: Dataset,
    window: Window,
    read: Callable[[Dataset, Window], CandleArrays] = read_made,
    gaps: tuple[Gap, ...] = (),
) -> None:
    """Write and seal the candles of `read` for every open slot except the gaps."""
    arrays, slots = read(dataset, window), expected_slots(dataset, window)
    columns = {name: getattr(arrays, name) for name in ("open", "high", "low", "close", "volume", "half_spread")}
    frame = pl.DataFrame({"ts": arrays.time * 1_000_000, **{k: v for k, v in columns.items() if v is not None}})
    frame = frame.filter(pl.col("ts").is_in((slots * 1_000_000).tolist()))
    frame = frame.select(schema(dataset).keys()).cast(schema(dataset))
    for gap in gaps:
        frame = frame.filter(~pl.col("ts").is_between(gap.start, gap.end, closed="left"))
    parsed = Candles.parse(frame, dataset, window)
    files = [store.write_year(_of_year(parsed, dataset, part), window, year) for year, part in window.years()]
    seal = Seal(
        dataset=dataset.name,
        start=window.start,
        end=window.end,
        rows=len(parsed),
        expected=len(slots),
        gaps=gaps,
        derived=False,
        files=tuple(files),
        sealed_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    store.seal(dataset, seal)


def _of_year(candles: Candles, dataset: Dataset, part: Window) -> Candles:
    return Candles.parse(
        candles.frame.filter(pl.col("ts").is_between(part.start, part.end, closed="left")), dataset, part
    )
