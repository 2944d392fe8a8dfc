"""Held bars: prepared candles that stay in memory, so that a window with the same first bar is a slice of them.

The searches of a walk-forward read the same candles up to later and later days, and two levels often read the same
dataset. What a window costs then is a few views of arrays. A slice has the bits of a preparation of its own.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np

from optimizer.bars.indicators import ATR_SPACING
from optimizer.bars.lead_in import JudgedWindow, prepare_judged
from optimizer.bars.preparation import (
    BLOCK,
    DAY_SECONDS,
    Prepared,
    check_sums,
    day_starts_of,
    prepare,
)
from tradeschool.errors import DataError
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.windows import Window
from tradeschool.ohlcv.arrays import CandleArrays

Periods = tuple[int, int] | None


class HeldBars:
    """Reads candles, and prepares each of the given windows once, when a window inside it with its start is asked for.

    Nothing is held of an instrument whose older candles may have finer ticks: the tick depends on the days of a window.
    """

    def __init__(
        self, read: Callable[[Dataset, Window], CandleArrays], windows: Iterable[tuple[Dataset, Window]]
    ) -> None:
        """`windows`: datasets with the days that are prepared at once."""
        self._read = read
        self._windows = sorted(dict.fromkeys(windows), key=lambda each: each[1].end)
        self._held: dict[tuple[Dataset, Window, Periods], Prepared | None] = {}

    def __call__(self, dataset: Dataset, window: Window) -> CandleArrays:
        """Read the candles of a dataset whose open lies in a window."""
        return self._read(dataset, window)

    def prepared(self, judged: JudgedWindow, warm_up: int, atr_periods: Periods) -> Prepared:
        """Return what `prepare_judged` returns; raises the same errors."""
        whole = self._whole(judged, atr_periods)
        bars = 0 if whole is None else int(np.searchsorted(whole.time, judged.window.end_seconds))
        if whole is None or bars <= warm_up:
            return prepare_judged(judged, warm_up, atr_periods, self._read)
        return beginning(whole, bars, judged.window, warm_up)

    def _whole(self, judged: JudgedWindow, atr_periods: Periods) -> Prepared | None:
        """Return the bars of the shortest given window that begins as a judged one and covers it; None if there is
        none.
        """
        window = judged.window
        has_lead_in = judged.earliest is not None and judged.earliest < window.start
        if judged.source.instrument.has_finer_history or has_lead_in:
            return None
        for dataset, days in self._windows:
            if dataset == judged.source and days.start == window.start and days.end >= window.end:
                key = dataset, days, atr_periods
                if key not in self._held:
                    self._held[key] = self._prepare(dataset, days, atr_periods)
                return self._held[key]
        return None

    def _prepare(self, dataset: Dataset, days: Window, atr_periods: Periods) -> Prepared | None:
        try:
            return prepare(self._read(dataset, days), days, 0, atr_periods)
        except DataError:
            return None  # the window that is asked for raises its own error


def beginning(whole: Prepared, bars: int, window: Window, warm_up: int) -> Prepared:
    """Return the first bars of prepared candles without lead-in, which lie in a window; more than the warm-up.

    Raises:
        InvalidCandles: sums of closes are not exact with this warm-up.
    """
    sums = whole.close_sums[: bars + 1]
    check_sums(whole.dataset, int(sums[-1]), int(whole.close[:bars].max()), warm_up)
    time = whole.time[:bars]
    first_day = int(time[warm_up]) // DAY_SECONDS
    hours = whole.hour_ends[: int(np.searchsorted(whole.hour_ends, bars - 1))]
    return replace(
        whole,
        window=window,
        slots=whole.slots[:bars],
        prices=whole.prices[:bars],
        spreads=whole.spreads[:bars],
        close_sums=sums,
        first_evaluated=warm_up,
        first_day=first_day,
        day_starts=day_starts_of(time, window, warm_up, first_day),
        hour_ends=np.append(hours, np.int32(bars - 1)),
        blocks=whole.blocks[: bars // BLOCK],
        atr_marks=np.ascontiguousarray(whole.atr_marks[:, : bars // ATR_SPACING]),
    )
