"""Providers `ccxt.kraken`, `ccxt.bitstamp` and so on: ccxt's requests and parsers, sent and checked by this project.

Source: github.com/ccxt/ccxt, wiki/Manual.md ("Markets", "OHLCV Candlestick Charts", "Rate Limit"). Every request passes
`fetcher.http.client`: its rate limit, time-outs and retries, and the page ledger and the seal behind it.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
from numpy.typing import NDArray

from fetcher.protocol.provider import Page, PageTooLarge, Request
from fetcher.protocol.row_parser import candles_of, listed_instrument
from fetcher.providers.ccxt_exchanges.offline import MILLISECONDS, CapturedRequest, OfflineExchange, path_and_query
from tradeschool.errors import ProviderRejected, ProviderUnusable, SettingsError
from tradeschool.markets.instruments import Dataset, Instrument, Market
from tradeschool.markets.timeframes import Timeframe
from tradeschool.markets.windows import Window
from tradeschool.ohlcv.frame import Candles

PREFIX = "ccxt."
"""First letters of the names of these providers."""
NEWEST_ONLY = {
    "kraken": "Kraken sends only the newest 720 candles of a timeframe, whatever the start; import its published "
    "files instead (docs/how-to/import.md)",
}
"""Exchanges whose history cannot be requested, and the advice for each.

Source for Kraken: docs.kraken.com, REST API, "Get OHLC Data": "Returns up to 720 of the most recent entries (older data
cannot be retrieved, regardless of the value of since)".
"""
HIGHEST_RATE = 10.0
"""Requests per second at most: some rates of ccxt use the whole allowance of an address."""
USUAL_ROWS, MOST_ROWS = 100, 1000
"""Candles per request if ccxt does not tell, and at most."""
SUSPECT_ROWS, ROUND_NUMBER = 50, 10
"""A response of this many rows or more, in a round number, may have been cut at a limit that ccxt does not know."""
VOLUME = 5
"""Column of the volume."""
SAMPLE = Instrument(provider="ccxt", base="BTC", quote="USDT", market=Market.CRYPTO, decimals=2)
SAMPLE_START = datetime(2024, 1, 1, tzinfo=UTC)


class CcxtProvider:
    """An exchange of ccxt; spot markets only."""

    source = "ccxt"
    needs_token = False
    busy = frozenset({418, 429})
    connections = 4

    def __init__(self, exchange_id: str) -> None:
        """Create the provider of an exchange.

        Raises:
            SettingsError: if ccxt is not installed, does not know the exchange, or cannot request its history.
        """
        self.name = PREFIX + exchange_id
        self._exchange = OfflineExchange(exchange_id)
        if exchange_id in NEWEST_ONLY:
            raise SettingsError(f"{self.name} cannot be downloaded: {NEWEST_ONLY[exchange_id]}")
        names = self._exchange.timeframe_names
        self.timeframes = frozenset(each for each in Timeframe if each.alias in names)
        if not (self._exchange.has_candles and self.timeframes):
            raise SettingsError(f"{self.name} cannot be downloaded: {self._exchange.name} has no candles in ccxt")
        self.slots_per_page = min(self._exchange.rows_per_request or USUAL_ROWS, MOST_ROWS)
        usual = self._usual_request()
        self.url = path_and_query(usual.url)[0]
        self.rate = min(HIGHEST_RATE, MILLISECONDS / (self._exchange.rate_limit_milliseconds * usual.cost))

    def headers(self, token: str | None) -> Mapping[str, str]:
        """Return no headers: only public data are requested."""
        del token
        return {}

    def probe(self, dataset: Dataset) -> Request:
        """Request one candle, which fails for an unknown market; some exchanges say so with status 200."""
        timeframe = self._finest if dataset.timeframe not in self.timeframes else dataset.timeframe
        window = Window(SAMPLE_START, SAMPLE_START + timeframe.duration)
        return self._request(self._exchange.candle_request(dataset.instrument, timeframe, window))

    def product_list(self, account: str | None) -> Request | None:
        """Return the request of ccxt's `fetch_markets`, if it goes to the host of the candles."""
        del account
        return self._request(self._exchange.market_request())

    def products(self, body: bytes | None) -> tuple[Instrument, ...]:
        """Parse the markets with `fetch_markets`; the tick is ccxt's price precision."""
        if body is None:
            return ()
        try:
            listed = self._exchange.markets(body)
        except ProviderUnusable as error:
            raise ProviderUnusable(f"{self.name}: expected markets, was {body[:80]!r}: {error}") from error
        found = tuple(each for market in listed if market.get("spot") and (each := self._instrument(market)))
        if not found:
            raise ProviderUnusable(f"{self.name}: expected spot markets with a price step, was {body[:80]!r}")
        return found

    def request(self, page: Page) -> Request:
        """Return the request that ccxt's `fetch_ohlcv` would send for the page."""
        return self._request(
            self._exchange.candle_request(page.dataset.instrument, page.dataset.timeframe, page.window)
        )

    def parse(self, body: bytes, page: Page) -> Candles:
        """Parse the rows with ccxt's `parse_ohlcv`; slots without volume are dropped.

        Raises:
            PageTooLarge: if the response may have been cut at a limit that ccxt does not know.
        """
        try:
            rows = self._exchange.candle_rows(body, page.dataset.instrument, page.dataset.timeframe, page.window)
            table = np.array(rows, dtype=np.float64).reshape(len(rows), 6)
        except (ProviderUnusable, ValueError, TypeError, OverflowError) as error:
            raise ProviderUnusable(f"{page}: expected candles, was {body[:80]!r}: {error}") from error
        except ProviderRejected as error:
            raise ProviderRejected(f"{page}: {error}", status=error.status) from error
        if np.isnan(table).any():
            raise ProviderUnusable(f"{page}: expected numbers in {body[:80]!r}")
        table = np.unique(table, axis=0)  # sorted by time
        table[:, 0] /= MILLISECONDS
        if _may_be_cut(table[:, 0], page):
            raise PageTooLarge(f"{page}: {self.name} sent {len(table)} candles, which may be its limit", status=200)
        return candles_of(table[table[:, VOLUME] > 0], page)

    def refusal(self, status: int, body: bytes, page: str) -> ProviderRejected:
        """Return the exchange's message, as ccxt reads it."""
        said = self._exchange.error_text(status, body)
        return ProviderRejected(f"{page}: {self.name} answered {status}: {said}", status=status)

    @property
    def _finest(self) -> Timeframe:
        return min(self.timeframes, key=lambda each: each.seconds)

    def _usual_request(self) -> CapturedRequest:
        """Return the request for a full page; an exchange to which ccxt cannot name a range is refused."""
        timeframe = self._finest
        length = self.slots_per_page * timeframe.duration
        starts = (SAMPLE_START, SAMPLE_START + length)
        first, second = (
            self._exchange.candle_request(SAMPLE, timeframe, Window(start, start + length)) for start in starts
        )
        if first.url == second.url:
            raise SettingsError(f"{self.name} cannot be downloaded: ccxt cannot request candles from a start time")
        return first

    def _request(self, captured: CapturedRequest) -> Request:
        host, path, query = path_and_query(captured.url)
        if host != getattr(self, "url", host):
            raise SettingsError(f"{self.name}: ccxt asks {host} besides {self.url}, which is not supported")
        return Request(path=path, query=dict(parse_qsl(query, keep_blank_values=True)))

    def _instrument(self, market: Mapping[str, Any]) -> Instrument | None:
        return listed_instrument(
            self.name,
            str(market.get("base") or ""),
            str(market.get("quote") or ""),
            market=Market.CRYPTO,
            tick=self._exchange.tick_of(dict(market)),
            status="disabled" if market.get("active") is False else "online",
            symbol=str(market["id"]),
        )


@cache
def provider_of(name: str) -> CcxtProvider:
    """Return the provider of a name such as `ccxt.kraken`.

    Raises:
        SettingsError: if ccxt is not installed, does not know the exchange, or cannot request its history.
    """
    return CcxtProvider(name.removeprefix(PREFIX))


def _may_be_cut(times: NDArray[np.float64], page: Page) -> bool:
    """Whether a response ends at a round number of rows before it reaches both ends of its page.

    An unknown limit would otherwise look like a gap. Smaller pages decide: their responses stay below any limit.
    """
    last_open = page.window.end_seconds - page.dataset.timeframe.seconds
    is_round = len(times) >= SUSPECT_ROWS and len(times) % ROUND_NUMBER == 0
    return bool(is_round and (times[0] > page.window.start_seconds or times[-1] < last_open))
