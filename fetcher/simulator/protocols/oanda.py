"""Simulation of the OANDA v20 API: instrument candles and the instruments of an account.

Source: OANDA v20 documentation and OpenAPI file, and recorded responses. Where none documents the body of an error (an
invalid count, price or time, 404, 5xx), the message is invented and the envelope is theirs. The body of a v20 429 is
unknown, so the recorded one of v1 is sent.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from itertools import count as counted_from
from typing import NoReturn
from zoneinfo import available_timezones

import msgspec
import numpy as np
from aiohttp import web

from fetcher.simulator.candles.source import (
    CLOSE,
    HIGH,
    LOW,
    OPEN,
    CandleSource,
    Prices,
    RealignedCandles,
    SimulatedCandles,
    Times,
    as_of,
    first_candles,
    last_candles,
    no_candles,
)
from fetcher.simulator.response import CorruptBody, RequestHandler, SimulatedRefusal, SimulatedResponse, parse_moment
from tradeschool.markets.grid import NEW_YORK_CLOSE, Alignment, aligned_grid, alignment_of
from tradeschool.markets.instruments import Dataset, Instrument, Market
from tradeschool.markets.timeframes import Timeframe

GRANULARITIES = {
    **{f"S{n}": n for n in (5, 10, 15, 30)},
    **{f"M{n}": n * 60 for n in (1, 2, 3, 4, 5, 10, 15, 30)},
    **{f"H{n}": n * 3600 for n in (1, 2, 3, 4, 6, 8, 12)},
    "D": 86_400,
    "W": 7 * 86_400,
    "M": 30 * 86_400,
}
"""Seconds by granularity; granularities without a `Timeframe` are valid and have no candles here."""
TIMEFRAMES = {timeframe.name: timeframe for timeframe in Timeframe if timeframe is not Timeframe.D1} | {
    "D": Timeframe.D1
}
DEFAULT_GRANULARITY = "S5"
DEFAULT_COUNT = 500
MAX_COUNT = 5000
"""Maximum of `count`, and of the number of intervals between from and to."""

COUNT_EXCEEDED = "Maximum value for 'count' exceeded"
COUNT_WITH_RANGE = "'count' cannot be specified when 'to' and 'from' parameters are set"
UNAUTHORIZED = "Insufficient authorization to perform request."
TOO_MANY_BODY = (
    b'{"code":68,"message":"Rate limit violation of newly established connections. Allowed rate: 2 connections per '
    b'second","moreInfo":"http://developer.oanda.com/docs/v1/troubleshooting/#errors"}'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Query:
    """Validated parameters of a request."""

    granularity: str
    price: str
    start: float | None
    """Inclusive start; the candle that covers it is the first one."""
    end: float | None
    """Exclusive end."""
    count: int | None
    """Number of candles; None only if both start and end are given."""
    include_first: bool
    alignment: Alignment
    """Start of the day for granularities that are counted from it."""


class Oanda:
    """Simulated OANDA v20 protocol."""

    name = "oanda"

    def __init__(self, source: CandleSource, clock: Callable[[], float], token: str | None = None) -> None:
        self._source = source
        self._clock = clock
        self._token = token
        self._request_ids = counted_from(42_000_000_000_000_001)
        self._instruments = {
            f"{instrument.base}_{instrument.quote}": instrument
            for instrument in source.instruments
            if instrument.provider == self.name
        }

    def routes(self) -> dict[str, RequestHandler]:
        """Return the GET handlers by path pattern."""
        return {
            "/v3/instruments/{instrument}/candles": self._candles,
            "/v3/accounts/{account}/instruments": self._list,
            "/v3/{rest:.*}": lambda request, corrupt: self._refusal(404, "Not found"),
        }

    def too_many(self) -> SimulatedResponse:
        """Return status 429 without a Retry-After header."""
        return SimulatedResponse(status=429, body=TOO_MANY_BODY, headers=self._headers())

    def failure(self, status: int) -> SimulatedResponse:
        """Return the error envelope of the API."""
        return self._refusal(status, HTTPStatus(status).phrase)

    def _list(self, request: web.Request, corrupt: CorruptBody) -> SimulatedResponse:
        """Return the instruments of an account; any account id is accepted."""
        if not self._is_authorized(request.headers.get("Authorization", "")):
            return self._refusal(401, UNAUTHORIZED)
        listed = [_listing(name, instrument) for name, instrument in self._instruments.items()]
        body = msgspec.json.encode({"instruments": listed, "lastTransactionID": "6356"})
        return SimulatedResponse(body=body, headers=self._headers())

    def _candles(self, request: web.Request, corrupt: CorruptBody) -> SimulatedResponse:
        if not self._is_authorized(request.headers.get("Authorization", "")):
            return self._refusal(401, UNAUTHORIZED)
        now = self._clock()
        try:
            instrument = self._instrument(request.match_info["instrument"])
            query = _parse(request.query, now)
        except SimulatedRefusal as refused:
            return self._refusal(refused.status, refused.message)
        candles = corrupt(self._page(instrument, query, now))
        unix = request.headers.get("Accept-Datetime-Format", "RFC3339").upper() == "UNIX"
        body = _body(candles, request.match_info["instrument"], query, instrument.decimals, now, unix=unix)
        return SimulatedResponse(body=body, headers=self._headers())

    def _is_authorized(self, header: str) -> bool:
        scheme, _, token = header.partition(" ")
        return scheme == "Bearer" and bool(token) and self._token in (None, token)

    def _instrument(self, name: str) -> Instrument:
        if name not in self._instruments:
            _refuse("instrument")
        return self._instruments[name]

    def _page(self, instrument: Instrument, query: _Query, now: float) -> SimulatedCandles:
        """Return the candles of a query, oldest first."""
        if query.granularity not in TIMEFRAMES:
            return no_candles(instrument)
        dataset = Dataset(instrument=instrument, timeframe=TIMEFRAMES[query.granularity])
        candles = as_of(self._chosen(dataset, query, math.floor(now) + 1), dataset, now)
        return candles if query.include_first or query.start is None else candles[1:]

    def _chosen(self, dataset: Dataset, query: _Query, begun: int) -> SimulatedCandles:
        end = begun if query.end is None else min(math.ceil(query.end), begun)
        source, grid = self._source, aligned_grid(dataset.timeframe.seconds, query.alignment)
        if dataset.timeframe.is_day_aligned and query.alignment != alignment_of(dataset.instrument):
            source = RealignedCandles(source, query.alignment)
        if query.start is None:
            return last_candles(source, dataset, end, query.count or DEFAULT_COUNT)
        start = int(grid.floor(np.array([math.floor(query.start)], dtype=np.int64))[0])
        if query.count is None:
            return source.candles(dataset, start, end)
        return first_candles(source, dataset, start, end, query.count)

    def _refusal(self, status: int, message: str) -> SimulatedResponse:
        return SimulatedResponse(
            status=status, body=msgspec.json.encode({"errorMessage": message}), headers=self._headers()
        )

    def _headers(self) -> dict[str, str]:
        return {"RequestID": str(next(self._request_ids))}


def _listing(name: str, instrument: Instrument) -> dict[str, object]:
    types = {Market.FX: "CURRENCY", Market.METAL: "METAL"}
    return {
        "name": name,
        "type": types.get(instrument.market, "CFD"),
        "displayName": instrument.pair,
        "pipLocation": 1 - instrument.decimals,
        "displayPrecision": instrument.decimals,
        "tradeUnitsPrecision": 0,
        "tags": [{"type": "ASSET_CLASS", "name": instrument.market.name}],
    }


def _parse(query: Mapping[str, str], now: float) -> _Query:
    granularity = query.get("granularity", DEFAULT_GRANULARITY)
    if granularity not in GRANULARITIES:
        _refuse("granularity")
    start, end = _moment(query, "from", now), _moment(query, "to", now)
    return _Query(
        granularity=granularity,
        price=_price(query),
        start=start,
        end=end,
        count=_count(query, start, end, GRANULARITIES[granularity]),
        include_first=_include_first(query),
        alignment=_alignment(query),
    )


def _moment(query: Mapping[str, str], name: str, now: float) -> float | None:
    if name not in query:
        return None
    try:
        moment = parse_moment(query[name])
    except ValueError:
        _refuse(name)
    if moment > now:
        raise SimulatedRefusal(400, f"Invalid value specified for '{name}'. Time is in the future")
    return moment


def _count(query: Mapping[str, str], start: float | None, end: float | None, step_seconds: int) -> int | None:
    if start is not None and end is not None:
        _check_range(query, start, end, step_seconds)
        return None
    text = query.get("count", str(DEFAULT_COUNT))
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) > 0):
        _refuse("count")
    if int(text) > MAX_COUNT:
        raise SimulatedRefusal(400, COUNT_EXCEEDED)
    return int(text)


def _check_range(query: Mapping[str, str], start: float, end: float, step_seconds: int) -> None:
    if "count" in query:
        raise SimulatedRefusal(400, COUNT_WITH_RANGE)
    if start > end:
        _refuse("to")
    if (end - start) / step_seconds > MAX_COUNT:
        raise SimulatedRefusal(400, COUNT_EXCEEDED)


def _price(query: Mapping[str, str]) -> str:
    letters = query.get("price", "M")
    if not letters or set(letters) - set("MBA"):
        _refuse("price")
    return letters


def _include_first(query: Mapping[str, str]) -> bool:
    text = query.get("includeFirst", "true").lower()
    if text not in {"true", "false"}:
        _refuse("includeFirst")
    return text == "true"


def _alignment(query: Mapping[str, str]) -> Alignment:
    hour, zone = (
        query.get("dailyAlignment", str(NEW_YORK_CLOSE.hour)),
        query.get("alignmentTimezone", NEW_YORK_CLOSE.zone),
    )
    if not (hour.isascii() and hour.isdigit() and int(hour) < 24):
        _refuse("dailyAlignment")
    if zone not in available_timezones():
        _refuse("alignmentTimezone")
    return Alignment(zone, int(hour))


def _refuse(name: str) -> NoReturn:
    raise SimulatedRefusal(400, f"Invalid value specified for '{name}'")


def _body(candles: SimulatedCandles, instrument: str, query: _Query, decimals: int, now: float, *, unix: bool) -> bytes:
    step = GRANULARITIES[query.granularity]
    quotes = {"bid": ("B", candles.bid), "mid": ("M", candles.prices), "ask": ("A", candles.ask)}
    wanted = {name: prices for name, (letter, prices) in quotes.items() if letter in query.price and prices is not None}
    # One text template per candle: formatting five thousand candles with twelve prices each takes 25 ms, a third of
    # the time of encoding objects.
    template = '{"complete":%s,"volume":%d,"time":"%s"' + "".join(_quote(name, decimals) for name in wanted) + "}"
    rows = zip(
        ["true" if time + step <= now else "false" for time in candles.times.tolist()],
        candles.volumes.tolist(),
        _moments(candles.times, unix=unix),
        *(column for prices in wanted.values() for column in _columns(prices)),
        strict=True,
    )
    listed = ",".join([template % row for row in rows])
    return f'{{"instrument":"{instrument}","granularity":"{query.granularity}","candles":[{listed}]}}'.encode()


def _quote(name: str, decimals: int) -> str:
    prices = ",".join(f'"{letter}":"%.{decimals}f"' for letter in "ohlc")
    return f',"{name}":{{{prices}}}'


def _columns(prices: Prices) -> list[list[float]]:
    return [prices[:, column].tolist() for column in (OPEN, HIGH, LOW, CLOSE)]


def _moments(times: Times, *, unix: bool) -> list[str]:
    if unix:
        return [f"{time}.000000000" for time in times.tolist()]
    return [f"{time}.000000000Z" for time in np.datetime_as_string(times.astype("datetime64[s]")).tolist()]
