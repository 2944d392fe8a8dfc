"""Simulation of the public Coinbase Exchange API: time, products and candles.

Source: docs.cdp.coinbase.com, Exchange REST API, and recorded responses. Where neither documents the body of an error
(an invalid time, a start after the end), the message is invented and the envelope is theirs.
"""

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import NoReturn

import msgspec
from aiohttp import web

from fetcher.simulator.candles.source import CLOSE, HIGH, LOW, OPEN, CandleSource, SimulatedCandles, as_of, last_candles
from fetcher.simulator.response import CorruptBody, RequestHandler, SimulatedRefusal, SimulatedResponse, parse_moment
from tradeschool.markets.instruments import Dataset, Instrument
from tradeschool.markets.timeframes import Timeframe

GRANULARITIES = (60, 300, 900, 3600, 21600, 86400)
"""Granularities in seconds; those without a `Timeframe` are valid and have no candles here."""
DEFAULT_GRANULARITY = "60"
MAX_INTERVALS = 300
"""Maximum of (end - start) / granularity; both ends are inclusive, so an aligned page has up to 301 rows."""
NEWEST_ROWS = 350
"""Number of rows in the response to a request without start and end."""

CANDLE_HEADERS = {"Cache-Control": "public, max-age=300"}
NOT_FOUND = "NotFound"
UNSUPPORTED_GRANULARITY = "Unsupported granularity"
TOO_MANY_INTERVALS = "granularity too small for the requested time range. Count of aggregations requested exceeds 300"
RATE_LIMIT_EXCEEDED = "Public rate limit exceeded"
MAINTENANCE = "GDAX is currently under maintenance. For updates please see https://status.gdax.com/"


class Coinbase:
    """Simulated Coinbase Exchange protocol."""

    name = "coinbase"

    def __init__(self, source: CandleSource, clock: Callable[[], float]) -> None:
        self._source = source
        self._clock = clock
        self._products = {
            instrument.name: instrument for instrument in source.instruments if instrument.provider == self.name
        }

    def routes(self) -> dict[str, RequestHandler]:
        """Return the GET handlers by path pattern."""
        return {
            "/time": self._time,
            "/products": self._list,
            "/products/{product}": self._product,
            "/products/{product}/candles": self._candles,
            "/{rest:.*}": lambda request, corrupt: _refusal(404, NOT_FOUND),
        }

    def too_many(self) -> SimulatedResponse:
        """Return status 429 without a Retry-After header."""
        return _refusal(429, RATE_LIMIT_EXCEEDED)

    def failure(self, status: int) -> SimulatedResponse:
        """Return the error envelope of the API; only the text of 503 is recorded."""
        return _refusal(status, MAINTENANCE if status == 503 else "Internal server error")

    def _time(self, request: web.Request, corrupt: CorruptBody) -> SimulatedResponse:
        milliseconds = round(self._clock() * 1000)
        iso = datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds")
        body = msgspec.json.encode({"iso": iso.replace("+00:00", "Z"), "epoch": milliseconds / 1000})
        return SimulatedResponse(body=body, headers={"Cache-Control": "no-store"})

    def _list(self, request: web.Request, corrupt: CorruptBody) -> SimulatedResponse:
        return SimulatedResponse(
            body=msgspec.json.encode([_listing(instrument) for instrument in self._products.values()])
        )

    def _product(self, request: web.Request, corrupt: CorruptBody) -> SimulatedResponse:
        instrument = self._products.get(request.match_info["product"])
        return (
            _refusal(404, NOT_FOUND)
            if instrument is None
            else SimulatedResponse(body=msgspec.json.encode(_listing(instrument)))
        )

    def _candles(self, request: web.Request, corrupt: CorruptBody) -> SimulatedResponse:
        instrument = self._products.get(request.match_info["product"])
        if instrument is None:
            return _refusal(404, NOT_FOUND)
        try:
            candles = self._page(instrument, request.query)
        except SimulatedRefusal as refused:
            return _refusal(refused.status, refused.message)
        return SimulatedResponse(body=_rows(corrupt(candles)), headers=CANDLE_HEADERS)

    def _page(self, instrument: Instrument, query: Mapping[str, str]) -> SimulatedCandles:
        """Return the candles of a query, oldest first."""
        granularity = _granularity(query)
        bounds = _bounds(query, granularity)
        if granularity not in (timeframe.seconds for timeframe in Timeframe):
            return self._source.candles(Dataset(instrument=instrument, timeframe=Timeframe.M5), 0, 0)
        dataset = Dataset(instrument=instrument, timeframe=Timeframe(granularity))
        now = self._clock()
        begun = math.floor(now) + 1
        if bounds is None:
            return as_of(last_candles(self._source, dataset, begun, NEWEST_ROWS), dataset, now)
        # An unaligned start is rounded up implicitly: no candle opens before the next grid point.
        start, end = bounds
        return as_of(self._source.candles(dataset, math.ceil(start), min(math.floor(end) + 1, begun)), dataset, now)


def _granularity(query: Mapping[str, str]) -> int:
    text = query.get("granularity", DEFAULT_GRANULARITY)
    if text not in {str(granularity) for granularity in GRANULARITIES}:
        raise SimulatedRefusal(400, UNSUPPORTED_GRANULARITY)
    return int(text)


def _bounds(query: Mapping[str, str], granularity: int) -> tuple[float, float] | None:
    """Return start and end, both inclusive; None if either is missing, as both are ignored then."""
    if not query.get("start") or not query.get("end"):
        return None
    start, end = _moment(query, "start"), _moment(query, "end")
    if end < start:
        raise SimulatedRefusal(400, "start must be before end")
    if (end - start) / granularity > MAX_INTERVALS:
        raise SimulatedRefusal(400, TOO_MANY_INTERVALS)
    return start, end


def _moment(query: Mapping[str, str], name: str) -> float:
    try:
        return parse_moment(query[name])
    except ValueError:
        _refuse_moment(name)


def _refuse_moment(name: str) -> NoReturn:
    raise SimulatedRefusal(400, f"Invalid {name}")


def _rows(candles: SimulatedCandles) -> bytes:
    """Encode rows newest first as `[time, low, high, open, close, volume]`; whole prices have no decimal point."""
    newest_first = candles[::-1]
    prices = newest_first.prices[:, [LOW, HIGH, OPEN, CLOSE]].tolist()
    return msgspec.json.encode(
        [
            (time, *(int(price) if price.is_integer() else price for price in row), volume)
            for time, row, volume in zip(
                newest_first.times.tolist(), prices, newest_first.volumes.tolist(), strict=True
            )
        ]
    )


def _listing(instrument: Instrument) -> dict[str, str | bool]:
    return {
        "id": instrument.name,
        "base_currency": instrument.base,
        "quote_currency": instrument.quote,
        "quote_increment": f"{instrument.exact_tick:f}",
        "base_increment": "0.00000001",
        "display_name": instrument.pair,
        "min_market_funds": "1",
        "margin_enabled": False,
        "fx_stablecoin": False,
        "max_slippage_percentage": "0.02000000",
        "post_only": False,
        "limit_only": False,
        "cancel_only": False,
        "trading_disabled": False,
        "status": "online",
        "status_message": "",
        "auction_mode": False,
    }


def _refusal(status: int, message: str) -> SimulatedResponse:
    return SimulatedResponse(status=status, body=msgspec.json.encode({"message": message}))
