"""Facts of one imported file: what was understood of it, counted while its rows pass."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from math import gcd

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tradeschool.markets.calendars import ALWAYS, open_windows
from tradeschool.markets.instruments import Instrument
from tradeschool.markets.windows import Window
from tradeschool.ohlcv.arrays import PRICES

MANY_STEPS = 1_000
"""Distinct distances between candles that are counted; the rarer ones of a thin market are not."""


@dataclass(slots=True, kw_only=True)
class FileFacts:
    """What one file holds; times are opens in UTC."""

    name: str
    form: str
    columns: dict[str, str]
    """Column of the file by its meaning."""
    zone: str | None
    """Time zone of the file's times, None if they are in UTC or have an offset."""
    side: str
    rows: int = 0
    first: dict[str, object] | None = None
    """Oldest row: `ts`, prices and volume."""
    last: dict[str, object] | None = None
    """Newest row."""
    newest_first: bool = False
    notes: list[str] = field(default_factory=list)
    swapped: list[tuple[datetime, int]] = field(default_factory=list)
    """First time and number of rows with swapped volume columns, by batch."""
    _steps: Counter[int] = field(default_factory=Counter)
    _grid: int = 0
    _edge: int | None = None
    _holes: list[NDArray[np.int64]] = field(default_factory=list)

    @property
    def step(self) -> int:
        """Most common distance between consecutive candles in seconds, 0 for fewer than two."""
        return max(self._steps, key=lambda step: (self._steps[step], -step)) if self._steps else 0

    @property
    def grid(self) -> int:
        """Greatest common divisor of all distances in seconds."""
        return self._grid

    def add(self, rows: pl.DataFrame, direction: int) -> None:
        """Count the next rows, oldest first; `direction` is -1 for a file whose newest candle comes first."""
        first, last = (_row(rows, at) for at in (0, -1))
        if direction < 0:
            self.first, self.last = first, self.last or last
        else:
            self.first, self.last = self.first or first, last
        self.rows += rows.height
        self.newest_first = direction < 0
        times = rows["ts"].dt.epoch("s").to_numpy()
        edge = [] if self._edge is None else [self._edge]
        times = np.concatenate([times, edge] if direction < 0 else [edge, times]).astype(np.int64)
        self._edge = int(times[0] if direction < 0 else times[-1])
        self._count(times)

    def _count(self, times: NDArray[np.int64]) -> None:
        steps = np.diff(times)
        if not len(steps):
            return
        distinct, counts = np.unique(steps, return_counts=True)
        self._grid = gcd(self._grid, int(np.gcd.reduce(distinct)))
        self._steps.update(dict(zip(distinct.tolist(), counts.tolist(), strict=True)))
        if len(self._steps) > MANY_STEPS:
            self._steps = Counter(dict(self._steps.most_common(MANY_STEPS)))
        wide = steps > self.step
        self._holes.append(np.column_stack([times[:-1][wide], times[1:][wide]]))

    def gaps(self, instrument: Instrument) -> tuple[int, int]:
        """Return the number of gaps and of missing candles while the market is open."""
        step = self.step
        holes = np.concatenate(self._holes) if self._holes else np.empty((0, 2), dtype=np.int64)
        missing = (holes[:, 1] - holes[:, 0]) // step - 1 if step else np.empty(0, dtype=np.int64)
        if instrument.calendar != ALWAYS:
            missing = np.array([_open_slots(start + step, end, step, instrument) for start, end in holes.tolist()])
        return int((missing > 0).sum()), int(missing[missing > 0].sum()) if len(missing) else 0


def _open_slots(start: int, end: int, step: int, instrument: Instrument) -> int:
    if end <= start:
        return 0
    parts = open_windows(instrument.calendar, Window.of_seconds(start, end))
    return sum(-(-part.end_seconds // step) - -(-part.start_seconds // step) for part in parts)


def _row(rows: pl.DataFrame, at: int) -> dict[str, object]:
    names = [name for name in ("ts", *PRICES, "volume", "half_spread") if name in rows.columns]
    return {name: rows[name].item(at) for name in names}
