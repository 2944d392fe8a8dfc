"""Binance spot: public klines, which are candles.

Source: github.com/binance/binance-spot-api-docs, rest-api.md ("General API Information", "IP Limits",
"Kline/Candlestick data", "Exchange information") and errors.md. No answer of it was recorded for this project.
"""

from collections.abc import Mapping

import msgspec
import numpy as np

from fetcher.provider import Page, Request
from fetcher.rows import candles_of
from tradeschool.candles import Candles
from tradeschool.errors import ProviderRejected, ProviderUnusable
from tradeschool.market import Dataset, Instrument, Timeframe

Row = tuple[int, float, float, float, float, float, int, float, int, float, float, float]
"""Open time in ms, open, high, low, close, volume, close time in ms, and six that are not read."""

INTERVALS = {Timeframe.M5: "5m", Timeframe.M15: "15m", Timeframe.H1: "1h"}
MILLISECONDS = 1000
"""In a second."""
ELSEWHERE = " Name another of its hosts in fetch.providers.binance.url, where that is allowed."

_rows = msgspec.json.Decoder(list[Row], strict=False)
"""Not strict: prices and volumes are strings."""


class _Refusal(msgspec.Struct):
    code: int
    msg: str


class Binance:
    """Oldest first, an error told as an object instead of a list."""

    name = "binance"
    source = "spot"
    url = "https://data-api.binance.vision"
    """The host for public market data alone; `https://api.binance.com` answers the same."""
    rate = 10.0
    """A page weighs 2 of the 6000 that an address has a minute: this is a fifth of it."""
    needs_token = False
    busy = frozenset({418, 429})
    """418 is a ban of minutes for going on after 429; both come with Retry-After."""
    slots_per_page = 1000
    connections = 4

    def headers(self, token: str | None) -> Mapping[str, str]:
        """None: klines are public."""
        del token
        return {}

    def probe(self, dataset: Dataset) -> Request:
        """The symbol's own rules, which an unknown symbol does not have."""
        return Request(path="/api/v3/exchangeInfo", query={"symbol": _symbol(dataset.instrument)})

    def request(self, page: Page) -> Request:
        """The page's candles up to its last millisecond; the limit is said, because it would be 500."""
        return Request(
            path="/api/v3/klines",
            query={
                "symbol": _symbol(page.dataset.instrument),
                "interval": INTERVALS[page.dataset.timeframe],
                "startTime": str(page.window.start_seconds * MILLISECONDS),
                "endTime": str(page.window.end_seconds * MILLISECONDS - 1),
                "limit": str(self.slots_per_page),
            },
        )

    def parse(self, body: bytes, page: Page) -> Candles:
        """The rows of a page as they stand; a slot in which nobody traded is a row of volume 0."""
        try:
            rows = _rows.decode(body)
            table = np.array(rows, dtype=np.float64).reshape(len(rows), 12)
        except (ValueError, OverflowError) as error:  # of msgspec, and of a number that no float holds
            raise ProviderUnusable(f"{page}: expected klines, was {body[:80]!r}: {error}") from error
        table[:, 0] /= MILLISECONDS
        return candles_of(table[:, :6], page)

    def refusal(self, status: int, body: bytes, page: str) -> ProviderRejected:
        """An object with `code` and `msg`; 451 means that the host does not answer to this country."""
        try:
            refused = msgspec.json.decode(body, type=_Refusal)
            said = f"{refused.msg} (code {refused.code})"
        except (msgspec.DecodeError, UnicodeDecodeError):
            said = body[:80].decode(errors="replace")
        if status == 451:
            said += ELSEWHERE
        return ProviderRejected(f"{page}: binance answered {status}: {said}", status=status)


PROVIDER = Binance()


def _symbol(instrument: Instrument) -> str:
    return f"{instrument.base}{instrument.quote}"
