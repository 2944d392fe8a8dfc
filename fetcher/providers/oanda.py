"""OANDA v20: candles of currency pairs, with the bid and the ask that costs are made of.

Source: developer.oanda.com, REST v20, "Instrument Endpoints"; what it leaves out was read off recorded answers:
`from` is inclusive, `to` is not, and a range over 5000 intervals is refused, not cut.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec
import numpy as np

from fetcher.provider import Page, PageTooLarge, Request
from tradeschool.candles import Candles
from tradeschool.columns import CandleArrays
from tradeschool.errors import ProviderRejected, ProviderUnusable, SettingsError
from tradeschool.market import Dataset, Instrument


class _Quote(msgspec.Struct, gc=False):
    o: float
    h: float
    l: float  # noqa: E741  # OANDA's name
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


class _Answer(msgspec.Struct):
    instrument: str
    granularity: str
    candles: list[_Candle]


class _Refusal(msgspec.Struct):
    errorMessage: str


_answer = msgspec.json.Decoder(_Answer, strict=False)
"""Not strict: prices and times are numbers in strings."""


class Oanda:
    """Oldest first, intervals without a price left out, the forming candle marked incomplete."""

    name = "oanda"
    source = "v20"
    url = "https://api-fxpractice.oanda.com"
    rate = 2.0
    needs_token = True
    busy = frozenset({429})
    slots_per_page = 4999
    """5000 is the documented most; whether it counts both ends is not, and one less costs no request."""
    connections = 2
    """OANDA asks for at most two new connections a second."""

    def headers(self, token: str | None) -> Mapping[str, str]:
        """The bearer token, and times as Unix seconds."""
        if token is None:
            raise SettingsError("OANDA needs a token: set OANDA_API_TOKEN, or oanda_api_token_file")
        return {"Authorization": f"Bearer {token}", "Accept-Datetime-Format": "UNIX"}

    def probe(self, dataset: Dataset) -> Request:
        """The newest candle: a wrong token, host or instrument is refused."""
        query = {"granularity": dataset.timeframe.name, "count": "1", "price": "MBA"}
        return Request(path=_path(dataset.instrument), query=query)

    def request(self, page: Page) -> Request:
        """Everything that has a surprising default is said: granularity (S5), includeFirst, smooth, price."""
        return Request(
            path=_path(page.dataset.instrument),
            query={
                "granularity": page.dataset.timeframe.name,
                "price": "MBA",
                "smooth": "false",
                "includeFirst": "true",
                "from": str(page.window.start_seconds),
                "to": str(page.window.end_seconds),
            },
        )

    def parse(self, body: bytes, page: Page) -> Candles:
        """Mid prices, and half of ask - bid at the open."""
        try:
            answer = _answer.decode(body)
            arrays = _arrays([candle for candle in answer.candles if candle.complete], page.dataset)
        except (ValueError, OverflowError) as error:  # of msgspec, and of a time that is none
            raise ProviderUnusable(f"{page}: expected candles, was {body[:80]!r}: {error}") from error
        expected = (_symbol(page.dataset.instrument), page.dataset.timeframe.name)
        if (answer.instrument, answer.granularity) != expected:
            raise ProviderUnusable(f"{page}: expected {expected}, was {(answer.instrument, answer.granularity)}")
        is_ours = (arrays.time >= page.window.start_seconds) & (arrays.time < page.window.end_seconds)
        return Candles.of_arrays(arrays if is_ours.all() else arrays[is_ours], page.window)

    def refusal(self, status: int, body: bytes, page: str) -> ProviderRejected:
        """An object with `errorMessage`; 401 means that the token is wrong, or belongs to the other host."""
        try:
            said = msgspec.json.decode(body, type=_Refusal).errorMessage
        except (msgspec.DecodeError, UnicodeDecodeError):
            said = body[:80].decode(errors="replace")
        if status == 401:
            said += " Check OANDA_API_TOKEN, and that it belongs to the host in fetch.oanda_url (practice or live)."
        error = PageTooLarge if "Maximum value for 'count' exceeded" in said else ProviderRejected
        return error(f"{page}: oanda answered {status}: {said}", status=status)


PROVIDER = Oanda()


def _arrays(candles: list[_Candle], dataset: Dataset) -> CandleArrays:
    """The columns of an answer; a candle that stands twice, one after the other, is taken once."""
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
    """Of "1786668660.000000000" or "2024-08-23T13:30:00.000000000Z"."""
    if "T" in time:
        return int(datetime.fromisoformat(time[:19]).replace(tzinfo=UTC).timestamp())
    return int(float(time))


def _symbol(instrument: Instrument) -> str:
    return f"{instrument.base}_{instrument.quote}"


def _path(instrument: Instrument) -> str:
    return f"/v3/instruments/{_symbol(instrument)}/candles"
