import json
from datetime import UTC, datetime, timedelta

import pytest

from fetcher.protocol.provider import Page
from fetcher.providers.binance import PROVIDER
from tradeschool.errors import InvalidCandles, ProviderRejected, ProviderUnusable
from tradeschool.markets.catalogue import BTC_USDT
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.timeframes import Timeframe
from tradeschool.markets.windows import Window

M5 = Dataset(instrument=BTC_USDT, timeframe=Timeframe.M5)
START = datetime(2020, 3, 20, tzinfo=UTC)
PAGE = Page(dataset=M5, window=Window(START, START + timedelta(minutes=30)))
FIRST = PAGE.window.start_seconds


def row(slot: int, **changes: str) -> list[int | str]:
    """A row in the documented format: twelve columns, of which open time and five strings are read."""
    values = {"open": "10.00000000", "high": "12.00000000", "low": "9.00000000", "close": "11.50000000"}
    values |= {"volume": "1.25000000"} | changes
    opened = (FIRST + slot * 300) * 1000
    return [opened, *values.values(), opened + 299_999, "14.37500000", 308, "0.62500000", "7.18750000", "0"]


def body(*rows: list[int | str]) -> bytes:
    return json.dumps(rows).encode()


def test_rows_are_parsed_with_times_in_milliseconds() -> None:
    parsed = PROVIDER.parse(body(row(0), row(1)), PAGE).frame.rows(named=True)

    assert [each["ts"] for each in parsed] == [START, START + timedelta(minutes=5)]
    assert parsed[0] | {"ts": None} == {"ts": None, "open": 10, "high": 12, "low": 9, "close": 11.5, "volume": 1.25}


def test_the_documented_row_is_parsed() -> None:
    """Source: rest-api.md, "Kline/Candlestick data"; its weekly candle is moved to the hour of its open."""
    documented = b"""[[1499040000000,"0.01634790","0.80000000","0.01575800","0.01577100","148976.11427815",
        1499644799999,"2434.19055334",308,"1756.87402397","28.46694368","17928899.62484339"]]"""
    start = datetime(2017, 7, 3, tzinfo=UTC)
    page = Page(dataset=M5.at(Timeframe.H1), window=Window(start, start + timedelta(hours=1)))

    assert PROVIDER.parse(documented, page).frame.row(0) == (start, 0.0163479, 0.8, 0.015758, 0.015771, 148976.11427815)


def test_an_empty_list_is_an_empty_page() -> None:
    assert len(PROVIDER.parse(b"[]", PAGE)) == 0


def test_a_slot_without_trades_has_no_candle() -> None:
    flat = dict.fromkeys(("open", "high", "low", "close"), "10.0")

    parsed = PROVIDER.parse(body(row(0), row(1, **flat, volume="0.00000000"), row(2)), PAGE)

    assert parsed.frame["volume"].to_list() == [1.25, 1.25]


def test_a_repeated_row_is_parsed_once() -> None:
    assert len(PROVIDER.parse(body(row(0), row(1), row(1)), PAGE)) == 2


def test_two_rows_with_different_values_are_refused() -> None:
    with pytest.raises(InvalidCandles, match="ts must be strictly increasing"):
        PROVIDER.parse(body(row(1), row(1, volume="2")), PAGE)


def test_an_unaligned_row_is_refused() -> None:
    """Klines were off the grid for some hours after a maintenance in February 2018."""
    moved = row(1)
    moved[0] = int(moved[0]) + 15_000

    with pytest.raises(InvalidCandles, match="ts must lie on the M5 grid"):
        PROVIDER.parse(body(moved), PAGE)


def test_rows_after_the_page_make_the_response_unusable() -> None:
    """For example, times in seconds instead of milliseconds are answered without an error."""
    with pytest.raises(ProviderUnusable, match="the response contains later candles"):
        PROVIDER.parse(body(row(6)), PAGE)


@pytest.mark.parametrize(
    "answer",
    [
        b'{"code":-1121,"msg":"Invalid symbol."}',
        body(row(0)[:6]),
        body([*row(0), "0"]),
        body(row(0, open="ten")),
        body(row(0))[:-2],
        b"null",
        b"\xff\xfe",
    ],
    ids=["refusal", "six columns", "thirteen columns", "text", "cut", "null", "no text"],
)
def test_a_response_of_unknown_shape_is_unusable(answer: bytes) -> None:
    with pytest.raises(ProviderUnusable, match=r"binance/BTC-USDT/M5 2020-03-20\.\.2020-03-20 00:30: expected klines"):
        PROVIDER.parse(answer, PAGE)


def test_a_page_is_requested_in_milliseconds_with_its_limit() -> None:
    request = PROVIDER.request(PAGE)

    assert request.path == "/api/v3/klines"
    assert request.query == {
        "symbol": "BTCUSDT",
        "interval": "5m",
        "startTime": "1584662400000",
        "endTime": "1584664199999",
        "limit": "1000",
    }


def test_an_unknown_symbol_is_reported_with_the_provider_message() -> None:
    error = PROVIDER.refusal(400, b'{"code":-1121,"msg":"Invalid symbol."}', "binance/BTC-USDT/M5")

    assert type(error) is ProviderRejected
    assert str(error) == "binance/BTC-USDT/M5: binance answered 400: Invalid symbol. (code -1121)"
    assert error.status == 400


def test_a_geo_blocked_host_is_reported_with_advice() -> None:
    said = b'{"code":0,"msg":"Service unavailable from a restricted location."}'

    assert "Set fetch.providers.binance.url to another Binance host" in str(PROVIDER.refusal(451, said, "page"))


def test_a_ban_is_handled_like_a_429() -> None:
    assert PROVIDER.busy == {418, 429}
