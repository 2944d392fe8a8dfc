from datetime import UTC, datetime

import pytest

from fetcher.simulator.candles.generated import GeneratedCandles
from fetcher.simulator.faults import Faults
from fetcher.simulator.protocols.binance import BAN_SECONDS, STRIKES
from fetcher.simulator.rate_limit import BINANCE_LIMIT, Limit
from tradeschool.markets.catalogue import BTC_USDT
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.timeframes import Timeframe

KLINES = "/api/v3/klines"
BTC_M5 = Dataset(instrument=BTC_USDT, timeframe=Timeframe.M5)
MIDNIGHT = int(datetime(2022, 3, 1, tzinfo=UTC).timestamp())
ONE = Limit(rate_per_second=1, burst=1)


async def page(client, start=None, end=None, limit=None, interval="5m", symbol="BTCUSDT"):
    """Request parameters start and end in seconds; None is not sent."""
    times = {"startTime": start and start * 1000, "endTime": end and end * 1000}
    query = {"symbol": symbol, "interval": interval, "limit": limit, **times}
    return await client.get(KLINES, **{name: value for name, value in query.items() if value is not None})


def opens(reply):
    return [row[0] // 1000 for row in reply.json]


class TestRange:
    async def test_both_ends_are_inclusive_and_the_oldest_comes_first(self, client):
        assert opens(await page(client, MIDNIGHT, MIDNIGHT + 600)) == [MIDNIGHT, MIDNIGHT + 300, MIDNIGHT + 600]

    async def test_an_end_one_millisecond_earlier_drops_the_last_row(self, client):
        query = {"startTime": MIDNIGHT * 1000, "endTime": (MIDNIGHT + 600) * 1000 - 1}
        reply = await client.get(KLINES, symbol="BTCUSDT", interval="5m", **query)

        assert opens(reply) == [MIDNIGHT, MIDNIGHT + 300]

    @pytest.mark.parametrize(("limit", "rows"), [(None, 500), (0, 500), (3, 3), (1000, 1000), (5000, 1000)])
    async def test_rows_above_the_limit_are_cut_at_the_end(self, client, limit, rows):
        """Default 500 rows, maximum 1000; the response does not show that it was truncated."""
        reply = await page(client, MIDNIGHT, MIDNIGHT + 30 * 86_400, limit)

        assert len(reply.json) == rows
        assert opens(reply)[0] == MIDNIGHT

    async def test_without_a_start_the_last_rows_before_the_end_are_served(self, client):
        assert opens(await page(client, end=MIDNIGHT, limit=2)) == [MIDNIGHT - 300, MIDNIGHT]

    async def test_without_start_and_end_the_newest_rows_are_served(self, client, clock):
        assert opens(await page(client, limit=2))[-1] == clock.now // 300 * 300

    async def test_times_in_seconds_return_no_candles(self, client):
        reply = await client.get(KLINES, symbol="BTCUSDT", interval="5m", startTime=MIDNIGHT, endTime=MIDNIGHT + 3000)

        assert (reply.status, reply.json) == (200, [])

    async def test_a_candle_that_has_not_begun_is_not_served(self, client, clock):
        assert (await page(client, int(clock.now) + 300, int(clock.now) + 3000)).json == []


class TestRows:
    async def test_a_row_has_the_documented_twelve_columns(self, serving, written):
        source = written(BTC_M5, (MIDNIGHT, 10.5, 12.0, 9.5, 11.25, 2.5))
        source.instruments = (BTC_USDT,)
        async with serving(source) as client:
            ((opened, *values, closed, _, trades, _, _, _),) = (await page(client, MIDNIGHT, MIDNIGHT)).json

        assert (opened, closed) == (MIDNIGHT * 1000, (MIDNIGHT + 300) * 1000 - 1)
        assert values == ["10.50000000", "12.00000000", "9.50000000", "11.25000000", "2.50000000"]
        assert isinstance(trades, int)

    async def test_rows_equal_those_of_the_source(self, client, generated: GeneratedCandles):
        reply = await page(client, MIDNIGHT, MIDNIGHT + 86_400)
        candles = generated.candles(BTC_M5, MIDNIGHT, MIDNIGHT + 86_401)

        assert opens(reply) == candles.times.tolist()
        assert [[float(value) for value in row[1:5]] for row in reply.json] == candles.prices.tolist()

    async def test_klines_can_be_falsely_empty(self, serving):
        async with serving(faults=Faults.parse("empty=1")) as client:
            replies = [await page(client, MIDNIGHT, MIDNIGHT + 600) for _ in range(2)]
            ping = await client.get("/api/v3/ping")

        assert [len(reply.json) for reply in replies] == [0, 3]
        assert ping.json == {}


class TestRefusals:
    @pytest.mark.parametrize(
        ("query", "code", "message"),
        [
            ({"symbol": "NOPE", "interval": "5m"}, -1121, "Invalid symbol."),
            ({"symbol": "BTCUSD", "interval": "5m"}, -1121, "Invalid symbol."),
            ({"symbol": "BTCUSDT", "interval": "5M"}, -1120, "Invalid interval."),
            ({"interval": "5m"}, -1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed."),
            (
                {"symbol": "BTCUSDT"},
                -1102,
                "Mandatory parameter 'interval' was not sent, was empty/null, or malformed.",
            ),
            (
                {"symbol": "BTCUSDT", "interval": "5m", "startTime": "None"},
                -1100,
                "Illegal characters found in parameter 'startTime'; legal range is '^[0-9]{1,20}$'.",
            ),
        ],
        ids=["symbol", "symbol of another provider", "interval", "no symbol", "no interval", "time"],
    )
    async def test_a_refusal_has_code_and_message(self, client, query, code, message):
        reply = await client.get(KLINES, **query)

        assert (reply.status, reply.json) == (400, {"code": code, "msg": message})

    async def test_a_known_interval_without_candles_is_empty(self, client):
        assert (await page(client, MIDNIGHT, MIDNIGHT + 3600, interval="1m")).json == []


class TestLimit:
    async def test_a_page_has_weight_2_and_exchange_info_20(self, serving, clock):
        limit = Limit(rate_per_second=1, burst=25, weights=BINANCE_LIMIT.weights)
        async with serving(binance_limit=limit, monotonic=clock) as client:
            statuses = [(await client.get("/api/v3/exchangeInfo", symbol="BTCUSDT")).status]
            statuses += [(await page(client, MIDNIGHT, MIDNIGHT)).status for _ in range(3)]
            statuses += [(await client.get("/api/v3/ping")).status for _ in range(2)]

        assert statuses == [200, 200, 200, 429, 200, 429]

    async def test_a_429_has_a_retry_after_header(self, serving, clock):
        async with serving(binance_limit=ONE, monotonic=clock) as client:
            await client.get("/api/v3/ping")
            refused = await client.get("/api/v3/ping")
            clock.now += int(refused.headers["Retry-After"])
            again = await client.get("/api/v3/ping")

        assert (refused.status, refused.json["code"]) == (429, -1003)
        assert again.status == 200

    async def test_requests_after_a_429_lead_to_a_ban_of_minutes(self, serving, clock):
        """Status 418 with the remaining seconds, even if the weight has been refilled."""
        async with serving(binance_limit=ONE, monotonic=clock) as client:
            await client.get("/api/v3/ping")
            refused = [await client.get("/api/v3/ping") for _ in range(STRIKES)]
            clock.now += 20
            still = await client.get("/api/v3/ping")
            clock.now += int(still.headers["Retry-After"])
            after = await client.get("/api/v3/ping")

        assert [reply.status for reply in refused] == [429] * (STRIKES - 1) + [418]
        assert (still.status, still.headers["Retry-After"]) == (418, str(BAN_SECONDS - 20))
        assert "IP banned until" in still.json["msg"]
        assert after.status == 200


class TestInformation:
    async def test_server_time_is_in_milliseconds(self, client, clock):
        assert (await client.get("/api/v3/time")).json == {"serverTime": round(clock.now * 1000)}

    async def test_only_symbols_of_this_provider_are_listed(self, client):
        listed = (await client.get("/api/v3/exchangeInfo")).json["symbols"]

        assert [(each["symbol"], each["status"]) for each in listed] == [("BTCUSDT", "TRADING"), ("ETHUSDT", "TRADING")]

    async def test_one_symbol_is_listed_alone_and_an_unknown_one_is_refused(self, client):
        one = await client.get("/api/v3/exchangeInfo", symbol="ETHUSDT")
        unknown = await client.get("/api/v3/exchangeInfo", symbol="NOPE")

        assert [each["symbol"] for each in one.json["symbols"]] == ["ETHUSDT"]
        assert (unknown.status, unknown.json["code"]) == (400, -1121)

    async def test_an_unknown_path_is_404(self, client):
        assert (await client.get("/api/v3/depth")).status == 404

    async def test_a_server_error_uses_the_error_format_of_the_provider(self, serving):
        async with serving(faults=Faults.parse("outage=0+1000")) as client:
            reply = await client.get("/api/v3/ping")

        assert (reply.status, reply.json["code"]) == (503, -1001)
