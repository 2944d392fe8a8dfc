"""Provider OANDA v20: candles of currency pairs with bid and ask prices.

Source: developer.oanda.com, REST v20, "Instrument Endpoints". From recorded responses: `from` is inclusive, `to` is
exclusive, and a range of more than 5000 intervals is rejected, not truncated.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated

import msgspec
import numpy as np

from fetcher.protocol.oanda_instruments import shipped_instruments
from fetcher.protocol.provider import Page, PageTooLarge, Request
from fetcher.protocol.row_parser import error_text, listed_instrument
from tradeschool.errors import ProviderRejected, ProviderUnusable, SettingsError
from tradeschool.markets.grid import alignment_of
from tradeschool.markets.instrument_file import MAX_DECIMALS
from tradeschool.markets.instruments import Dataset, Instrument, Market
from tradeschool.markets.timeframes import Timeframe
from tradeschool.ohlcv.arrays import CandleArrays
from tradeschool.ohlcv.frame import Candles

GRANULARITIES = {timeframe: timeframe.name for timeframe in Timeframe} | {Timeframe.D1: "D"}


class _Quote(msgspec.Struct, gc=False):
    o: float
    h: float
    l: float  # noqa: E741  # field name of the API
    c: float


class _Open(msgspec.Struct, gc=False):
    o: float


class _Candle(msgspec.Struct, gc=False):
    time: str
    volume: int
    complete: bool
    mid: _Quote
    bid: _Open
    ask: _Open


class _Response(msgspec.Struct):
    instrument: str
    granularity: str
    candles: list[_Candle]


class _Refusal(msgspec.Struct):
    errorMessage: str


class _Tag(msgspec.Struct):
    type: str
    name: str


class _Instrument(msgspec.Struct):
    name: str
    type: str
    displayPrecision: Annotated[int, msgspec.Meta(ge=0, le=MAX_DECIMALS)]
    tags: list[_Tag] = []


class _Instruments(msgspec.Struct):
    instruments: list[_Instrument]


_instruments = msgspec.json.Decoder(_Instruments)
_response = msgspec.json.Decoder(_Response, strict=False)
"""Not strict, because prices and times are strings."""


class Oanda:
    """OANDA v20 API: candles are oldest first, empty intervals are omitted, an unfinished candle is incomplete."""

    name = "oanda"
    source = "v20"
    url = "https://api-fxpractice.oanda.com"
    rate = 2.0
    needs_token = True
    busy = frozenset({429})
    timeframes = frozenset(GRANULARITIES)
    slots_per_page = 4999
    """The documented maximum is 5000; it is unclear whether it counts both ends, so one less is used."""
    connections = 2
    """OANDA allows two new connections per second."""

    def headers(self, token: str | None) -> Mapping[str, str]:
        """Return the bearer token and select times in Unix seconds."""
        if token is None:
            raise SettingsError("OANDA needs a token: set OANDA_API_TOKEN or oanda_api_token_file")
        return {"Authorization": f"Bearer {token}", "Accept-Datetime-Format": "UNIX"}

    def probe(self, dataset: Dataset) -> Request:
        """Request the newest candle, which fails for a wrong token, host or instrument."""
        query = {"granularity": GRANULARITIES[dataset.timeframe], "count": "1", "price": "MBA"}
        return Request(path=_path(dataset.instrument), query=query | _alignment(dataset))

    def product_list(self, account: str | None) -> Request | None:
        """Request the instruments of an account; they differ by country."""
        return Request(path=f"/v3/accounts/{account}/instruments") if account else None

    def products(self, body: bytes | None) -> tuple[Instrument, ...]:
        """Parse the instruments of an account; without one, return OANDA's usual instruments."""
        shipped = {each.name: each for each in shipped_instruments()}
        if body is None:
            return tuple(shipped.values())
        try:
            listed = _instruments.decode(body).instruments
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ProviderUnusable(f"oanda: expected instruments, was {body[:80]!r}: {error}") from error
        found = [_listed(each, shipped) for each in listed]
        return tuple(each for each in found if each)

    def request(self, page: Page) -> Request:
        """Request the candles of a page; all parameters are set, as some defaults are unsuitable (S5, mid only)."""
        return Request(
            path=_path(page.dataset.instrument),
            query={
                "granularity": GRANULARITIES[page.dataset.timeframe],
                "price": "MBA",
                "smooth": "false",
                "includeFirst": "true",
                "from": str(page.window.start_seconds),
                "to": str(page.window.end_seconds),
                **_alignment(page.dataset),
            },
        )

    def parse(self, body: bytes, page: Page) -> Candles:
        """Parse complete candles: mid prices, and half of ask - bid at the open."""
        try:
            answer = _response.decode(body)
            arrays = _arrays([candle for candle in answer.candles if candle.complete], page.dataset)
        except (ValueError, OverflowError) as error:  # from msgspec, or an invalid time
            raise ProviderUnusable(f"{page}: expected candles, was {body[:80]!r}: {error}") from error
        expected = (_symbol(page.dataset.instrument), GRANULARITIES[page.dataset.timeframe])
        if (answer.instrument, answer.granularity) != expected:
            raise ProviderUnusable(f"{page}: expected {expected}, was {(answer.instrument, answer.granularity)}")
        is_ours = (arrays.time >= page.window.start_seconds) & (arrays.time < page.window.end_seconds)
        return Candles.of_arrays(arrays if is_ours.all() else arrays[is_ours], page.window)

    def refusal(self, status: int, body: bytes, page: str) -> ProviderRejected:
        """Read an error object with `errorMessage`; status 401 means a wrong token or a token of the other host."""
        said = error_text(body, _Refusal, lambda refusal: refusal.errorMessage)
        if status == 401:
            said += " Check OANDA_API_TOKEN, and that it belongs to the host in fetch.oanda_url (practice or live)."
        error = PageTooLarge if "Maximum value for 'count' exceeded" in said else ProviderRejected
        return error(f"{page}: oanda answered {status}: {said}", status=status)


PROVIDER = Oanda()


def _listed(each: _Instrument, shipped: Mapping[str, Instrument]) -> Instrument | None:
    base, _, quote = each.name.partition("_")
    known = shipped.get(f"{base}-{quote}")
    tagged = {tag.name.removesuffix("_CFD").lower() for tag in each.tags if tag.type == "ASSET_CLASS"}
    kinds = {"CURRENCY": Market.FX, "METAL": Market.METAL}
    usual = known.market if known else Market.INDEX
    market = kinds.get(each.type) or next((kind for kind in Market if kind.value in tagged), usual)
    tick = f"{Decimal(1).scaleb(-each.displayPrecision):f}"
    return listed_instrument("oanda", base, quote, market=market, tick=tick, status="online")


def _arrays(candles: list[_Candle], dataset: Dataset) -> CandleArrays:
    """Convert candles to columns; consecutive duplicates are merged."""
    arrays = CandleArrays(
        dataset=dataset,
        time=np.array([_seconds(candle.time) for candle in candles], np.int64),
        open=np.array([candle.mid.o for candle in candles], np.float64),
        high=np.array([candle.mid.h for candle in candles], np.float64),
        low=np.array([candle.mid.l for candle in candles], np.float64),
        close=np.array([candle.mid.c for candle in candles], np.float64),
        volume=np.array([candle.volume for candle in candles], np.float64),
        half_spread=np.array([(candle.ask.o - candle.bid.o) / 2 for candle in candles], np.float64).round(6),
    )
    is_new = np.ones(len(arrays), np.bool_)
    is_new[1:] = arrays.time[1:] != arrays.time[:-1]
    for values in arrays.numbers.values():
        is_new[1:] |= values[1:] != values[:-1]
    return arrays if is_new.all() else arrays[is_new]


def _seconds(time: str) -> int:
    """Parse a time such as "1786668660.000000000" or "2024-08-23T13:30:00.000000000Z" to Unix seconds."""
    if "T" in time:
        return int(datetime.fromisoformat(time[:19]).replace(tzinfo=UTC).timestamp())
    return int(float(time))


def _alignment(dataset: Dataset) -> dict[str, str]:
    """Return the parameters that set the start of the day for candles that are counted from it.

    They equal OANDA's defaults, which are not relied on: candles of another start of the day are other candles.
    """
    if not dataset.timeframe.is_day_aligned:
        return {}
    begin = alignment_of(dataset.instrument)
    return {"dailyAlignment": str(begin.hour), "alignmentTimezone": begin.zone}


def _symbol(instrument: Instrument) -> str:
    return instrument.symbol or f"{instrument.base}_{instrument.quote}"


def _path(instrument: Instrument) -> str:
    return f"/v3/instruments/{_symbol(instrument)}/candles"
