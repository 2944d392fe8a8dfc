"""What is the same in every answer of traded candles: rows of numbers become candles in order."""

import numpy as np
from numpy.typing import NDArray

from fetcher.provider import Page
from tradeschool.candles import Candles
from tradeschool.columns import CandleArrays
from tradeschool.errors import ProviderUnusable


def candles_of(rows: NDArray[np.float64], page: Page) -> Candles:
    """The candles of a page.

    `rows` are time (Unix seconds), open, high, low, close and volume, shape (n_rows, 6), newest or oldest first.
    One that stands twice is taken once; those before the page are left out.

    Raises:
        ProviderUnusable: if there are rows after the page: an API that ignores a range answers the newest
            candles, and silence about ours would look like a gap.
        InvalidCandles: if the candles break the contract.
    """
    if len(rows) and rows[0, 0] > rows[-1, 0]:
        rows = rows[::-1]
    if (np.diff(rows[:, 0]) <= 0).any():  # rare, and sorting whole rows costs more than decoding them
        rows = np.unique(rows, axis=0)
    if len(rows) and rows[-1, 0] >= page.window.end_seconds:
        raise ProviderUnusable(f"{page}: was answered with candles of a later time, up to {rows[-1, 0]:.0f}")
    first = int(np.searchsorted(rows[:, 0], page.window.start_seconds))
    time, open_, high, low, close, volume = np.ascontiguousarray(rows[first:].T)
    arrays = CandleArrays(
        dataset=page.dataset,
        time=time.astype(np.int64),
        open=open_,
        high=high,
        low=low,
        close=close,
        volume=volume,
        half_spread=None,
    )
    return Candles.of_arrays(arrays, page.window)
