"""Simulation of the public Coinbase Advanced Trade API: a product and its candles.

Source: docs.cdp.coinbase.com, Advanced Trade API, and recorded responses. Where neither documents the body of an error
(an invalid granularity or time), the message is invented and the envelope is theirs.
"""

import math
from collections.abc import Callable, Mapping
from http import HTTPStatus

import msgspec
from aiohttp import web

from fetcher.simulator.candles.source import CLOSE, HIGH, LOW, OPEN, CandleSource, SimulatedCandles, as_of, no_candles
from fetcher.simulator.response import CorruptBody, RequestHandler, SimulatedRefusal, SimulatedResponse, parse_moment
from tradeschool.markets.instruments import Dataset, Instrument
from tradeschool.markets.timeframes import Timeframe

PRODUCTS = "/api/v3/brokerage/market/products"
GRANULARITIES = {
    "ONE_MINUTE": 60,
    "FIVE_MINUTE": 300,
    "FIFTEEN_MINUTE": 900,
    "THIRTY_MINUTE": 1800,
    "ONE_HOUR": 3600,
    "TWO_HOUR": 7200,
    "FOUR_HOUR": 14_400,
    "SIX_HOUR": 21_600,
    "ONE_DAY": 86_400,
}
"""Seconds by granularity; granularities without a `Timeframe` are valid and have no candles here."""
MAX_ROWS = 350
"""Exclusive maximum of (end - start) / granularity; both ends are inclusive."""
TOO_MANY_ROWS = "start and end argument is invalid - number of candles requested should be less than 350"
TOO_MANY_BODY = b'{"errors":[{"id":"rate_limit_exceeded","message":"Too many requests"}]}'


class CoinbaseAdvanced:
    """Simulated Coinbase Advanced Trade protocol, for the instruments of Coinbase."""

    name = "coinbase_advanced"

    def __init__(self, source: CandleSource, clock: Callable[[], float]) -> None:
        self._source = source
        self._clock = clock
        self._products = {each.name: each for each in source.instruments if each.provider == "coinbase"}

    def routes(self) -> dict[str, RequestHandler]:
        """Return the GET handlers by path pattern."""
        return {
            PRODUCTS: self._list,
            f"{PRODUCTS}/{{product}}": self._product,
            f"{PRODUCTS}/{{product}}/candles": self._candles,
            "/api/v3/brokerage/{rest:.*}": lambda request, corrupt: _refusal(404, "Not found"),
        }

    def too_many(self) -> SimulatedResponse:
        """Return status 429 without a Retry-After header."""
        return SimulatedResponse(status=429, body=TOO_MANY_BODY)

    def failure(self, status: int) -> SimulatedResponse:
        """Return the error envelope of the API."""
        return _refusal(status, HTTPStatus(status).phrase)

    def _list(self, request: web.Request, corrupt: CorruptBody) -> SimulatedResponse:
        listed = [_listing(instrument) for instrument in self._products.values()]
        body = msgspec.json.encode({"products": listed, "num_products": len(listed)})
        return SimulatedResponse(body=body)

    def _product(self, request: web.Request, corrupt: CorruptBody) -> SimulatedResponse:
        try:
            instrument = self._instrument(request)
        except SimulatedRefusal as refused:
            return _refusal(refused.status, refused.message)
        return SimulatedResponse(body=msgspec.json.encode(_listing(instrument)))

    def _candles(self, request: web.Request, corrupt: CorruptBody) -> SimulatedResponse:
        try:
            candles = self._page(self._instrument(request), request.query)
        except SimulatedRefusal as refused:
            return _refusal(refused.status, refused.message)
        return SimulatedResponse(body=_rows(corrupt(candles)), headers={"Cache-Control": "public, max-age=1"})

    def _instrument(self, request: web.Request) -> Instrument:
        name = request.match_info["product"]
        if name not in self._products:
            raise SimulatedRefusal(404, f"Product {name} not supported")
        return self._products[name]

    def _page(self, instrument: Instrument, query: Mapping[str, str]) -> SimulatedCandles:
        """Return the candles of a query, oldest first."""
        seconds = GRANULARITIES.get(query.get("granularity", ""))
        if seconds is None:
            raise SimulatedRefusal(400, "granularity argument is invalid")
        start, end = _moment(query, "start"), _moment(query, "end")
        if (end - start) / seconds >= MAX_ROWS:
            raise SimulatedRefusal(400, TOO_MANY_ROWS)
        if seconds not in (timeframe.seconds for timeframe in Timeframe):
            return no_candles(instrument)
        now = self._clock()
        dataset = Dataset(instrument=instrument, timeframe=Timeframe(seconds))
        begun = math.floor(now) + 1
        candles = self._source.candles(dataset, math.ceil(start), min(math.floor(end) + 1, begun))
        return as_of(candles, dataset, now)


def _moment(query: Mapping[str, str], name: str) -> float:
    """Parse a required time parameter to Unix seconds."""
    try:
        return parse_moment(str(int(query[name])))
    except (KeyError, ValueError):
        raise SimulatedRefusal(400, f"{name} argument is invalid") from None


def _rows(candles: SimulatedCandles) -> bytes:
    """Encode rows newest first, with every number as a string."""
    newest_first = candles[::-1]
    rows = zip(newest_first.times.tolist(), newest_first.prices.tolist(), newest_first.volumes.tolist(), strict=True)
    listed = [
        {
            "start": str(time),
            "low": _text(prices[LOW]),
            "high": _text(prices[HIGH]),
            "open": _text(prices[OPEN]),
            "close": _text(prices[CLOSE]),
            "volume": _text(volume),
        }
        for time, prices, volume in rows
    ]
    return msgspec.json.encode({"candles": listed})


def _text(number: float) -> str:
    """Format a number with at most eight decimals, without trailing zeros or an exponent."""
    return f"{number:.8f}".rstrip("0").rstrip(".")


def _listing(instrument: Instrument) -> dict[str, str | bool]:
    """Return the static fields of a product; current market data is omitted."""
    return {
        "product_id": instrument.name,
        "base_increment": "0.00000001",
        "quote_increment": f"{instrument.exact_tick:f}",
        "quote_min_size": "1",
        "base_min_size": "0.00000001",
        "is_disabled": False,
        "status": "online",
        "cancel_only": False,
        "limit_only": False,
        "post_only": False,
        "trading_disabled": False,
        "auction_mode": False,
        "product_type": "SPOT",
        "quote_currency_id": instrument.quote,
        "base_currency_id": instrument.base,
        "base_display_symbol": instrument.base,
        "quote_display_symbol": instrument.quote,
        "view_only": False,
        "price_increment": f"{instrument.exact_tick:f}",
        "display_name": instrument.name,
        "product_venue": "CBE",
    }


def _refusal(status: int, message: str) -> SimulatedResponse:
    """Return an error response; the fields of 404 were recorded, those of 400 were observed."""
    if status == 400:
        body = {"error": "INVALID_ARGUMENT", "error_details": message, "message": message}
    else:
        body = {"error": HTTPStatus(status).name, "message": message}
    return SimulatedResponse(status=status, body=msgspec.json.encode(body))
