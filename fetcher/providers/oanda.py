"""OANDA v20: candles of currency pairs, with the bid and the ask that costs are made of.

Source: developer.oanda.com, REST v20, "Instrument Endpoints"; what it leaves out was read off recorded answers:
`from` is inclusive, `to` is not, and a range over 5000 intervals is refused, not cut.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec
import numpy as np
import polars as pl

from fetcher.provider import Page, PageTooLarge, Request
from tradeschool.candles import TIME, Candles
from tradeschool.errors import ProviderRejected, ProviderUnusable, SettingsError
from tradeschool.market import Dataset, Instrument


class _Quote(msgspec.Struct):
    o: float
    h: float
    l: float  # noqa: E741  # OANDA's name
    c: float


class _Candle(msgspec.Struct):
    time: str
    volume: int
    complete: bool
    mid: _Quote
    bid: _Quote
    ask: _Quote


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
            frame = _frame([candle for candle in answer.candles if candle.complete])
        except (ValueError, OverflowError) as error:  # of msgspec, and of a time that is none
            raise ProviderUnusable(f"{page}: expected candles, was {body[:80]!r}: {error}") from error
        expected = (_symbol(page.dataset.instrument), page.dataset.timeframe.name)
        if (answer.instrument, answer.granularity) != expected:
            raise ProviderUnusable(f"{page}: expected {expected}, was {(answer.instrument, answer.granularity)}")
        frame = frame.filter(pl.col("ts").is_between(page.window.start, page.window.end, closed="left"))
        return Candles.parse(frame, page.dataset, page.window)

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


def _frame(candles: list[_Candle]) -> pl.DataFrame:
    rows = [
        (_microseconds(c.time), c.mid.o, c.mid.h, c.mid.l, c.mid.c, float(c.volume), (c.ask.o - c.bid.o) / 2)
        for c in candles
    ]
    table = np.array(rows, dtype=np.float64).reshape(len(rows), 7)  # microseconds of this age are exact in a float
    names = ["open", "high", "low", "close", "volume", "half_spread"]
    columns = dict(zip(names, table[:, 1:].T, strict=True))
    frame = pl.DataFrame({"ts": pl.Series(table[:, 0].astype(np.int64), dtype=TIME), **columns})
    return frame.with_columns(pl.col("half_spread").round(6)).unique(maintain_order=True)


def _microseconds(time: str) -> int:
    """Of "1786668660.000000000" or "2024-08-23T13:30:00.000000000Z"."""
    if "T" in time:
        return int(datetime.fromisoformat(time[:19]).replace(tzinfo=UTC).timestamp()) * 1_000_000
    return int(float(time)) * 1_000_000


def _symbol(instrument: Instrument) -> str:
    return f"{instrument.base}_{instrument.quote}"


def _path(instrument: Instrument) -> str:
    return f"/v3/instruments/{_symbol(instrument)}/candles"
