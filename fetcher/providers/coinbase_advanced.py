"""Provider Coinbase Advanced Trade: another API for the same candles as Coinbase Exchange.

Source: docs.cdp.coinbase.com, Advanced Trade API, "Get public product candles". From recorded responses and dated
probes: both ends of a range are inclusive, and 350 or more candles are rejected.
"""

from collections.abc import Mapping

import msgspec
import numpy as np

from fetcher.protocol.provider import Page, PageTooLarge, Request
from fetcher.protocol.row_parser import candles_of, error_text, listed_instrument
from tradeschool.errors import ProviderRejected, ProviderUnusable
from tradeschool.markets.instruments import Dataset, Instrument, Market
from tradeschool.markets.timeframes import Timeframe
from tradeschool.ohlcv.frame import Candles

PRODUCTS = "/api/v3/brokerage/market/products"
GRANULARITIES = {
    Timeframe.M1: "ONE_MINUTE",
    Timeframe.M5: "FIVE_MINUTE",
    Timeframe.M15: "FIFTEEN_MINUTE",
    Timeframe.M30: "THIRTY_MINUTE",
    Timeframe.H1: "ONE_HOUR",
    Timeframe.D1: "ONE_DAY",
}
"""The API also has two and six hours, which are not a `Timeframe`; H4 is derived."""


class _Candle(msgspec.Struct):
    start: int
    low: float
    high: float
    open: float
    close: float
    volume: float


class _AdvancedProduct(msgspec.Struct):
    base_currency_id: str
    quote_currency_id: str
    price_increment: str
    status: str
    product_type: str = "SPOT"
    trading_disabled: bool = False


class _Products(msgspec.Struct):
    products: list[_AdvancedProduct]


class _Response(msgspec.Struct):
    candles: list[_Candle]


class _Refusal(msgspec.Struct):
    error: str
    error_details: str = ""
    message: str = ""


_response = msgspec.json.Decoder(_Response, strict=False)
"""Not strict, because every number is a string."""


_products = msgspec.json.Decoder(_Products)


class CoinbaseAdvanced:
    """Coinbase Advanced Trade API: candles are newest first, empty intervals are omitted, numbers are strings."""

    name = "coinbase"
    source = "advanced_trade"
    url = "https://api.coinbase.com"
    rate = 3.0
    """No limit is published for the public endpoints; the rate of Coinbase Exchange is used."""
    needs_token = False
    busy = frozenset({429})
    timeframes = frozenset(GRANULARITIES)
    slots_per_page = 300
    """The API allows up to 349; 300 as for Exchange, so that one API can continue a download of the other."""
    connections = 4

    def headers(self, token: str | None) -> Mapping[str, str]:
        """Return no headers: candles are public."""
        del token
        return {}

    def probe(self, dataset: Dataset) -> Request:
        """Request the product details, which fails for an unknown product."""
        return Request(path=f"{PRODUCTS}/{dataset.instrument.name}")

    def product_list(self, account: str | None) -> Request | None:
        """Request all spot products; the list is public."""
        del account
        return Request(path=PRODUCTS, query={"product_type": "SPOT", "get_all_products": "true"})

    def products(self, body: bytes | None) -> tuple[Instrument, ...]:
        """Parse the spot products; `price_increment` is the tick."""
        if body is None:
            return ()
        try:
            listed = _products.decode(body).products
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ProviderUnusable(f"coinbase: expected products, was {body[:80]!r}: {error}") from error
        found = [
            listed_instrument(
                self.name,
                each.base_currency_id,
                each.quote_currency_id,
                market=Market.CRYPTO,
                tick=each.price_increment,
                status="disabled" if each.trading_disabled and each.status == "online" else each.status,
            )
            for each in listed
            if each.product_type == "SPOT"
        ]
        return tuple(each for each in found if each)

    def request(self, page: Page) -> Request:
        """Request the candles of a page; `end` is the open of the last candle, because both ends are inclusive."""
        return Request(
            path=f"{PRODUCTS}/{page.dataset.instrument.name}/candles",
            query={
                "granularity": GRANULARITIES[page.dataset.timeframe],
                "start": str(page.window.start_seconds),
                "end": str(page.window.end_seconds - page.dataset.timeframe.seconds),
            },
        )

    def parse(self, body: bytes, page: Page) -> Candles:
        """Parse the candles of a page, in reverse; candles before the start are dropped."""
        try:
            rows = [(c.start, c.open, c.high, c.low, c.close, c.volume) for c in _response.decode(body).candles]
            table = np.array(rows, dtype=np.float64).reshape(len(rows), 6)
        except (ValueError, OverflowError) as error:  # from msgspec, or a number too large for a float
            raise ProviderUnusable(f"{page}: expected candles, was {body[:80]!r}: {error}") from error
        return candles_of(table, page)

    def refusal(self, status: int, body: bytes, page: str) -> ProviderRejected:
        """Read an error object with the name `error` and details in `error_details` or `message`."""
        said = error_text(body, _Refusal, lambda refusal: refusal.error_details or refusal.message or refusal.error)
        error = PageTooLarge if "number of candles requested should be less than" in said else ProviderRejected
        return error(f"{page}: coinbase answered {status}: {said}", status=status)


PROVIDER = CoinbaseAdvanced()
