from datetime import UTC, datetime

import pytest

from fetcher.simulator.rate_limit import COINBASE_LIMIT
from tradeschool.markets.calendars import expected_slots
from tradeschool.markets.catalogue import BTC_USD
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.timeframes import Timeframe
from tradeschool.markets.windows import Window

CANDLES = "/products/BTC-USD/candles"
BTC_M5 = Dataset(instrument=BTC_USD, timeframe=Timeframe.M5)
TOO_MANY_INTERVALS = (
    b'{"message":"granularity too small for the requested time range. Count of aggregations requested exceeds 300"}'
)
UNSUPPORTED_GRANULARITY = b'{"message":"Unsupported granularity"}'
NOT_FOUND = b'{"message":"NotFound"}'
RATE_LIMIT_EXCEEDED = b'{"message":"Public rate limit exceeded"}'
MIDNIGHT = int(datetime(2022, 3, 1, tzinfo=UTC).timestamp())


def iso(seconds):
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


async def page(client, start, end, granularity=300, product="BTC-USD"):
    return await client.get(f"/products/{product}/candles", start=iso(start), end=iso(end), granularity=granularity)


def times(reply):
    return [row[0] for row in reply.json]


class TestRange:
    async def test_both_ends_are_inclusive(self, client):
        """Seven days of hours are 169 rows, not 168."""
        reply = await page(client, MIDNIGHT, MIDNIGHT + 7 * 86_400, 3600)

        assert reply.status == 200
        assert len(reply.json) == 169

    async def test_three_hundred_intervals_are_301_rows(self, client):
        reply = await page(client, MIDNIGHT, MIDNIGHT + 300 * 300)

        assert times(reply) == list(range(MIDNIGHT + 300 * 300, MIDNIGHT - 1, -300))

    async def test_301_intervals_are_refused_not_cut(self, client):
        reply = await page(client, MIDNIGHT, MIDNIGHT + 301 * 300)

        assert reply.status == 400
        assert reply.body == TOO_MANY_INTERVALS

    async def test_an_unaligned_start_is_rounded_up(self, client):
        reply = await page(client, MIDNIGHT + 1, MIDNIGHT + 900)

        assert times(reply) == [MIDNIGHT + 900, MIDNIGHT + 600, MIDNIGHT + 300]

    async def test_unix_seconds_are_accepted(self, client):
        query = {"start": MIDNIGHT, "end": MIDNIGHT + 3000, "granularity": 300}

        assert (await client.get(CANDLES, **query)).body == (await page(client, MIDNIGHT, MIDNIGHT + 3000)).body

    @pytest.mark.parametrize(
        "query", [{}, {"start": iso(MIDNIGHT)}, {"end": iso(MIDNIGHT)}], ids=["none", "start", "end"]
    )
    async def test_without_start_and_end_the_newest_350_rows_are_served(self, client, clock, query):
        reply = await client.get(CANDLES, granularity=300, **query)

        assert len(reply.json) == 350
        assert times(reply)[0] == clock.now // 300 * 300

    @pytest.mark.parametrize(("start", "end"), [("soon", iso(MIDNIGHT)), (iso(MIDNIGHT), "nan")])
    async def test_a_time_that_cannot_be_read_is_refused(self, client, start, end):
        reply = await client.get(CANDLES, start=start, end=end, granularity=300)

        assert reply.status == 400
        assert "message" in reply.json

    async def test_an_end_before_the_start_is_refused(self, client):
        assert (await page(client, MIDNIGHT, MIDNIGHT - 300)).status == 400


class TestRows:
    async def test_a_row_is_time_low_high_open_close_volume(self, serving, written):
        source = written(BTC_M5, (MIDNIGHT, 10.5, 12.5, 9.5, 11.5, 3.25))
        async with serving(source) as client:
            reply = await page(client, MIDNIGHT, MIDNIGHT + 300)

        assert reply.json == [[MIDNIGHT, 9.5, 12.5, 10.5, 11.5, 3.25]]

    async def test_whole_prices_are_integers_and_others_are_not(self, serving, written):
        source = written(BTC_M5, (MIDNIGHT, 5270.0, 5271.5, 5270.0, 5271.0, 3.0))
        async with serving(source) as client:
            reply = await page(client, MIDNIGHT, MIDNIGHT + 300)

        assert reply.body == b"[[%d,5270,5271.5,5270,5271,3.0]]" % MIDNIGHT

    async def test_rows_equal_those_of_the_source_newest_first(self, client, generated):
        reply = await page(client, MIDNIGHT, MIDNIGHT + 86_400)
        candles = generated.candles(BTC_M5, MIDNIGHT, MIDNIGHT + 86_401)

        assert times(reply) == candles.times[::-1].tolist()
        assert [row[4] for row in reply.json] == candles.prices[::-1, 3].tolist()

    async def test_empty_buckets_are_omitted(self, client, generated):
        year = Window(datetime(2022, 1, 1, tzinfo=UTC), datetime(2023, 1, 1, tzinfo=UTC))
        present = generated.candles(BTC_M5, year.start_seconds, year.end_seconds).times.tolist()
        hole = min(set(expected_slots(BTC_M5, year).tolist()) - set(present))
        reply = await page(client, hole - 3000, hole + 3000)

        assert hole not in times(reply)
        assert 0 < len(reply.json) < 21

    async def test_a_supported_granularity_without_candles_is_empty(self, client):
        reply = await page(client, MIDNIGHT, MIDNIGHT + 21600, 21600)

        assert (reply.status, reply.body) == (200, b"[]")

    async def test_no_candles_exist_before_the_listing(self, client):
        reply = await page(client, 1_400_000_000, 1_400_000_000 + 3000)

        assert (reply.status, reply.body) == (200, b"[]")


class TestUnfinished:
    async def test_the_unfinished_bucket_is_returned(self, client, clock, generated):
        """At 11:10 the candle of 11:00 exists and is still unfinished."""
        eleven = int(clock.now // 3600 * 3600)
        reply = await page(client, eleven - 3600, eleven + 3600, 3600)
        hour = generated.candles(Dataset(instrument=BTC_USD, timeframe=Timeframe.H1), eleven, eleven + 1)

        assert times(reply) == [eleven, eleven - 3600]
        assert reply.json[0][5] < hour.volumes[0]

    async def test_a_bucket_that_has_not_begun_is_not_served(self, client, clock):
        assert (await page(client, clock.now + 300, clock.now + 3000)).json == []

    async def test_a_finished_bucket_does_not_change(self, client, clock):
        before = await page(client, clock.now - 3000, clock.now - 300)
        clock.now += 86_400

        assert (await page(client, clock.now - 89_400, clock.now - 86_700)).body == before.body


class TestRefusals:
    @pytest.mark.parametrize("granularity", ["14400", "120", "1800", "604800", "5m", "0300", ""])
    async def test_an_unsupported_granularity_is_refused(self, client, granularity):
        reply = await page(client, MIDNIGHT, MIDNIGHT + 300, granularity)

        assert (reply.status, reply.body) == (400, UNSUPPORTED_GRANULARITY)

    @pytest.mark.parametrize("path", ["/products/NOPE-USD/candles", "/products/NOPE-USD", "/products/EUR-USD", "/nope"])
    async def test_an_unknown_product_or_path_is_404(self, client, path):
        reply = await client.get(path)

        assert (reply.status, reply.body) == (404, NOT_FOUND)

    async def test_a_rate_limited_429_has_no_rate_limit_headers(self, serving, clock):
        async with serving(coinbase_limit=COINBASE_LIMIT, monotonic=clock) as client:
            replies = [await client.get("/time") for _ in range(17)]
            clock.now += 0.125
            replies += [await client.get("/time") for _ in range(2)]

        assert [reply.status for reply in replies] == [200] * 15 + [429] * 2 + [200, 429]
        assert replies[-1].body == RATE_LIMIT_EXCEEDED
        assert not [name for name in replies[-1].headers if "retry" in name.lower() or "limit" in name.lower()]


class TestListing:
    async def test_server_time_is_given_in_both_formats(self, client, clock):
        clock.now = 1589270451.504
        reply = await client.get("/time")

        assert reply.body == b'{"iso":"2020-05-12T08:00:51.504Z","epoch":1589270451.504}'

    async def test_only_products_of_this_provider_are_listed(self, client):
        reply = await client.get("/products")

        assert [product["id"] for product in reply.json] == ["BTC-USD", "ETH-USD"]

    async def test_a_product_is_online(self, client):
        product = (await client.get("/products/BTC-USD")).json

        assert product["status"] == "online"
        assert product["trading_disabled"] is False
