from datetime import UTC, datetime

import pytest

from fetcher.simulator.rate_limit import COINBASE_ADVANCED_LIMIT
from tradeschool.markets.catalogue import BTC_USD
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.timeframes import Timeframe

PRODUCT = "/api/v3/brokerage/market/products/BTC-USD"
CANDLES = f"{PRODUCT}/candles"
BTC_M5 = Dataset(instrument=BTC_USD, timeframe=Timeframe.M5)
MIDNIGHT = int(datetime(2022, 3, 1, tzinfo=UTC).timestamp())


async def page(client, start, end, granularity="FIVE_MINUTE"):
    return await client.get(CANDLES, start=start, end=end, granularity=granularity)


def times(reply):
    return [int(candle["start"]) for candle in reply.json["candles"]]


class TestRange:
    async def test_both_ends_are_inclusive_and_the_newest_comes_first(self, client):
        reply = await page(client, MIDNIGHT, MIDNIGHT + 900)

        assert times(reply) == [MIDNIGHT + 900, MIDNIGHT + 600, MIDNIGHT + 300, MIDNIGHT]

    async def test_349_intervals_are_350_candles(self, client):
        assert len(times(await page(client, MIDNIGHT, MIDNIGHT + 349 * 300))) == 350

    async def test_350_intervals_are_refused_not_cut(self, client):
        reply = await page(client, MIDNIGHT, MIDNIGHT + 350 * 300)

        assert reply.status == 400
        assert reply.json["error"] == "INVALID_ARGUMENT"
        assert reply.json["error_details"].endswith("number of candles requested should be less than 350")

    async def test_an_unaligned_start_is_rounded_up(self, client):
        assert times(await page(client, MIDNIGHT + 1, MIDNIGHT + 600)) == [MIDNIGHT + 600, MIDNIGHT + 300]

    @pytest.mark.parametrize(
        "query",
        [{}, {"start": MIDNIGHT}, {"end": MIDNIGHT}, {"start": "2022-03-01T00:00:00Z", "end": MIDNIGHT}],
        ids=["none", "start", "end", "ISO"],
    )
    async def test_start_and_end_are_required_as_unix_seconds(self, client, query):
        reply = await client.get(CANDLES, granularity="FIVE_MINUTE", **query)

        assert (reply.status, reply.json["error"]) == (400, "INVALID_ARGUMENT")

    @pytest.mark.parametrize("granularity", ["300", "five_minute", ""])
    async def test_an_unknown_granularity_is_refused(self, client, granularity):
        assert (await page(client, MIDNIGHT, MIDNIGHT + 300, granularity)).status == 400

    async def test_a_known_granularity_without_candles_is_empty(self, client):
        assert (await page(client, MIDNIGHT, MIDNIGHT + 7200, "TWO_HOUR")).json == {"candles": []}


class TestCandles:
    async def test_every_number_is_a_string(self, serving, written):
        source = written(BTC_M5, (MIDNIGHT, 10.5, 12.0, 9.5, 11.25, 0.00000125))
        async with serving(source) as client:
            reply = await page(client, MIDNIGHT, MIDNIGHT + 300)

        named = {"low": "9.5", "high": "12", "open": "10.5", "close": "11.25", "volume": "0.00000125"}
        assert reply.json == {"candles": [{"start": str(MIDNIGHT), **named}]}

    async def test_candles_equal_those_of_the_other_source(self, client):
        ours = (await page(client, MIDNIGHT, MIDNIGHT + 86_400)).json["candles"]
        query = {"granularity": 300, "start": MIDNIGHT, "end": MIDNIGHT + 86_400}
        theirs = (await client.get("/products/BTC-USD/candles", **query)).json

        names = ("start", "low", "high", "open", "close", "volume")
        assert [[float(each[name]) for name in names] for each in ours] == theirs

    async def test_the_unfinished_candle_is_returned_and_the_next_one_is_not(self, client, clock):
        reply = await page(client, int(clock.now) - 600, int(clock.now) + 3000)

        assert times(reply)[0] == clock.now // 300 * 300


class TestRefusals:
    async def test_a_product_of_another_provider_is_404(self, client):
        reply = await client.get("/api/v3/brokerage/market/products/BTC-USDT")

        assert (reply.status, reply.json) == (404, {"error": "NOT_FOUND", "message": "Product BTC-USDT not supported"})

    async def test_an_unknown_path_is_404(self, client):
        assert (await client.get("/api/v3/brokerage/orders")).json["error"] == "NOT_FOUND"

    async def test_the_rate_limit_is_separate_from_the_other_source(self, serving, clock):
        async with serving(coinbase_advanced_limit=COINBASE_ADVANCED_LIMIT, monotonic=clock) as client:
            replies = [await client.get(PRODUCT) for _ in range(16)]
            other = await client.get("/time")

        assert [reply.status for reply in replies] == [200] * 15 + [429]
        assert other.status == 200
        assert not [name for name in replies[-1].headers if "retry" in name.lower()]
