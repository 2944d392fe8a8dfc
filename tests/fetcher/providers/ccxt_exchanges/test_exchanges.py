"""Exchanges of ccxt by bodies in their documented form: requests, candles, markets and what is refused."""

import json
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis.strategies import DataObject, data

from fetcher.protocol.provider import Page, PageTooLarge
from fetcher.provider_registry import find
from fetcher.providers.ccxt_exchanges import library
from fetcher.providers.ccxt_exchanges.provider import CcxtProvider
from tests.fuzz.mutations import damaged_json
from tradeschool.errors import InvalidCandles, ProviderError, ProviderRejected, ProviderUnusable, SettingsError
from tradeschool.markets.instruments import Dataset, Instrument, Market
from tradeschool.markets.timeframes import Timeframe
from tradeschool.markets.windows import Window

START = datetime(2024, 1, 1, tzinfo=UTC)
FIRST = int(START.timestamp())
IDS = {"binance": "BTCUSDT", "bitstamp": "btcusdt", "bybit": "BTCUSDT"}
"""Name of BTC/USDT in each exchange's API."""


def bitstamp_rows(*times: int, volume: str = "18.49") -> bytes:
    """Source: bitstamp.net/api, "OHLC data": objects of strings, times in seconds."""
    prices = {"high": "12.5", "low": "9.0", "close": "11.5", "open": "10.0", "volume": volume}
    rows = [{"timestamp": str(time), **prices} for time in times]
    return json.dumps({"data": {"pair": "BTC/USDT", "ohlc": rows}}).encode()


def bybit_rows(*times: int, volume: str = "18.49") -> bytes:
    """Source: bybit-exchange.github.io/docs, v5, "Get Kline": lists of strings, newest first, times in milliseconds."""
    rows = [[str(time * 1000), "10.0", "12.5", "9.0", "11.5", volume, "190"] for time in reversed(times)]
    result = {"symbol": "BTCUSDT", "category": "spot", "list": rows}
    return json.dumps({"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}, "time": 1}).encode()


def binance_rows(*times: int, volume: str = "18.49") -> bytes:
    """Source: github.com/binance/binance-spot-api-docs, rest-api.md, "Kline/Candlestick data"."""
    rest = ["190", 308, "9.2", "95", "0"]
    return json.dumps([[t * 1000, "10.0", "12.5", "9.0", "11.5", volume, t * 1000 + 1, *rest] for t in times]).encode()


BODIES: dict[str, Callable[..., bytes]] = {
    "binance": binance_rows,
    "bitstamp": bitstamp_rows,
    "bybit": bybit_rows,
}
EVERY = pytest.mark.parametrize("exchange", BODIES)


def page_of(exchange: str, slots: int = 6) -> Page:
    instrument = Instrument(
        provider=f"ccxt.{exchange}",
        base="BTC",
        quote="USDT",
        market=Market.CRYPTO,
        decimals=2,
        symbol=IDS[exchange],
    )
    window = Window(START, START + slots * timedelta(minutes=5))
    return Page(dataset=Dataset(instrument=instrument, timeframe=Timeframe.M5), window=window)


def times(*slots: int) -> list[int]:
    return [FIRST + slot * 300 for slot in slots]


REQUESTS = {
    "binance": (
        "/api/v3/klines",
        {
            "symbol": "BTCUSDT",
            "interval": "5m",
            "limit": "6",
            "startTime": "1704067200000",
            "endTime": "1704068999999",
        },
    ),
    "bitstamp": (
        "/api/v2/ohlc/btcusdt/",
        {"step": "300", "limit": "6", "start": "1704067200", "end": "1704068999"},
    ),
    "bybit": (
        "/v5/market/kline",
        {
            "category": "spot",
            "symbol": "BTCUSDT",
            "interval": "5",
            "limit": "6",
            "start": "1704067200000",
            "end": "1704068999999",
        },
    ),
}


@EVERY
def test_the_request_is_that_of_the_exchange(exchange: str) -> None:
    request = find(f"ccxt.{exchange}").request(page_of(exchange))

    assert (request.path, request.query) == REQUESTS[exchange]


@EVERY
def test_candles_are_parsed_in_order(exchange: str) -> None:
    parsed = find(f"ccxt.{exchange}").parse(BODIES[exchange](*times(0, 1, 4)), page_of(exchange)).frame

    assert parsed["ts"].to_list() == [START + slot * timedelta(minutes=5) for slot in (0, 1, 4)]
    assert parsed.row(0)[1:] == (10.0, 12.5, 9.0, 11.5, 18.49)


@EVERY
def test_a_slot_without_volume_has_no_candle(exchange: str) -> None:
    assert len(find(f"ccxt.{exchange}").parse(BODIES[exchange](*times(0, 1), volume="0.00"), page_of(exchange))) == 0


@EVERY
def test_an_empty_list_is_an_empty_page(exchange: str) -> None:
    assert len(find(f"ccxt.{exchange}").parse(BODIES[exchange](), page_of(exchange))) == 0


@EVERY
@pytest.mark.parametrize(
    "body",
    [b"", b"<!DOCTYPE html>", b"{", b"\xff", b"{}", b'"text"', b"[[]]", b"[1]", b"null", b'{"data":{}}', b"[" * 5000],
)
def test_any_other_body_is_unusable(exchange: str, body: bytes) -> None:
    """ccxt itself returns no candles for most of these, which would look like a gap."""
    with pytest.raises(ProviderUnusable, match=rf"ccxt\.{exchange}/BTC-USDT/M5 2024-01-01"):
        find(f"ccxt.{exchange}").parse(body, page_of(exchange))
    with pytest.raises(ProviderUnusable, match=rf"ccxt\.{exchange}: expected"):
        find(f"ccxt.{exchange}").products(body)


@EVERY
@settings(max_examples=40, deadline=None)
@given(data())
def test_a_damaged_body_raises_only_the_errors_of_a_provider(exchange: str, choice: DataObject) -> None:
    rows, markets = BODIES[exchange](*times(0, 1, 4)), json.dumps(MARKETS.get(exchange, ([],))[0]).encode()
    provider = find(f"ccxt.{exchange}")

    with suppress(ProviderError, InvalidCandles):
        provider.parse(choice.draw(damaged_json((rows,))), page_of(exchange))
    with suppress(ProviderError):
        provider.products(choice.draw(damaged_json((markets,))))
    provider.refusal(400, choice.draw(damaged_json((rows,))), "the page")


@EVERY
def test_candles_after_the_page_make_the_response_unusable(exchange: str) -> None:
    """For example, an exchange that ignores the start sends its newest candles."""
    with pytest.raises(ProviderUnusable, match="the response contains later candles"):
        find(f"ccxt.{exchange}").parse(BODIES[exchange](*times(4, 5, 6)), page_of(exchange))


@EVERY
def test_a_missing_number_makes_the_response_unusable(exchange: str) -> None:
    body = BODIES[exchange](*times(0)).replace(b'"18.49"', b"null")

    with pytest.raises(ProviderUnusable, match="expected numbers"):
        find(f"ccxt.{exchange}").parse(body, page_of(exchange))


@pytest.mark.parametrize("sent", [range(500), range(500, 1000)], ids=["the first", "the last"])
def test_a_response_cut_at_an_unknown_limit_is_requested_in_halves(sent: range) -> None:
    """500 candles of 1,000 may be the exchange's limit; the other half would look like a gap."""
    with pytest.raises(PageTooLarge, match="500 candles, which may be its limit"):
        find("ccxt.bybit").parse(bybit_rows(*times(*sent)), page_of("bybit", 1000))


def test_a_full_page_and_an_odd_number_of_candles_are_no_limit() -> None:
    provider = find("ccxt.bybit")

    assert len(provider.parse(bybit_rows(*times(*range(1000))), page_of("bybit", 1000))) == 1000
    assert len(provider.parse(bybit_rows(*times(*range(501))), page_of("bybit", 1000))) == 501


def test_an_error_with_status_200_is_a_rejection() -> None:
    """Source: Bybit's documentation v5, "Error Codes"."""
    body = b'{"retCode":10001,"retMsg":"Not supported symbols","result":{},"retExtInfo":{},"time":1}'

    with pytest.raises(ProviderRejected, match=r"BTC-USDT/M5 2024.*Not supported symbols"):
        find("ccxt.bybit").parse(body, page_of("bybit"))


def test_a_refusal_contains_the_message_of_the_exchange() -> None:
    error = find("ccxt.binance").refusal(400, b'{"code":-1121,"msg":"Invalid symbol."}', "the page")

    assert error.status == 400
    assert str(error).startswith("the page: ccxt.binance answered 400: ")
    assert "Invalid symbol." in str(error)


@EVERY
@pytest.mark.parametrize("body", [b"", b"<!DOCTYPE html>", b"{", b"\xff", b"{}", b"[]"])
def test_a_refusal_of_any_form_has_its_status(exchange: str, body: bytes) -> None:
    assert find(f"ccxt.{exchange}").refusal(403, body, "the page").status == 403


BITSTAMP_MARKETS = [
    {
        "name": "BTC/USD",
        "market_symbol": "btcusd",
        "base_currency": "BTC",
        "base_decimals": 8,
        "counter_currency": "USD",
        "counter_decimals": 0,
        "trading": "Enabled",
        "market_type": "SPOT",
    },
    {
        "name": "XRP/EUR",
        "market_symbol": "xrpeur",
        "base_currency": "XRP",
        "base_decimals": 8,
        "counter_currency": "EUR",
        "counter_decimals": 5,
        "trading": "Disabled",
        "market_type": "SPOT",
    },
    {
        "name": "BTC/USD-PERP",
        "market_symbol": "btcusd-perp",
        "base_currency": "BTC",
        "base_decimals": 5,
        "counter_currency": "USD",
        "counter_decimals": 0,
        "trading": "Enabled",
        "market_type": "PERPETUAL",
        "payoff_type": "Linear",
    },
]
"""Source: bitstamp.net/api, "Markets"."""
BYBIT_MARKETS = {
    "retCode": 0,
    "retMsg": "OK",
    "result": {
        "category": "spot",
        "list": [
            {
                "symbol": "BTCUSDT",
                "baseCoin": "BTC",
                "quoteCoin": "USDT",
                "status": "Trading",
                "marginTrading": "both",
                "lotSizeFilter": {"basePrecision": "0.000001", "quotePrecision": "0.00000001"},
                "priceFilter": {"tickSize": "0.01"},
            },
            {
                "symbol": "PEPEUSDT",
                "baseCoin": "PEPE",
                "quoteCoin": "USDT",
                "status": "Trading",
                "lotSizeFilter": {"basePrecision": "1", "quotePrecision": "0.0000000001"},
                "priceFilter": {"tickSize": "0.00000001"},
            },
        ],
    },
    "retExtInfo": {},
    "time": 1672712468011,
}
"""Source: bybit-exchange.github.io/docs, v5, "Get Instruments Info"."""
MARKETS = {
    "bitstamp": (
        BITSTAMP_MARKETS,
        "/api/v2/markets/",
        {"BTC/USD": ("1", "btcusd", "online"), "XRP/EUR": ("0.00001", "xrpeur", "disabled")},
    ),
    "bybit": (
        BYBIT_MARKETS,
        "/v5/market/instruments-info",
        {"BTC/USDT": ("0.01", "BTCUSDT", "online"), "PEPE/USDT": ("0.00000001", "PEPEUSDT", "online")},
    ),
}


@pytest.mark.parametrize("exchange", MARKETS)
def test_spot_markets_are_listed_with_their_tick(exchange: str) -> None:
    body, path, expected = MARKETS[exchange]
    provider = find(f"ccxt.{exchange}")
    request = provider.product_list(None)

    assert request is not None
    assert request.path == path
    assert {
        each.pair: (f"{each.exact_tick:f}", each.symbol, each.status)
        for each in provider.products(json.dumps(body).encode())
    } == expected
    assert provider.products(None) == ()


def test_the_list_of_spot_markets_is_chosen_among_several_requests() -> None:
    """ccxt asks Gate for its margin markets first."""
    request = find("ccxt.gate").product_list(None)

    assert request is not None
    assert request.path == "/api/v4/spot/currency_pairs"


@pytest.mark.parametrize(("exchange", "rate"), [("bitso", 0.5), ("btcmarkets", 1.0), ("binance", 10.0)])
def test_the_usual_rate_is_that_of_ccxt_up_to_ten_per_second(exchange: str, rate: float) -> None:
    assert find(f"ccxt.{exchange}").rate == pytest.approx(rate)


@EVERY
def test_the_provider_has_every_timeframe_and_is_made_once(exchange: str) -> None:
    provider = find(f"ccxt.{exchange}")

    assert provider.timeframes == frozenset(Timeframe)
    assert provider.slots_per_page == 1000
    assert provider.url.startswith("https://")
    assert provider is find(provider.name, provider.source)
    assert provider.probe(page_of(exchange).dataset).path == REQUESTS[exchange][0]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ccxt.kraken", "only the newest 720 candles"),
        ("ccxt.bit2c", "has no candles in ccxt"),
        ("ccxt.hyperliquid", "expects POST requests"),
        ("ccxt.luno", "without an account"),
        ("ccxt.krakn", r"unknown provider 'ccxt\.krakn': .*ccxt\.kraken"),
        ("ccxt.", "unknown provider 'ccxt.'"),
    ],
)
def test_an_exchange_whose_history_cannot_be_requested_is_refused(name: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        find(name)


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "find_spec", lambda name: None)

    with pytest.raises(SettingsError, match=r"provider ccxt\.bitso needs the package ccxt: pip install '.*\[ccxt\]'"):
        CcxtProvider("bitso")


def test_nothing_is_sent_by_ccxt(monkeypatch: pytest.MonkeyPatch) -> None:
    provider = CcxtProvider("bitstamp")

    def refuse(*words: object, **named: object) -> None:
        raise AssertionError("ccxt sent a request")

    monkeypatch.setattr(sys.modules["requests"].Session, "request", refuse)

    provider.product_list(None)
    provider.request(page_of("bitstamp"))
    provider.parse(bitstamp_rows(*times(0)), page_of("bitstamp"))
    provider.products(json.dumps(BITSTAMP_MARKETS).encode())
