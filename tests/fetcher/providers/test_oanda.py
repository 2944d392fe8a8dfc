import csv
import gzip
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fetcher.protocol.provider import Page, PageTooLarge
from fetcher.providers.oanda import PROVIDER
from tradeschool.errors import InvalidCandles, ProviderRejected, ProviderUnusable, SettingsError
from tradeschool.markets.catalogue import EUR_USD, GBP_USD
from tradeschool.markets.grid import grid_of
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.timeframes import Timeframe
from tradeschool.markets.windows import Window

M5 = Dataset(instrument=EUR_USD, timeframe=Timeframe.M5)
START = datetime(2020, 1, 6, tzinfo=UTC)
PAGE = Page(dataset=M5, window=Window(START, START + timedelta(minutes=30)))
TOKEN = "0123secret4567-token"


def quote(open_: float) -> dict[str, str]:
    values = {"o": open_, "h": open_ + 0.002, "l": open_ - 0.002, "c": open_ + 0.001}
    return {letter: f"{value:.5f}" for letter, value in values.items()}


def candle(slot: int, **changes: Any) -> dict[str, Any]:
    return {
        "complete": True,
        "volume": 100 + slot,
        "time": f"{PAGE.window.start_seconds + slot * 300}.000000000",
        "mid": quote(1.1),
        "bid": quote(1.0999),
        "ask": quote(1.1001),
    } | changes


def body(*candles: dict[str, Any], **changes: Any) -> bytes:
    return json.dumps({"instrument": "EUR_USD", "granularity": "M5", "candles": candles} | changes).encode()


@pytest.fixture
def recorded(shared: Path):
    return lambda name: next((shared / "recorded" / "oanda").glob(f"{name}_*.json")).read_bytes()


def page_of(answer: bytes, timeframe: Timeframe) -> Page:
    """The page of a response with RFC 3339 times."""
    times = [datetime.fromisoformat(each["time"]) for each in json.loads(answer)["candles"]]
    return Page(dataset=M5.at(timeframe), window=Window(times[0], times[-1] + timeframe.duration))


def test_mid_prices_and_half_of_the_spread_at_the_open() -> None:
    (parsed,) = PROVIDER.parse(body(candle(0)), PAGE).frame.rows()

    assert parsed == (START, 1.1, 1.102, 1.098, 1.101, 100.0, 0.0001)


@pytest.mark.parametrize("time", ["1578268800.000000000", "2020-01-06T00:00:00.000000000Z", "2020-01-06T00:00:00Z"])
def test_both_time_formats_are_parsed(time: str) -> None:
    assert PROVIDER.parse(body(candle(0, time=time)), PAGE).frame["ts"].to_list() == [START]


@pytest.mark.parametrize("time", ["Tuesday", "2020-13-01T00:00:00Z", "", "soon", "1e400"])
def test_an_invalid_time_is_unusable(time: str) -> None:
    with pytest.raises(ProviderUnusable, match="expected candles, was"):
        PROVIDER.parse(body(candle(0, time=time)), PAGE)


def test_the_forming_candle_is_dropped() -> None:
    assert len(PROVIDER.parse(body(candle(0), candle(1, complete=False)), PAGE)) == 1


def test_candles_outside_the_page_are_dropped() -> None:
    assert len(PROVIDER.parse(body(candle(-1), candle(0), candle(6)), PAGE)) == 1


def test_a_repeated_candle_is_parsed_once() -> None:
    assert len(PROVIDER.parse(body(candle(0), candle(1), candle(1)), PAGE)) == 2


def test_two_candles_with_different_values_are_refused() -> None:
    with pytest.raises(InvalidCandles, match="ts must be strictly increasing"):
        PROVIDER.parse(body(candle(1), candle(1, volume=7)), PAGE)


@pytest.mark.parametrize("price", ["NaN", "inf", "-1", "0"])
def test_an_invalid_price_is_refused(price: str) -> None:
    with pytest.raises((InvalidCandles, ProviderUnusable)):
        PROVIDER.parse(body(candle(0, mid=quote(1.1) | {"l": price})), PAGE)


@pytest.mark.parametrize(
    "changes", [{"instrument": "GBP_USD"}, {"granularity": "S5"}], ids=["other instrument", "other granularity"]
)
def test_a_response_to_another_request_is_unusable(changes: dict[str, str]) -> None:
    """The default granularity is S5; files of S5 candles have been sold as hours."""
    with pytest.raises(ProviderUnusable, match=r"expected \('EUR_USD', 'M5'\), was"):
        PROVIDER.parse(body(candle(0), **changes), PAGE)


@pytest.mark.parametrize("name", ["o01", "o03", "o04", "e01", "e02", "e03", "e05", "e07", "e08", "e10"])
def test_a_recorded_response_to_another_request_is_unusable(recorded, name: str) -> None:
    """A response without bid and ask, of another instrument or granularity, or without candles."""
    with pytest.raises(ProviderUnusable, match="expected"):
        PROVIDER.parse(recorded(name), PAGE)


def test_a_recorded_weekend_has_no_candles(recorded) -> None:
    assert len(PROVIDER.parse(recorded("e09"), PAGE)) == 0


@pytest.mark.parametrize(("name", "timeframe"), [("o07", Timeframe.M15), ("o08", Timeframe.H1), ("o10", Timeframe.H1)])
def test_a_recorded_page_is_parsed_to_its_candles(recorded, name: str, timeframe: Timeframe) -> None:
    response = recorded(name)
    parsed = PROVIDER.parse(response, page_of(response, timeframe)).frame.rows(named=True)
    expected = [
        {
            "ts": datetime.fromisoformat(each["time"]),
            "open": float(each["mid"]["o"]),
            "high": float(each["mid"]["h"]),
            "low": float(each["mid"]["l"]),
            "close": float(each["mid"]["c"]),
            "volume": float(each["volume"]),
            "half_spread": round((float(each["ask"]["o"]) - float(each["bid"]["o"])) / 2, 6),
        }
        for each in json.loads(response)["candles"]
    ]

    assert parsed == expected


@pytest.mark.parametrize(
    ("name", "timeframe"),
    [
        ("o11_EUR_USD_M5", Timeframe.M5),
        ("o11_EUR_USD_M15", Timeframe.M15),
        ("o11_EUR_USD_H1", Timeframe.H1),
        ("o12_EUR_USD_H1", Timeframe.H1),
        ("o12_GBP_USD_H1", Timeframe.H1),
    ],
)
def test_years_of_recorded_candles_satisfy_the_contract(shared: Path, name: str, timeframe: Timeframe) -> None:
    """Every recorded OANDA candle is accepted, including wide spreads at Christmas."""
    with gzip.open(next((shared / "recorded" / "oanda").glob(f"{name}_*.csv.gz")), "rt") as file:
        rows = list(csv.DictReader(file))
    candles = [
        {"complete": True, "volume": int(row["volume"]), "time": row["time"]}
        | {name: {letter: row[f"{name}_{letter}"] for letter in "ohlc"} for name in ("mid", "bid", "ask")}
        for row in rows
    ]
    instrument = GBP_USD if "GBP" in name else EUR_USD
    symbol = f"{instrument.base}_{instrument.quote}"
    answer = body(*candles, instrument=symbol, granularity=timeframe.name)
    page = Page(dataset=Dataset(instrument=instrument, timeframe=timeframe), window=page_of(answer, timeframe).window)

    assert len(PROVIDER.parse(answer, page)) == len(rows)


def test_parameters_with_surprising_defaults_are_sent() -> None:
    request = PROVIDER.request(PAGE)

    assert request.path == "/v3/instruments/EUR_USD/candles"
    assert request.query == {
        "granularity": "M5",
        "price": "MBA",
        "smooth": "false",
        "includeFirst": "true",
        "from": "1578268800",
        "to": "1578270600",
    }


@pytest.mark.parametrize(("timeframe", "granularity"), [(Timeframe.H4, "H4"), (Timeframe.D1, "D")])
def test_the_begin_of_the_trading_day_is_said(timeframe: Timeframe, granularity: str) -> None:
    dataset = PAGE.dataset.at(timeframe)
    window = grid_of(dataset).whole(Window(datetime(2024, 3, 7, tzinfo=UTC), datetime(2024, 3, 13, tzinfo=UTC)))
    assert window

    for request in (PROVIDER.request(Page(dataset=dataset, window=window)), PROVIDER.probe(dataset)):
        assert request.query["granularity"] == granularity
        assert request.query["dailyAlignment"] == "17"
        assert request.query["alignmentTimezone"] == "America/New_York"


def test_a_too_long_range_raises_page_too_large(recorded) -> None:
    assert isinstance(PROVIDER.refusal(400, recorded("e01"), "page"), PageTooLarge)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("e02", "Invalid value specified for 'instrument'"),
        ("e03", "Invalid value specified for 'granularity'"),
        ("e05", "Invalid value specified for 'from'. Time is in the future"),
        ("e10", "Order units specified are invalid"),
    ],
)
def test_a_refusal_contains_the_provider_message(recorded, name: str, said: str) -> None:
    error = PROVIDER.refusal(400, recorded(name), "oanda/EUR-USD/M5")

    assert type(error) is ProviderRejected
    assert str(error) == f"oanda/EUR-USD/M5: oanda answered 400: {said}"


def test_a_wrong_token_is_reported_with_advice(recorded) -> None:
    error = PROVIDER.refusal(401, recorded("e07"), "oanda/EUR-USD/M5")

    assert "Insufficient authorization to perform request. Check OANDA_API_TOKEN, and that it belongs" in str(error)


def test_the_token_is_required_and_sent_in_the_header() -> None:
    assert PROVIDER.headers(TOKEN)["Authorization"] == f"Bearer {TOKEN}"
    with pytest.raises(SettingsError, match="OANDA needs a token: set OANDA_API_TOKEN or oanda_api_token_file"):
        PROVIDER.headers(None)
