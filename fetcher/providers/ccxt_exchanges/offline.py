"""A ccxt exchange that sends nothing: its requests are captured, and its parsers read responses that others received.

ccxt's method calls its `fetch` with a complete URL. The `fetch` of this module either raises `_Captured` with that URL,
or returns the response that is to be parsed.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from fetcher.providers.ccxt_exchanges.library import class_of, library_for
from tradeschool.errors import ProviderRejected, ProviderUnusable, SettingsError
from tradeschool.markets.instruments import Instrument
from tradeschool.markets.timeframes import Timeframe
from tradeschool.markets.windows import Window

MILLISECONDS = 1000
"""Milliseconds per second."""
QUOTED_BYTES = 80
PARSER_ERRORS = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""Errors of ccxt's parsers for a body of unknown shape, besides its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CapturedRequest:
    """A request that ccxt would have sent."""

    url: str
    cost: float
    """Its weight in units of `rate_limit_milliseconds`."""


class _Captured(Exception):
    """Stops ccxt in place of sending a request."""

    def __init__(self, url: str, method: str) -> None:
        super().__init__(url)
        self.url, self.method = url, method


class OfflineExchange:
    """One exchange of ccxt; safe for several threads."""

    def __init__(self, exchange_id: str) -> None:
        """Create an exchange by its id in ccxt.

        Raises:
            SettingsError: if ccxt is not installed or has no such exchange.
        """
        self.id = exchange_id
        self._library = library_for(exchange_id)
        self._class = class_of(exchange_id)
        self._lock = threading.Lock()
        self._exchange = self._fresh()
        self._answer: bytes | None = None
        self._cost = 1.0
        self._noted: list[list[list[Any]]] = []
        self._documents: list[Any] = []
        self._listened: list[_Captured] | None = None
        self._market_path: str | None = None
        self._answered_path: str | None = None

    @property
    def name(self) -> str:
        """Name as the exchange writes it, such as Kraken."""
        return str(self._exchange.name)

    @property
    def rate_limit_milliseconds(self) -> float:
        """Pause between two requests of cost 1."""
        return float(self._exchange.rateLimit)

    @property
    def has_candles(self) -> bool:
        """Whether the exchange itself has candles, as opposed to trades from which ccxt makes them."""
        return self._exchange.has.get("fetchOHLCV") is True

    @property
    def timeframe_names(self) -> frozenset[str]:
        """Timeframes that the exchange has, in ccxt's notation."""
        return frozenset(self._exchange.timeframes or ())

    @property
    def rows_per_request(self) -> int | None:
        """Maximum number of candles of a request for a spot market, None if ccxt does not tell."""
        features = (self._exchange.features or {}).get("spot") or {}
        limit = (features.get("fetchOHLCV") or {}).get("limit")
        return int(limit) if limit else None

    def candle_request(self, instrument: Instrument, timeframe: Timeframe, window: Window) -> CapturedRequest:
        """Return the request for the candles of a window.

        Raises:
            SettingsError: if ccxt cannot request them without a key, or not by GET.
        """
        with self._lock:
            return self._capture(lambda: self._candles(instrument, timeframe, window))

    def candle_rows(
        self, body: bytes, instrument: Instrument, timeframe: Timeframe, window: Window
    ) -> list[list[float | None]]:
        """Parse all candles of a response: time in milliseconds, open, high, low, close, volume, in its own order.

        ccxt returns an empty list for many bodies that are no answer. Here an empty list must be a part of the body.

        Raises:
            ProviderUnusable: if the body is not a response with candles.
            ProviderRejected: if it says that the request is wrong.
        """
        with self._lock:
            self._noted.clear()
            self._parse(body, lambda: self._candles(instrument, timeframe, window))
            if not self._noted:
                raise ProviderUnusable(f"{self.name} sent no candles in {body[:QUOTED_BYTES]!r}")
            return self._noted[-1]

    def market_request(self) -> CapturedRequest:
        """Return the request for the list of spot markets; some exchanges are asked for other lists before it.

        Raises:
            SettingsError: if ccxt cannot request it without a key, or not by GET.
        """
        with self._lock:
            self._listened = []
            try:
                found = self._capture(self._fresh().fetch_markets)
            finally:
                self._listened = None
            self._market_path = path_and_query(found.url)[1]
            return found

    def markets(self, body: bytes) -> list[dict[str, Any]]:
        """Parse the response to that request into ccxt's market structures.

        Raises:
            ProviderUnusable: if the body is not a list of markets.
            ProviderRejected: if it says that the request is wrong.
        """
        with self._lock:
            exchange = self._fresh()  # some exchanges keep their list for some time
            found: list[dict[str, Any]] = self._parse(body, exchange.fetch_markets, path=self._market_path)
            return found

    def tick_of(self, market: dict[str, Any]) -> str:
        """Return the price step of a market as a decimal; empty if it has none, such as with significant digits."""
        precision = (market.get("precision") or {}).get("price")
        if precision is None or self._exchange.precisionMode == self._library.SIGNIFICANT_DIGITS:
            return ""
        if self._exchange.precisionMode == self._library.DECIMAL_PLACES:
            return f"1e{-int(precision)}"
        return str(precision)

    def error_text(self, status: int, body: bytes) -> str:
        """Return the exchange's message in an error response; the begin of the body if ccxt finds none."""
        text = body.decode(errors="replace")
        with self._lock:
            try:
                self._check_errors(self._exchange, status, "", text, self._exchange.parse_json(text))
            except self._library.BaseError as error:
                return str(error)
            except PARSER_ERRORS:
                pass
        return text[:QUOTED_BYTES]

    def _fresh(self) -> Any:
        """Return a new ccxt object that asks this object in place of the network."""
        exchange = self._class({"enableRateLimit": True})
        markets = exchange.options.get("fetchMarkets")
        if isinstance(markets, dict) and "types" in markets:
            markets["types"] = ["spot"]
        elif isinstance(markets, list):
            exchange.options["fetchMarkets"] = ["spot"]
        exchange.throttle = self._note_cost
        exchange.fetch = lambda url, method="GET", headers=None, body=None: self._answered(exchange, url, method)
        exchange.parse_ohlcvs = lambda rows, market=None, *others, **named: self._note_rows(exchange, rows, market)
        return exchange

    def _candles(self, instrument: Instrument, timeframe: Timeframe, window: Window) -> object:
        exchange = self._exchange
        symbol = f"{instrument.base}/{instrument.quote}"
        if not exchange.markets or exchange.markets.get(symbol, {}).get("id") != _id_of(instrument):
            exchange.set_markets([exchange.safe_market_structure(_market(instrument, symbol))])
        start, end = window.start_seconds * MILLISECONDS, window.end_seconds * MILLISECONDS
        slots = (window.end_seconds - window.start_seconds) // timeframe.seconds
        return exchange.fetch_ohlcv(symbol, timeframe.alias, since=start, limit=slots, params={"until": end - 1})

    def _note_cost(self, cost: float | None = None) -> None:
        """Take the place of ccxt's rate limiter."""
        self._cost = float(cost or 1)

    def _note_rows(self, exchange: Any, rows: Any, market: Any) -> list[list[Any]]:
        """Take the place of ccxt's `parse_ohlcvs`, which sorts rows and drops those outside the requested range."""
        if not rows and not any(rows is part for document in self._documents for part in _parts(document)):
            raise ProviderUnusable(f"{self.name} sent no list of candles")
        self._noted.append([exchange.parse_ohlcv(row, market) for row in rows])
        return self._noted[-1]

    def _answered(self, exchange: Any, url: str, method: str) -> Any:
        """Take the place of ccxt's `fetch`; of several requests, only one has an answer that is not empty."""
        if self._listened is not None:
            self._listened.append(_Captured(url, method))
            return {}
        if self._answer is None:
            raise _Captured(url, method)
        if self._documents or self._answered_path not in (None, path_and_query(url)[1]):
            return {}
        text = self._answer.decode()
        document = exchange.parse_json(text)
        if document is None:
            raise ProviderUnusable(f"{self.name} sent no JSON")
        self._documents.append(document)
        self._check_errors(exchange, 200, url, text, document)
        return document

    def _check_errors(self, exchange: Any, status: int, url: str, text: str, document: Any) -> None:
        exchange.handle_errors(status, "", url, "GET", {}, text, document, {}, None)

    def _capture(self, work: Callable[[], object]) -> CapturedRequest:
        self._answer, self._cost, self._documents, self._answered_path = None, 1.0, [], None
        sent, reason = self._sent_by(work)
        if not sent:
            raise SettingsError(f"ccxt.{self.id}: ccxt makes no request to {self.name}{reason}")
        chosen = next((each for each in sent if "spot" in each.url.lower()), sent[0])
        if chosen.method != "GET":
            raise SettingsError(f"ccxt.{self.id}: {self.name} expects {chosen.method} requests, not GET")
        return CapturedRequest(url=chosen.url, cost=self._cost)

    def _sent_by(self, work: Callable[[], object]) -> tuple[list[_Captured], str]:
        """Return the requests of a method of ccxt: the first one, or all while listening; and why it stopped."""
        reason = ""
        try:
            work()
        except _Captured as sent:
            return [sent], ""
        except self._library.AuthenticationError as error:
            reason = f" without an account: {error}"
        except (self._library.BaseError, *PARSER_ERRORS) as error:  # also that of the empty answers while listening
            reason = f": {error}"
        return self._listened or [], reason

    def _parse(self, body: bytes, work: Callable[[], Any], path: str | None = None) -> Any:
        self._answer, self._documents, self._answered_path = body, [], path
        library = self._library
        try:
            return work()
        except (library.BadRequest, library.AuthenticationError, library.NotSupported) as error:
            raise ProviderRejected(str(error), status=200) from error
        except (library.BaseError, *PARSER_ERRORS) as error:
            raise ProviderUnusable(f"{type(error).__name__}: {error}") from error
        finally:
            self._answer, self._documents = None, []


def path_and_query(url: str) -> tuple[str, str, str]:
    """Split a URL into its host with scheme, its path and its query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}", parts.path or "/", parts.query


def _parts(document: Any) -> list[Any]:
    """Return a document and its parts: the values of objects, and of objects in them; not the items of lists."""
    found = [document]
    for each in found:
        if isinstance(each, dict):
            found += each.values()
    return found


def _id_of(instrument: Instrument) -> str:
    return instrument.symbol or f"{instrument.base}{instrument.quote}"


def _market(instrument: Instrument, symbol: str) -> dict[str, Any]:
    """Return ccxt's structure of a spot market, so that it need not load its list."""
    kinds = dict.fromkeys(("margin", "swap", "future", "option", "contract"), False)
    return {
        "id": _id_of(instrument),
        "symbol": symbol,
        "base": instrument.base,
        "quote": instrument.quote,
        "baseId": instrument.base,
        "quoteId": instrument.quote,
        "type": "spot",
        "spot": True,
        "active": True,
        "info": {},
        **kinds,
    }
