"""Provider Coinbase Exchange: public candles of spot pairs.

Source: docs.cdp.coinbase.com, Exchange REST API, "Get product candles" and "Rate limits". From recorded responses: both
ends of a range are inclusive, and the maximum is 300 intervals (301 rows).
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import chain

import msgspec
import numpy as np

from fetcher.protocol.provider import Page, PageTooLarge, Request
from fetcher.protocol.row_parser import candles_of, error_text, listed_instrument
from tradeschool.errors import ProviderRejected, ProviderUnusable
from tradeschool.markets.instruments import Dataset, Instrument, Market
from tradeschool.markets.timeframes import Timeframe
from tradeschool.ohlcv.frame import Candles

Row = tuple[int, float, float, float, float, float]
"""time, low, high, open, close, volume; whole prices are integers."""

OHLC_ORDER = [0, 3, 2, 1, 4, 5]
"""Positions of time, open, high, low, close and volume in a row."""

_rows = msgspec.json.Decoder(list[Row])


class _Refusal(msgspec.Struct):
    message: str


class _Product(msgspec.Struct):
    base_currency: str
    quote_currency: str
    quote_increment: str
    status: str
    trading_disabled: bool = False


_products = msgspec.json.Decoder(list[_Product])


class Coinbase:
    """Coinbase Exchange API: rows are newest first, empty intervals are omitted, an error is an object, not a list."""

    name = "coinbase"
    source = "exchange"
    url = "https://api.exchange.coinbase.com"
    rate = 3.0
    """A third of the documented limit, because other programs may use the same address."""
    needs_token = False
    busy = frozenset({429})
    timeframes = frozenset({Timeframe.M1, Timeframe.M5, Timeframe.M15, Timeframe.H1, Timeframe.D1})
    """Granularities 60, 300, 900, 3600 and 86400; the sixth one, 21600, is not a `Timeframe`."""
    slots_per_page = 300
    connections = 4

    def headers(self, token: str | None) -> Mapping[str, str]:
        """Return no headers: candles are public."""
        del token
        return {}

    def probe(self, dataset: Dataset) -> Request:
        """Request the product details, which fails for an unknown product."""
        return Request(path=f"/products/{dataset.instrument.name}")

    def product_list(self, account: str | None) -> Request | None:
        """Request all products; the list is public."""
        del account
        return Request(path="/products")

    def products(self, body: bytes | None) -> tuple[Instrument, ...]:
        """Parse the products; `quote_increment` is the tick."""
        if body is None:
            return ()
        try:
            listed = _products.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ProviderUnusable(f"coinbase: expected products, was {body[:80]!r}: {error}") from error
        found = [
            listed_instrument(
                self.name,
                each.base_currency,
                each.quote_currency,
                market=Market.CRYPTO,
                tick=each.quote_increment,
                status="disabled" if each.trading_disabled and each.status == "online" else each.status,
            )
            for each in listed
        ]
        return tuple(each for each in found if each)

    def request(self, page: Page) -> Request:
        """Request the candles of a page; `end` is the open of the last candle, because both ends are inclusive.

        If start or end is missing, the API ignores both and returns the newest candles.
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
        """Parse the rows of a page, in reverse; rows before the start, which the API may add, are dropped."""
        try:
            rows = _rows.decode(body)
            table = np.fromiter(chain.from_iterable(rows), np.float64, 6 * len(rows)).reshape(-1, 6)
        except (msgspec.DecodeError, UnicodeDecodeError, OverflowError) as error:
            raise ProviderUnusable(f"{page}: expected rows of candles, was {body[:80]!r}: {error}") from error
        return candles_of(table[:, OHLC_ORDER], page)

    def refusal(self, status: int, body: bytes, page: str) -> ProviderRejected:
        """Read an error object with the field `message`."""
        said = error_text(body, _Refusal, lambda refusal: refusal.message)
        error = PageTooLarge if "exceeds" in said else ProviderRejected
        return error(f"{page}: coinbase answered {status}: {said}", status=status)


PROVIDER = Coinbase()


def _iso(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
