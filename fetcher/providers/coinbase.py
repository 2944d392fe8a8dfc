"""Coinbase Exchange: public candles of spot pairs.

Source: docs.cdp.coinbase.com, Exchange REST API, "Get product candles" and "Rate limits"; what they leave out
was read off recorded answers: both ends of a range are inclusive, and 300 intervals (301 rows) are the most.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import chain

import msgspec
import numpy as np

from fetcher.provider import Page, PageTooLarge, Request
from fetcher.rows import candles_of
from tradeschool.candles import Candles
from tradeschool.errors import ProviderRejected, ProviderUnusable
from tradeschool.market import Dataset

Row = tuple[int, float, float, float, float, float]
"""time, low, high, open, close, volume; whole prices come as integers."""

OHLC_ORDER = [0, 3, 2, 1, 4, 5]
"""Where time, open, high, low, close and volume stand in a row."""

_rows = msgspec.json.Decoder(list[Row])


class _Refusal(msgspec.Struct):
    message: str


class Coinbase:
    """Newest first, empty buckets left out, an error told as an object instead of a list."""

    name = "coinbase"
    source = "exchange"
    url = "https://api.exchange.coinbase.com"
    rate = 3.0
    """A third of the documented limit: other programs may ask from the same address."""
    needs_token = False
    busy = frozenset({429})
    slots_per_page = 300
    connections = 4

    def headers(self, token: str | None) -> Mapping[str, str]:
        """None: candles are public."""
        del token
        return {}

    def probe(self, dataset: Dataset) -> Request:
        """The product's own page, which an unknown product does not have."""
        return Request(path=f"/products/{dataset.instrument.name}")

    def request(self, page: Page) -> Request:
        """The page's candles; the last one is named as the end, because both ends are inclusive.

        A missing start or end would be ignored together with the other, and the newest candles answered.
        """
        step = page.dataset.timeframe.duration
        return Request(
            path=f"/products/{page.dataset.instrument.name}/candles",
            query={
                "granularity": str(page.dataset.timeframe.seconds),
                "start": _iso(page.window.start),
                "end": _iso(page.window.end - step),
            },
        )

    def parse(self, body: bytes, page: Page) -> Candles:
        """The rows of a page, turned around; rows before the start, which the API may add, are left out."""
        try:
            rows = _rows.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ProviderUnusable(f"{page}: expected rows of candles, was {body[:80]!r}: {error}") from error
        table = np.fromiter(chain.from_iterable(rows), np.float64, 6 * len(rows)).reshape(-1, 6)
        return candles_of(table[:, OHLC_ORDER], page)

    def refusal(self, status: int, body: bytes, page: str) -> ProviderRejected:
        """An object with one field, `message`."""
        try:
            said = msgspec.json.decode(body, type=_Refusal).message
        except (msgspec.DecodeError, UnicodeDecodeError):
            said = body[:80].decode(errors="replace")
        error = PageTooLarge if "exceeds" in said else ProviderRejected
        return error(f"{page}: coinbase answered {status}: {said}", status=status)


PROVIDER = Coinbase()


def _iso(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
