"""Provider Binance spot: public klines (candles).

Source: github.com/binance/binance-spot-api-docs, rest-api.md ("General API Information", "IP Limits",
"Kline/Candlestick data", "Exchange information") and errors.md. No responses were recorded for this project.
"""

from collections.abc import Mapping

import msgspec
import numpy as np

from fetcher.protocol.provider import Page, Request
from fetcher.protocol.row_parser import candles_of, error_text, listed_instrument
from tradeschool.errors import ProviderRejected, ProviderUnusable
from tradeschool.markets.instruments import Dataset, Instrument, Market
from tradeschool.markets.timeframes import Timeframe
from tradeschool.ohlcv.frame import Candles

Row = tuple[int, float, float, float, float, float, int, float, int, float, float, float]
"""Open time in ms, open, high, low, close, volume, close time in ms, and five columns that are not used."""

INTERVALS = {timeframe: timeframe.alias for timeframe in Timeframe}
"""1m, 5m, 15m, 30m, 1h, 4h, 1d."""
VOLUME = 5
"""Column of the volume."""
MILLISECONDS = 1000
"""Milliseconds per second."""
ERROR_STATUSES = " Set fetch.providers.binance.url to another Binance host, if that is permitted."

_rows = msgspec.json.Decoder(list[Row], strict=False)
"""Not strict, because prices and volumes are strings."""


class _Refusal(msgspec.Struct):
    code: int
    msg: str


class _Filter(msgspec.Struct):
    filterType: str
    tickSize: str = ""


class _Symbol(msgspec.Struct):
    symbol: str
    status: str
    baseAsset: str
    quoteAsset: str
    filters: list[_Filter]
    isSpotTradingAllowed: bool = True

    @property
    def tick(self) -> str:
        """The price step, empty without a price filter."""
        return next((each.tickSize for each in self.filters if each.filterType == "PRICE_FILTER"), "")


class _Information(msgspec.Struct):
    symbols: list[_Symbol]


_information = msgspec.json.Decoder(_Information)


class Binance:
    """Binance spot klines API: rows are oldest first; an error is an object instead of a list."""

    name = "binance"
    source = "spot"
    url = "https://data-api.binance.vision"
    """Host for public market data only; `https://api.binance.com` returns the same."""
    rate = 10.0
    """A page has weight 2 and an address may use 6000 per minute; this rate uses a fifth of it."""
    needs_token = False
    busy = frozenset({418, 429})
    """418 is a ban of several minutes for ignoring 429; both have a Retry-After header."""
    timeframes = frozenset(INTERVALS)
    slots_per_page = 1000
    connections = 4

    def headers(self, token: str | None) -> Mapping[str, str]:
        """Return no headers: klines are public."""
        del token
        return {}

    def probe(self, dataset: Dataset) -> Request:
        """Request the exchange information of the symbol, which fails for an unknown symbol."""
        return Request(path="/api/v3/exchangeInfo", query={"symbol": _symbol(dataset.instrument)})

    def product_list(self, account: str | None) -> Request | None:
        """Request the exchange information of all symbols, of weight 20; the list is public."""
        del account
        return Request(path="/api/v3/exchangeInfo", query={"showPermissionSets": "false"})

    def products(self, body: bytes | None) -> tuple[Instrument, ...]:
        """Parse the spot symbols; the tick is `tickSize` of the filter `PRICE_FILTER`."""
        if body is None:
            return ()
        try:
            listed = _information.decode(body).symbols
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ProviderUnusable(f"binance: expected symbols, was {body[:80]!r}: {error}") from error
        found = [
            listed_instrument(
                self.name,
                each.baseAsset,
                each.quoteAsset,
                market=Market.CRYPTO,
                tick=each.tick,
                status="online" if each.status == "TRADING" else each.status.lower(),
                symbol="" if each.symbol == each.baseAsset + each.quoteAsset else each.symbol,
            )
            for each in listed
            if each.isSpotTradingAllowed
        ]
        return tuple(each for each in found if each)

    def request(self, page: Page) -> Request:
        """Request the candles of a page up to its last millisecond; `limit` is set because its default is 500."""
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
        """Parse the rows of a page; a slot without trades is a row with volume 0, which is dropped."""
        try:
            rows = _rows.decode(body)
            table = np.array(rows, dtype=np.float64).reshape(len(rows), 12)
        except (ValueError, OverflowError) as error:  # from msgspec, or a number too large for a float
            raise ProviderUnusable(f"{page}: expected klines, was {body[:80]!r}: {error}") from error
        table[:, 0] /= MILLISECONDS
        return candles_of(table[table[:, VOLUME] > 0, :6], page)

    def refusal(self, status: int, body: bytes, page: str) -> ProviderRejected:
        """Read an error object with `code` and `msg`; status 451 means that the host is blocked in this country."""
        said = error_text(body, _Refusal, lambda refusal: f"{refusal.msg} (code {refusal.code})")
        if status == 451:
            said += ERROR_STATUSES
        return ProviderRejected(f"{page}: binance answered {status}: {said}", status=status)


PROVIDER = Binance()


def _symbol(instrument: Instrument) -> str:
    return instrument.symbol or f"{instrument.base}{instrument.quote}"
