"""Decoding shared by the providers: numeric rows to candles, and error bodies to messages."""

from collections.abc import Callable
from typing import TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from fetcher.protocol.provider import Page
from tradeschool.errors import ProviderUnusable, SettingsError
from tradeschool.markets.instrument_file import decimals_of, exact_tick, is_usable_name
from tradeschool.markets.instruments import Instrument, Market
from tradeschool.ohlcv.arrays import CandleArrays
from tradeschool.ohlcv.frame import Candles

QUOTED_BYTES = 80
"""Bytes of an unexpected error body that are quoted in a message."""

T = TypeVar("T")


def listed_instrument(
    provider: str, base: str, quote: str, *, market: Market, tick: str, status: str, symbol: str = ""
) -> Instrument | None:
    """Return the instrument of an entry of a product list; None if it has no usable name or tick."""
    try:
        step = exact_tick(tick)
    except SettingsError:
        return None
    if not (is_usable_name(base) and is_usable_name(quote)):
        return None
    return Instrument(
        provider=provider,
        base=base,
        quote=quote,
        market=market,
        decimals=decimals_of(step),
        tick_size=step,
        symbol=symbol,
        status=status,
        has_finer_history=True,  # a list tells today's tick only
    )


def error_text(body: bytes, form: type[T], text: Callable[[T], str]) -> str:
    """Decode an error body as JSON of type `form` and return its `text`; quote the body if it has another form."""
    try:
        return text(msgspec.json.decode(body, type=form))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return body[:QUOTED_BYTES].decode(errors="replace")


def candles_of(rows: NDArray[np.float64], page: Page) -> Candles:
    """Convert the rows of a response to the candles of a page.

    `rows` has shape (n_rows, 6): time (Unix seconds), open, high, low, close and volume, newest or oldest first.
    Duplicate rows are merged; rows before the page are dropped.

    Raises:
        ProviderUnusable: if there are rows after the page: an API that ignores the range returns the newest candles,
            and the missing candles would look like a gap.
        InvalidCandles: if the candles violate the contract.
    """
    if len(rows) and rows[0, 0] > rows[-1, 0]:
        rows = rows[::-1]
    if (np.diff(rows[:, 0]) <= 0).any():  # rare; sorting rows costs more than decoding them
        rows = np.unique(rows, axis=0)
    if len(rows) and rows[-1, 0] >= page.window.end_seconds:
        raise ProviderUnusable(f"{page}: the response contains later candles, up to {rows[-1, 0]:.0f}")
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
