import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fetcher.protocol.provider import Page, PageTooLarge
from fetcher.providers.coinbase import PROVIDER
from tradeschool.errors import InvalidCandles, ProviderRejected, ProviderUnusable
from tradeschool.markets.catalogue import BTC_USD
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.timeframes import Timeframe
from tradeschool.markets.windows import Window

M5 = Dataset(instrument=BTC_USD, timeframe=Timeframe.M5)
START = datetime(2020, 3, 20, tzinfo=UTC)
PAGE = Page(dataset=M5, window=Window(START, START + timedelta(minutes=30)))
FIRST = PAGE.window.start_seconds


def row(slot: int, **changes: float) -> list[float]:
    values = {"low": 9.0, "high": 12, "open": 10, "close": 11.5, "volume": 1.25} | changes
    return [FIRST + slot * 300, *values.values()]


def body(*rows: list[float]) -> bytes:
    return json.dumps(rows).encode()


@pytest.fixture
def recorded(shared: Path):
    return lambda name: next((shared / "recorded" / "coinbase").glob(f"{name}_*.json")).read_bytes()


def test_rows_are_reversed_and_named() -> None:
    parsed = PROVIDER.parse(body(row(1), row(0)), PAGE).frame.rows(named=True)

    assert [each["ts"] for each in parsed] == [START, START + timedelta(minutes=5)]
    assert parsed[0] | {"ts": None} == {"ts": None, "open": 10, "high": 12, "low": 9, "close": 11.5, "volume": 1.25}


def test_integer_prices_are_accepted() -> None:
    body_of_integers = b"[[%d,9,12,10,11,1]]" % FIRST

    assert PROVIDER.parse(body_of_integers, PAGE).frame["close"].to_list() == [11.0]


def test_an_empty_page_is_no_candles(recorded) -> None:
    assert len(PROVIDER.parse(recorded("c14"), PAGE)) == 0


def test_a_repeated_row_is_parsed_once() -> None:
    assert len(PROVIDER.parse(body(row(2), row(1), row(1), row(0)), PAGE)) == 3


def test_two_rows_with_different_values_are_refused() -> None:
    with pytest.raises(InvalidCandles, match="ts must be strictly increasing"):
        PROVIDER.parse(body(row(1), row(1, volume=2.0)), PAGE)


def test_rows_before_the_page_are_dropped() -> None:
    """Source: the documentation says that some candles may precede the declared start."""
    assert len(PROVIDER.parse(body(row(0), row(-1), row(-2)), PAGE)) == 1


def test_rows_after_the_page_make_the_response_unusable() -> None:
    """If start and end are ignored, the newest candles are returned, and the missing page would look like a gap."""
    with pytest.raises(ProviderUnusable, match="the response contains later candles"):
        PROVIDER.parse(body(row(7), row(6)), PAGE)


@pytest.mark.parametrize("name", ["c07", "c08", "c09", "c10", "c11", "c12", "c13", "c15", "c16", "c18", "c19"])
def test_a_recorded_response_without_rows_is_unusable(recorded, name: str) -> None:
    with pytest.raises(ProviderUnusable, match=r"coinbase/BTC-USD/M5 2020-03-20\.\.2020-03-20 00:30: expected rows"):
        PROVIDER.parse(recorded(name), PAGE)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"<html>",
        b"[[1,2]]",
        b"[[1" + 400 * b"0" + b",1,1,1,1,1]]",
        b'[["1",1,1,1,1,1]]',
        b"[[1584662400,1,1,1,null,1]]",
        b"[[15846624",
        b"\xff\xfe",
        b"null",
    ],
    ids=["nothing", "HTML", "short row", "huge number", "text", "null", "cut", "no text", "null body"],
)
def test_a_response_of_unknown_shape_is_unusable(answer: bytes) -> None:
    with pytest.raises(ProviderUnusable, match="expected rows of candles"):
        PROVIDER.parse(answer, PAGE)


def test_the_recorded_hour_is_parsed_to_its_candle(recorded) -> None:
    start = datetime(2024, 3, 13, 11, tzinfo=UTC)
    page = Page(dataset=M5.at(Timeframe.H1), window=Window(start, start + timedelta(hours=1)))

    assert PROVIDER.parse(recorded("c04"), page).frame.row(0) == (
        start,
        73243.33,
        73402.47,
        73241.5,
        73370.65,
        1.56794406,
    )


def test_the_recorded_minutes_are_refused_on_a_longer_grid(recorded) -> None:
    """The file has 300 valid one-minute candles; four of five are not aligned to M5."""
    page = Page(dataset=M5, window=Window(START, START + timedelta(hours=5)))

    with pytest.raises(InvalidCandles, match="ts must lie on the M5 grid: broken by 240 of 300 rows"):
        PROVIDER.parse(recorded("c02"), page)


def test_every_fifth_recorded_minute_is_parsed(recorded) -> None:
    page = Page(dataset=M5, window=Window(START, START + timedelta(hours=5)))
    rows = [each for each in json.loads(recorded("c02")) if each[0] % 300 == 0]
    parsed = PROVIDER.parse(json.dumps(rows).encode(), page).frame

    assert parsed["open"].to_list() == [each[3] for each in reversed(rows)]
    assert parsed["volume"].to_list() == [each[5] for each in reversed(rows)]


def test_a_page_is_requested_by_its_first_and_last_candle() -> None:
    request = PROVIDER.request(PAGE)

    assert request.path == "/products/BTC-USD/candles"
    assert request.query == {"granularity": "300", "start": "2020-03-20T00:00:00Z", "end": "2020-03-20T00:25:00Z"}


def test_a_page_over_300_candles_is_too_large(recorded) -> None:
    error = PROVIDER.refusal(400, recorded("c09"), str(PAGE))

    assert isinstance(error, PageTooLarge)


@pytest.mark.parametrize(
    ("name", "status", "said"),
    [("c10", 400, "Unsupported granularity"), ("c11", 404, "NotFound"), ("c18", 404, "Product NOPE-USD not supported")],
)
def test_a_refusal_contains_the_provider_message(recorded, name: str, status: int, said: str) -> None:
    error = PROVIDER.refusal(status, recorded(name), "coinbase/BTC-USD/M5")

    assert type(error) is ProviderRejected
    assert str(error) == f"coinbase/BTC-USD/M5: coinbase answered {status}: {said}"
    assert error.status == status


@pytest.mark.parametrize("answer", [b"<html>no</html>", b"\xff\xfe", b"", b'{"error": 1}'])
def test_a_refusal_of_unknown_shape_is_quoted_and_cut(answer: bytes) -> None:
    assert "coinbase answered 403: " in str(PROVIDER.refusal(403, answer, "page"))


def test_public_candles_need_no_token() -> None:
    assert PROVIDER.headers("ignored") == {}
