"""Simulation of the public Binance spot API: ping, time, symbols and klines.

Source: github.com/binance/binance-spot-api-docs, rest-api.md and errors.md. The number of requests after a 429 until a
ban is undocumented and chosen here; the six columns after the volume are invented.
"""

import math
import re
from collections.abc import Callable, Mapping

import msgspec
from aiohttp import web

from fetcher.simulator.candles.source import (
    CLOSE,
    HIGH,
    LOW,
    OPEN,
    CandleSource,
    SimulatedCandles,
    as_of,
    first_candles,
    last_candles,
    no_candles,
)
from fetcher.simulator.response import CorruptBody, RequestHandler, SimulatedResponse
from tradeschool.markets.instruments import Dataset, Instrument
from tradeschool.markets.timeframes import Timeframe

MINUTE_NAMES = {f"{n}m": n * 60 for n in (1, 3, 5, 15, 30)}
HOUR_NAMES = {f"{n}h": n * 3600 for n in (1, 2, 4, 6, 8, 12)}
INTERVALS = {"1s": 1, **MINUTE_NAMES, **HOUR_NAMES, "1d": 86_400, "3d": 259_200, "1w": 604_800, "1M": 2_592_000}
"""Seconds by interval name, case-sensitive; intervals without a `Timeframe` are valid and have no candles here."""
DEFAULT_ROWS = 500
MAX_ROWS = 1000
"""Maximum number of rows; a higher limit is reduced, not rejected."""
LATEST_MILLISECONDS = 253_370_764_800_000
"""Year 9999."""

RETRY_AFTER_SECONDS = 1
"""Retry-After of a 429; the weight is refilled evenly here, so one second is enough."""
STRIKES = 20
"""Consecutive 429 responses after which the address is banned."""
BAN_SECONDS = 120
"""Duration of a first ban."""

TOO_MUCH_WEIGHT = (
    -1003,
    "Too much request weight used; current limit is 6000 request weight per 1 MINUTE. "
    "Please use WebSocket Streams for live updates to avoid polling the API.",
)
BANNED = (
    "Way too much request weight used; IP banned until {}. Please use WebSocket Streams for live updates to avoid bans."
)
INVALID_INTERVAL = (-1120, "Invalid interval.")
INVALID_SYMBOL = (-1121, "Invalid symbol.")
INTERNAL = (-1001, "Internal error; unable to process your request. Please try again.")
NUMBER = r"^[0-9]{1,20}$"


class _Refused(Exception):
    """The request is rejected with this code and message."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.body = _error(code, message)


class Binance:
    """Simulated Binance protocol."""

    name = "binance"

    def __init__(self, source: CandleSource, clock: Callable[[], float]) -> None:
        self._source = source
        self._clock = clock
        self._symbols = {f"{each.base}{each.quote}": each for each in source.instruments if each.provider == self.name}
        self._strikes = 0
        self._banned_until = 0.0

    def routes(self) -> dict[str, RequestHandler]:
        """Return the GET handlers by path pattern."""
        answered = {
            "/api/v3/ping": self._ping,
            "/api/v3/time": self._time,
            "/api/v3/exchangeInfo": self._information,
            "/api/v3/klines": self._klines,
        }
        return {path: self._unless_banned(each) for path, each in answered.items()} | {
            "/api/v3/{rest:.*}": lambda request, corrupt: SimulatedResponse(status=404, body=b"")
        }

    def too_many(self) -> SimulatedResponse:
        """Return status 429 with Retry-After, or 418 with the remaining ban after too many of them."""
        self._strikes += 1
        if self._strikes >= STRIKES and not self._is_banned():
            self._banned_until = self._clock() + BAN_SECONDS
        if self._is_banned():
            return self._ban()
        return SimulatedResponse(
            status=429, body=_error(*TOO_MUCH_WEIGHT), headers={"Retry-After": str(RETRY_AFTER_SECONDS)}
        )

    def failure(self, status: int) -> SimulatedResponse:
        """Return the error envelope of the API."""
        return SimulatedResponse(status=status, body=_error(*INTERNAL))

    def _unless_banned(self, handler: RequestHandler) -> RequestHandler:
        def answer(request: web.Request, corrupt: CorruptBody) -> SimulatedResponse:
            if self._is_banned():
                return self._ban()
            self._strikes = 0
            try:
                return handler(request, corrupt)
            except _Refused as refused:
                return SimulatedResponse(status=400, body=refused.body)

        return answer

    def _is_banned(self) -> bool:
        return self._clock() < self._banned_until

    def _ban(self) -> SimulatedResponse:
        left = math.ceil(self._banned_until - self._clock())
        message = BANNED.format(round(self._banned_until * 1000))
        return SimulatedResponse(status=418, body=_error(-1003, message), headers={"Retry-After": str(left)})

    def _ping(self, request: web.Request, corrupt: CorruptBody) -> SimulatedResponse:
        return SimulatedResponse(body=b"{}")

    def _time(self, request: web.Request, corrupt: CorruptBody) -> SimulatedResponse:
        return SimulatedResponse(body=msgspec.json.encode({"serverTime": round(self._clock() * 1000)}))

    def _information(self, request: web.Request, corrupt: CorruptBody) -> SimulatedResponse:
        listed = [self._instrument(request.query)] if "symbol" in request.query else [*self._symbols.values()]
        limit = {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000}
        information = {
            "timezone": "UTC",
            "serverTime": round(self._clock() * 1000),
            "rateLimits": [limit],
            "exchangeFilters": [],
            "symbols": [_listing(instrument) for instrument in listed],
        }
        return SimulatedResponse(body=msgspec.json.encode(information))

    def _klines(self, request: web.Request, corrupt: CorruptBody) -> SimulatedResponse:
        instrument = self._instrument(request.query)
        interval = _mandatory(request.query, "interval")
        if interval not in INTERVALS:
            raise _Refused(*INVALID_INTERVAL)
        candles = corrupt(self._page(instrument, INTERVALS[interval], request.query))
        return SimulatedResponse(body=_rows(candles, INTERVALS[interval]))

    def _instrument(self, query: Mapping[str, str]) -> Instrument:
        symbol = _mandatory(query, "symbol")
        if symbol not in self._symbols:
            raise _Refused(*INVALID_SYMBOL)
        return self._symbols[symbol]

    def _page(self, instrument: Instrument, seconds: int, query: Mapping[str, str]) -> SimulatedCandles:
        """Return the candles of a query, oldest first; both ends are inclusive."""
        limit = min(_number(query, "limit") or DEFAULT_ROWS, MAX_ROWS)
        start, end = _number(query, "startTime"), _number(query, "endTime")
        if seconds not in (timeframe.seconds for timeframe in Timeframe):
            return no_candles(instrument)
        now = self._clock()
        dataset = Dataset(instrument=instrument, timeframe=Timeframe(seconds))
        after = math.floor(now) + 1 if end is None else min(end // 1000 + 1, math.floor(now) + 1)
        if start is None:
            return as_of(last_candles(self._source, dataset, after, limit), dataset, now)
        return as_of(first_candles(self._source, dataset, -(-start // 1000), after, limit), dataset, now)


def _mandatory(query: Mapping[str, str], name: str) -> str:
    if not query.get(name):
        raise _Refused(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
    return query[name]


def _number(query: Mapping[str, str], name: str) -> int | None:
    if name not in query:
        return None
    if not re.fullmatch(NUMBER, query[name]):
        raise _Refused(-1100, f"Illegal characters found in parameter '{name}'; legal range is '{NUMBER}'.")
    return min(int(query[name]), LATEST_MILLISECONDS)


def _rows(candles: SimulatedCandles, seconds: int) -> bytes:
    """Encode rows oldest first, with twelve columns and prices and volumes as strings with eight decimals."""
    rows = zip(candles.times.tolist(), candles.prices.tolist(), candles.volumes.tolist(), strict=True)
    return msgspec.json.encode([_row(time, prices, volume, seconds) for time, prices, volume in rows])


def _row(time: int, prices: list[float], volume: float, seconds: int) -> tuple[int | str, ...]:
    return (
        time * 1000,
        *(f"{prices[column]:.8f}" for column in (OPEN, HIGH, LOW, CLOSE)),
        f"{volume:.8f}",
        (time + seconds) * 1000 - 1,
        f"{volume * prices[CLOSE]:.8f}",
        1,
        f"{volume / 2:.8f}",
        f"{volume / 2 * prices[CLOSE]:.8f}",
        "0",
    )


def _listing(instrument: Instrument) -> dict[str, object]:
    price_filter = {"filterType": "PRICE_FILTER", "tickSize": f"{instrument.exact_tick:.8f}"}
    return {
        "symbol": f"{instrument.base}{instrument.quote}",
        "status": "TRADING",
        "baseAsset": instrument.base,
        "baseAssetPrecision": 8,
        "quoteAsset": instrument.quote,
        "quoteAssetPrecision": 8,
        "isSpotTradingAllowed": True,
        "filters": [price_filter],
    }


def _error(code: int, message: str) -> bytes:
    return msgspec.json.encode({"code": code, "msg": message})
