import json
from datetime import UTC, datetime, timedelta

import pytest

from fetcher.protocol.provider import Page, PageTooLarge
from fetcher.providers import coinbase
from fetcher.providers.coinbase_advanced import PROVIDER
from tradeschool.errors import InvalidCandles, ProviderRejected, ProviderUnusable
from tradeschool.markets.catalogue import BTC_USD
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.timeframes import Timeframe
from tradeschool.markets.windows import Window

M5 = Dataset(instrument=BTC_USD, timeframe=Timeframe.M5)
START = datetime(2020, 3, 20, tzinfo=UTC)
PAGE = Page(dataset=M5, window=Window(START, START + timedelta(minutes=30)))
FIRST = PAGE.window.start_seconds
TOO_MANY = {
    "error": "INVALID_ARGUMENT",
    "error_details": "start and end argument is invalid - number of candles requested should be less than 350",
}
"""Source: a dated probe of the live API."""


def candle(slot: int, **changes: str) -> dict[str, str]:
    values = {"low": "9", "high": "12", "open": "10", "close": "11.5", "volume": "1.25"} | changes
    return {"start": str(FIRST + slot * 300), **values}


def body(*candles: dict[str, str]) -> bytes:
    return json.dumps({"candles": candles}).encode()


@pytest.fixture
def recorded(shared):
    return lambda name: next((shared / "recorded" / "coinbase").glob(f"{name}_*.json")).read_bytes()


def test_candles_are_reversed_and_named() -> None:
    parsed = PROVIDER.parse(body(candle(1), candle(0)), PAGE).frame.rows(named=True)

    assert [each["ts"] for each in parsed] == [START, START + timedelta(minutes=5)]
    assert parsed[0] | {"ts": None} == {"ts": None, "open": 10, "high": 12, "low": 9, "close": 11.5, "volume": 1.25}


def test_the_recorded_hours_are_parsed_to_their_candles(recorded) -> None:
    start = datetime(2024, 4, 4, 0, tzinfo=UTC)
    page = Page(dataset=M5.at(Timeframe.H1), window=Window(start, start + timedelta(hours=2)))

    assert PROVIDER.parse(recorded("c15"), page).frame.rows() == [
        (start, 65984.18, 66387.77, 65857.35, 66314.59, 358.74851052),
        (start + timedelta(hours=1), 66312.4, 66331.99, 66055.14, 66181.6, 355.82896243),
    ]


def test_both_sources_return_the_same_candles_for_the_same_page() -> None:
    """Both APIs read the same order book, so a dataset may have pages of either."""
    rows = [[FIRST + slot * 300, 9.5, 12.25, 10, 11.5, 0.1 + slot] for slot in (2, 1, 0)]
    named = [
        {"start": str(row[0]), "low": "9.5", "high": "12.25", "open": "10", "close": "11.5", "volume": str(row[5])}
        for row in rows
    ]

    assert PROVIDER.parse(body(*named), PAGE).frame.equals(
        coinbase.PROVIDER.parse(json.dumps(rows).encode(), PAGE).frame
    )


def test_a_response_without_candles_is_an_empty_page() -> None:
    assert len(PROVIDER.parse(b'{"candles":[]}', PAGE)) == 0


def test_a_repeated_candle_is_parsed_once() -> None:
    assert len(PROVIDER.parse(body(candle(2), candle(1), candle(1), candle(0)), PAGE)) == 3


def test_two_candles_with_different_values_are_refused() -> None:
    with pytest.raises(InvalidCandles, match="ts must be strictly increasing"):
        PROVIDER.parse(body(candle(1), candle(1, volume="2")), PAGE)


def test_candles_before_the_page_are_dropped() -> None:
    assert len(PROVIDER.parse(body(candle(0), candle(-1)), PAGE)) == 1


def test_candles_after_the_page_make_the_response_unusable() -> None:
    with pytest.raises(ProviderUnusable, match="the response contains later candles"):
        PROVIDER.parse(body(candle(7), candle(6)), PAGE)


@pytest.mark.parametrize("name", ["c02", "c09", "c11", "c12", "c14", "c16", "c18", "c19"])
def test_a_recorded_response_of_another_kind_is_unusable(recorded, name: str) -> None:
    """Includes responses of the other API."""
    with pytest.raises(ProviderUnusable, match=r"coinbase/BTC-USD/M5 2020-03-20\.\.2020-03-20 00:30: expected candles"):
        PROVIDER.parse(recorded(name), PAGE)


@pytest.mark.parametrize(
    "answer",
    [b'{"candles":[{}]}', b'{"candles":null}', body(candle(0, open="ten")), body(candle(0))[:-3], b"\xff", b"null"],
    ids=["empty candle", "null", "text", "cut", "no text", "null body"],
)
def test_a_response_of_unknown_shape_is_unusable(answer: bytes) -> None:
    with pytest.raises(ProviderUnusable, match="expected candles"):
        PROVIDER.parse(answer, PAGE)


def test_a_page_is_requested_by_its_first_and_last_candle() -> None:
    request = PROVIDER.request(PAGE)

    assert request.path == "/api/v3/brokerage/market/products/BTC-USD/candles"
    assert request.query == {"granularity": "FIVE_MINUTE", "start": "1584662400", "end": "1584663900"}


def test_a_page_over_the_cap_is_too_large() -> None:
    assert isinstance(PROVIDER.refusal(400, json.dumps(TOO_MANY).encode(), str(PAGE)), PageTooLarge)


def test_a_refusal_contains_the_provider_message(recorded) -> None:
    error = PROVIDER.refusal(404, recorded("c18"), "coinbase/BTC-USD/M5")

    assert type(error) is ProviderRejected
    assert str(error) == "coinbase/BTC-USD/M5: coinbase answered 404: Product NOPE-USD not supported"


def test_a_refusal_without_a_message_is_reported_by_name() -> None:
    assert str(PROVIDER.refusal(401, b'{"error":"UNAUTHENTICATED"}', "page")).endswith("401: UNAUTHENTICATED")


def test_a_refusal_of_unknown_shape_is_quoted_and_cut(recorded) -> None:
    assert 'answered 403: {"errors":[{"id":"rate_limit_exceeded"' in str(PROVIDER.refusal(403, recorded("c19"), "page"))


def test_a_page_has_the_length_of_the_other_source() -> None:
    """One API can continue a download of the other."""
    assert PROVIDER.slots_per_page == coinbase.PROVIDER.slots_per_page
