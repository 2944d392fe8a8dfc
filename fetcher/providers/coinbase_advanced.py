"""Coinbase Advanced Trade: the same candles of the same book as Coinbase Exchange, from another API.

Source: docs.cdp.coinbase.com, Advanced Trade API, "Get public product candles"; what it leaves out was read off
recorded answers and dated probes: both ends of a range are inclusive, and 350 candles are refused.
"""

from collections.abc import Mapping

import msgspec
import numpy as np

from fetcher.provider import Page, PageTooLarge, Request
from fetcher.rows import candles_of
from tradeschool.candles import Candles
from tradeschool.errors import ProviderRejected, ProviderUnusable
from tradeschool.market import Dataset, Timeframe

PRODUCTS = "/api/v3/brokerage/market/products"
GRANULARITIES = {Timeframe.M5: "FIVE_MINUTE", Timeframe.M15: "FIFTEEN_MINUTE", Timeframe.H1: "ONE_HOUR"}


class _Candle(msgspec.Struct):
    start: int
    low: float
    high: float
    open: float
    close: float
    volume: float


class _Answer(msgspec.Struct):
    candles: list[_Candle]


class _Refusal(msgspec.Struct):
    error: str
    error_details: str = ""
    message: str = ""


_answer = msgspec.json.Decoder(_Answer, strict=False)
"""Not strict: every number is a string."""


class CoinbaseAdvanced:
    """Newest first, empty buckets left out, every number a string."""

    name = "coinbase"
    source = "advanced_trade"
    url = "https://api.coinbase.com"
    rate = 3.0
    """No limit of the public endpoints is published: the pace that Exchange is asked at."""
    needs_token = False
    busy = frozenset({429})
    slots_per_page = 300
    """Fewer than 350 are answered; as many as Exchange answers, so that either goes on where the other stopped."""
    connections = 4

    def headers(self, token: str | None) -> Mapping[str, str]:
        """None: candles are public."""
        del token
        return {}

    def probe(self, dataset: Dataset) -> Request:
        """The product's own page, which an unknown product does not have."""
        return Request(path=f"{PRODUCTS}/{dataset.instrument.name}")

    def request(self, page: Page) -> Request:
        """The page's candles; the last one is named as the end, because both ends are inclusive."""
        return Request(
            path=f"{PRODUCTS}/{page.dataset.instrument.name}/candles",
            query={
                "granularity": GRANULARITIES[page.dataset.timeframe],
                "start": str(page.window.start_seconds),
                "end": str(page.window.end_seconds - page.dataset.timeframe.seconds),
            },
        )

    def parse(self, body: bytes, page: Page) -> Candles:
        """The candles of a page, turned around; those before the start are left out."""
        try:
            rows = [(c.start, c.open, c.high, c.low, c.close, c.volume) for c in _answer.decode(body).candles]
            table = np.array(rows, dtype=np.float64).reshape(len(rows), 6)
        except (ValueError, OverflowError) as error:  # of msgspec, and of a number that no float holds
            raise ProviderUnusable(f"{page}: expected candles, was {body[:80]!r}: {error}") from error
        return candles_of(table, page)

    def refusal(self, status: int, body: bytes, page: str) -> ProviderRejected:
        """An object with `error`, a name, and more words in `error_details` or `message`."""
        try:
            refused = msgspec.json.decode(body, type=_Refusal)
            said = refused.error_details or refused.message or refused.error
        except (msgspec.DecodeError, UnicodeDecodeError):
            said = body[:80].decode(errors="replace")
        error = PageTooLarge if "number of candles requested should be less than" in said else ProviderRejected
        return error(f"{page}: coinbase answered {status}: {said}", status=status)


PROVIDER = CoinbaseAdvanced()
