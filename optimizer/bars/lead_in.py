"""Lead-in: the bars before the judged days of a window, which only warm up its indicators.

A trader knows the prices before the window, so reading them is no look-ahead. The first judged bar is the first
bar of the window, and the account starts flat there. With fewer earlier bars than the warm-up, the rest of the warm-up
is taken from the window itself.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from optimizer.bars.preparation import DAY_SECONDS, Prepared, prepare
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.windows import Window
from tradeschool.ohlcv.arrays import CandleArrays

REACH = 10
"""Earlier bars are taken from at most this many warm-ups of time before the window, as markets close and bars are
missing; without a limit, a short window at the end of a long range would read the whole range.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedWindow:
    """Days of a dataset that are traded and judged, and how far back its indicators may read."""

    source: Dataset
    window: Window
    """The judged days."""
    earliest: datetime | None = None
    """First time of the bars that may warm up indicators; None: the window warms up inside itself."""

    def reading(self, warm_up: int) -> Window:
        """Return the window with the time before it in which its lead-in is looked for."""
        if self.earliest is None or self.earliest >= self.window.start:
            return self.window
        reached = self.window.start_seconds - REACH * warm_up * self.source.timeframe.seconds
        start = max(int(self.earliest.timestamp()), reached // DAY_SECONDS * DAY_SECONDS)
        return Window.of_seconds(start, self.window.end_seconds)


def prepare_judged(
    judged: JudgedWindow,
    warm_up: int,
    atr_periods: tuple[int, int] | None,
    read: Callable[[Dataset, Window], CandleArrays],
) -> Prepared:
    """Prepare a window with the last `warm_up` bars before it, so that a longer history changes nothing.

    Raises:
        DataIncomplete: no bar remains after the warm-up.
        InvalidCandles: as `prepare`.
    """
    candles = read(judged.source, judged.reading(warm_up))
    earlier = int(np.searchsorted(candles.time, judged.window.start_seconds))
    used = min(earlier, warm_up)
    return prepare(candles[slice(earlier - used, None)], judged.window, warm_up, atr_periods, lead_in=used)
