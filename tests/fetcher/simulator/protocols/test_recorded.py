"""Responses of the simulated exchange compared with recorded responses of the providers."""

import json
from datetime import UTC, datetime

import pytest

from fetcher.simulator.faults import Faults
from fetcher.simulator.rate_limit import Limit

TUESDAY = int(datetime(2022, 3, 1, tzinfo=UTC).timestamp())
SATURDAY = int(datetime(2022, 3, 5, tzinfo=UTC).timestamp())
FUTURE = "2030-01-01T00:00:00Z"
BTC = "/products/BTC-USD/candles"
ADVANCED = "/api/v3/brokerage/market/products"
EUR = "/v3/instruments/EUR_USD/candles"
LONG = {"granularity": 300, "start": TUESDAY, "end": TUESDAY + 301 * 300}

BODIES = {
    "coinbase/c09": (400, BTC, LONG),
    "coinbase/c10": (400, BTC, {"granularity": 14400}),
    "coinbase/c11": (404, "/products/NOPE-USD/candles", {"granularity": 300}),
    "coinbase/c14": (200, BTC, {"granularity": 300, "start": 1_400_000_000, "end": 1_400_003_000}),
    "oanda/e01": (400, EUR, {"granularity": "M5", "count": 5001}),
    "oanda/e02": (400, "/v3/instruments/NOPE_USD/candles", {"granularity": "M5"}),
    "oanda/e03": (400, EUR, {"granularity": "M7"}),
    "oanda/e05": (400, EUR, {"granularity": "M5", "from": FUTURE}),
    "oanda/e09": (200, EUR, {"granularity": "M5", "from": SATURDAY, "to": SATURDAY + 86_400}),
}


def shape(value):
    """Nested field names with types, and the length of strings."""
    if isinstance(value, dict):
        return tuple((name, shape(part)) for name, part in value.items())
    return len(value) if isinstance(value, str) else type(value)


@pytest.mark.parametrize("name", BODIES)
async def test_a_body_equals_the_recorded_one(client, recorded, name):
    status, path, query = BODIES[name]
    reply = await client.get(path, **query)

    assert (reply.status, reply.body) == (status, recorded(name))


async def test_a_request_without_token_gets_the_recorded_refusal(client, recorded):
    reply = await client.get(EUR, {"Authorization": ""})

    assert (reply.status, reply.body) == (401, recorded("oanda/e07"))


@pytest.mark.parametrize(("name", "path"), [("coinbase/c12", "/time"), ("oanda/e08", EUR)])
async def test_the_rate_limit_has_the_recorded_body(serving, recorded, name, path):
    none = Limit(rate_per_second=0, burst=0)
    async with serving(coinbase_limit=none, oanda_limit=none) as client:
        reply = await client.get(path)

    assert (reply.status, reply.body) == (429, recorded(name))


async def test_advanced_trade_refusals_have_the_recorded_bodies(serving, recorded):
    none = Limit(rate_per_second=0, burst=0)
    async with serving() as client:
        unknown = await client.get(f"{ADVANCED}/NOPE-USD")
    async with serving(coinbase_advanced_limit=none) as client:
        refused = await client.get(f"{ADVANCED}/BTC-USD")

    assert (unknown.status, unknown.body) == (404, recorded("coinbase/c18"))
    assert (refused.status, refused.json) == (429, json.loads(recorded("coinbase/c19")))


async def test_advanced_trade_candles_have_the_recorded_shape(client, recorded):
    """The same fields in the same order, all of them strings that read as a number."""
    taken = json.loads(recorded("coinbase/c15"))
    query = {"granularity": "ONE_HOUR", "start": TUESDAY, "end": TUESDAY + 3600}
    served = (await client.get(f"{ADVANCED}/BTC-USD/candles", **query)).json

    assert list(served) == list(taken)
    assert len(served["candles"]) == len(taken["candles"])
    for one, other in zip(served["candles"], taken["candles"], strict=True):
        assert list(one) == list(other)
        assert all(isinstance(text, str) and "e" not in text and float(text) > 0 for text in one.values())
    assert [candle["start"] for candle in served["candles"]] == [str(TUESDAY + 3600), str(TUESDAY)]


async def test_an_advanced_trade_product_has_the_recorded_fields(client, recorded):
    taken = json.loads(recorded("coinbase/c16"))
    product = (await client.get(f"{ADVANCED}/BTC-USD")).json

    assert product == {name: taken[name] for name in product}


async def test_an_outage_has_the_recorded_maintenance_text(serving, recorded):
    async with serving(faults=Faults.parse("outage=0+1000")) as client:
        reply = await client.get(BTC)

    assert (reply.status, reply.body) == (503, recorded("coinbase/c13"))


async def test_time_equals_the_recorded_one(client, clock, recorded):
    clock.now = 1589270451.504

    assert (await client.get("/time")).body == recorded("coinbase/c07")


async def test_a_product_has_the_recorded_fields_but_those_removed_in_2022(client, recorded):
    removed = {"base_min_size", "base_max_size", "max_market_funds"}
    taken = json.loads(recorded("coinbase/c08"))[1]
    product = (await client.get("/products/BTC-USD")).json

    assert product == {name: value for name, value in taken.items() if name not in removed}


async def test_a_coinbase_row_has_the_recorded_types_and_order(client, recorded):
    """Time is an integer, a price an integer or a float, a volume a float; the newest comes first."""
    taken = json.loads(recorded("coinbase/c02"))
    served = (await client.get(BTC, granularity=300, start=TUESDAY, end=TUESDAY + 299 * 300)).json

    assert len(served) == len(taken) == 300
    for rows in (served, taken):
        assert {tuple(map(type, (row[0], row[5]))) for row in rows} == {(int, float)}
        assert {type(price) for row in rows for price in row[1:5]} <= {int, float}
        assert rows == sorted(rows, reverse=True)
        assert all(low <= min(open_, close) and high >= max(open_, close) for _, low, high, open_, close, _ in rows)


@pytest.mark.parametrize("name", ["oanda/o07", "oanda/o08", "oanda/o10"])
async def test_an_oanda_candle_has_the_recorded_shape(client, recorded, name):
    """The same fields in the same order, the same types, strings of the same length."""
    taken = json.loads(recorded(name))
    query = {"granularity": taken["granularity"], "from": TUESDAY, "to": TUESDAY + 4 * 3600, "price": "MBA"}
    served = (await client.get(EUR, **query)).json

    assert list(served) == list(taken)
    assert {shape(candle) for candle in served["candles"]} == {shape(candle) for candle in taken["candles"]}


async def test_an_incomplete_candle_has_the_recorded_shape(client, recorded):
    taken = json.loads(recorded("oanda/o04"))["candles"]
    served = (await client.get(EUR, {"Accept-Datetime-Format": "UNIX"}, granularity="M5", count=2)).json["candles"]

    assert list(map(shape, served)) == list(map(shape, taken))
    assert [candle["complete"] for candle in served] == [True, False]
