from datetime import UTC, datetime

import pytest

from fetcher.simulator.rate_limit import Limit
from tradeschool.markets.catalogue import EUR_USD
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.timeframes import Timeframe

CANDLES = "/v3/instruments/EUR_USD/candles"
EUR_M5 = Dataset(instrument=EUR_USD, timeframe=Timeframe.M5)
UNAUTHORIZED = b'{"errorMessage":"Insufficient authorization to perform request."}'
COUNT_EXCEEDED = b"""{"errorMessage":"Maximum value for 'count' exceeded"}"""
INVALID_INSTRUMENT = b"""{"errorMessage":"Invalid value specified for 'instrument'"}"""
INVALID_GRANULARITY = b"""{"errorMessage":"Invalid value specified for 'granularity'"}"""
FROM_IN_FUTURE = b"""{"errorMessage":"Invalid value specified for 'from'. Time is in the future"}"""
NO_CANDLES = b'{"instrument":"EUR_USD","granularity":"M5","candles":[]}'
TUESDAY = int(datetime(2022, 3, 1, tzinfo=UTC).timestamp())
SATURDAY = int(datetime(2022, 3, 5, tzinfo=UTC).timestamp())
HOUR = 3600


def rfc3339(seconds):
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.000000000Z")


async def page(client, granularity="M5", **query):
    return await client.get(CANDLES, granularity=granularity, **query)


def times(reply):
    return [candle["time"] for candle in reply.json["candles"]]


def message(reply):
    return reply.status, reply.json["errorMessage"]


class TestToken:
    @pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic abc", "abc"])
    async def test_a_request_without_bearer_token_is_refused(self, client, header):
        reply = await client.get(CANDLES, {"Authorization": header}, granularity="M5")

        assert (reply.status, reply.body) == (401, UNAUTHORIZED)

    async def test_any_token_is_accepted_if_none_is_set(self, client):
        assert (await page(client, count=1)).status == 200

    async def test_only_the_configured_token_is_accepted(self, serving):
        async with serving(oanda_token="right") as client:
            wrong = await client.get(CANDLES, {"Authorization": "Bearer wrong"}, count=1)
            right = await client.get(CANDLES, {"Authorization": "Bearer right"}, count=1)

        assert (wrong.status, right.status) == (401, 200)


class TestRange:
    async def test_from_is_inclusive_and_to_is_exclusive(self, client):
        reply = await page(client, from_=rfc3339(TUESDAY), to=rfc3339(TUESDAY + HOUR))

        assert times(reply) == [rfc3339(TUESDAY + n * 300) for n in range(12)]

    async def test_the_candle_that_covers_from_is_the_first(self, client):
        reply = await page(client, from_=rfc3339(TUESDAY + 299), to=rfc3339(TUESDAY + 600))

        assert times(reply) == [rfc3339(TUESDAY), rfc3339(TUESDAY + 300)]

    async def test_an_interval_that_starts_before_to_is_included(self, client):
        reply = await page(client, from_=rfc3339(TUESDAY), to=rfc3339(TUESDAY + 301))

        assert times(reply) == [rfc3339(TUESDAY), rfc3339(TUESDAY + 300)]

    async def test_include_first_false_drops_the_first_candle(self, client):
        reply = await page(client, from_=rfc3339(TUESDAY), to=rfc3339(TUESDAY + 900), includeFirst="false")

        assert times(reply) == [rfc3339(TUESDAY + 300), rfc3339(TUESDAY + 600)]

    async def test_include_first_false_leaves_nine_of_ten_candles(self, client):
        """As recorded: the count is applied first."""
        reply = await page(client, "H1", from_=rfc3339(TUESDAY), count=10, includeFirst="false")

        assert len(reply.json["candles"]) == 9

    async def test_include_first_has_no_effect_without_from(self, client):
        reply = await page(client, to=rfc3339(TUESDAY), count=10, includeFirst="false")

        assert len(reply.json["candles"]) == 10

    async def test_a_range_of_5000_intervals_is_served(self, client):
        reply = await page(client, from_=TUESDAY, to=TUESDAY + 5000 * 300)

        assert reply.status == 200

    async def test_a_longer_range_is_refused_not_cut(self, client):
        reply = await page(client, from_=TUESDAY, to=TUESDAY + 5001 * 300)

        assert (reply.status, reply.body) == (400, COUNT_EXCEEDED)

    async def test_a_weekend_is_an_empty_list(self, client):
        reply = await page(client, from_=rfc3339(SATURDAY), to=rfc3339(SATURDAY + 24 * HOUR))

        assert (reply.status, reply.body) == (200, NO_CANDLES)

    async def test_times_can_be_unix_seconds(self, client):
        unix = await page(client, from_=f"{TUESDAY}.000000000", to=TUESDAY + HOUR)

        assert unix.body == (await page(client, from_=rfc3339(TUESDAY), to=rfc3339(TUESDAY + HOUR))).body


class TestCount:
    async def test_count_from_a_time_skips_the_weekend(self, client):
        friday = SATURDAY - 3 * HOUR
        reply = await page(client, "H1", from_=rfc3339(friday), count=3)

        assert times(reply) == [rfc3339(friday), rfc3339(SATURDAY + 46 * HOUR), rfc3339(SATURDAY + 47 * HOUR)]

    async def test_count_before_a_time(self, client):
        reply = await page(client, to=rfc3339(TUESDAY + 900), count=2)

        assert times(reply) == [rfc3339(TUESDAY + 300), rfc3339(TUESDAY + 600)]

    async def test_count_alone_takes_the_newest_and_the_forming_one_is_incomplete(self, client, clock):
        candles = (await page(client, count=3)).json["candles"]

        assert [candle["complete"] for candle in candles] == [True, True, False]
        assert candles[-1]["time"] == rfc3339(clock.now // 300 * 300)

    @pytest.mark.parametrize("query", [{}, {"from_": TUESDAY}, {"to": TUESDAY}], ids=["none", "from", "to"])
    async def test_five_hundred_is_the_default(self, client, query):
        assert len((await page(client, **query)).json["candles"]) == 500

    async def test_five_thousand_is_the_most(self, client):
        assert len((await page(client, count=5000)).json["candles"]) == 5000
        assert (await page(client, count=5001)).body == COUNT_EXCEEDED

    async def test_count_with_both_ends_is_refused(self, client):
        reply = await page(client, from_=TUESDAY, to=TUESDAY + HOUR, count=5)

        assert message(reply) == (400, "'count' cannot be specified when 'to' and 'from' parameters are set")


class TestRefusals:
    async def test_a_from_in_the_future_is_refused(self, client, clock):
        reply = await page(client, from_=rfc3339(clock.now + 60))

        assert (reply.status, reply.body) == (400, FROM_IN_FUTURE)

    async def test_a_to_one_second_in_the_future_is_refused(self, client, clock):
        reply = await page(client, from_=rfc3339(clock.now - HOUR), to=rfc3339(clock.now + 1))

        assert message(reply) == (400, "Invalid value specified for 'to'. Time is in the future")

    async def test_a_to_of_now_is_accepted(self, client, clock):
        assert (await page(client, from_=rfc3339(clock.now - HOUR), to=rfc3339(clock.now))).status == 200

    @pytest.mark.parametrize("name", ["NOPE_USD", "BTC_USD", "EUR-USD"])
    async def test_an_unknown_instrument_is_400_not_404(self, client, name):
        reply = await client.get(f"/v3/instruments/{name}/candles", granularity="M5")

        assert (reply.status, reply.body) == (400, INVALID_INSTRUMENT)

    async def test_an_unknown_granularity_is_refused(self, client):
        reply = await page(client, "M7")

        assert (reply.status, reply.body) == (400, INVALID_GRANULARITY)

    @pytest.mark.parametrize(
        ("name", "value"),
        [("count", "0"), ("count", "many"), ("count", "-1"), ("price", "X"), ("price", ""), ("from", "soon"),
         ("to", "1e300"), ("includeFirst", "maybe")],
    )  # fmt: skip
    async def test_an_invalid_value_is_reported(self, client, name, value):
        reply = await client.get(CANDLES, granularity="M5", **{name: value})

        assert message(reply) == (400, f"Invalid value specified for '{name}'")

    async def test_to_before_from_is_refused(self, client):
        assert (await page(client, from_=TUESDAY, to=TUESDAY - 1)).status == 400

    async def test_the_rate_limit_is_enforced(self, serving, clock):
        limit = Limit(rate_per_second=120, burst=2)
        async with serving(oanda_limit=limit, monotonic=clock) as client:
            replies = [await page(client, count=1) for _ in range(3)]

        assert [reply.status for reply in replies] == [200, 200, 429]
        assert "Rate limit violation" in replies[-1].json["message"]
        assert "Retry-After" not in replies[-1].headers

    async def test_an_unknown_path_is_refused(self, client):
        reply = await client.get("/v3/accounts")

        assert reply.status == 404
        assert "errorMessage" in reply.json


class TestCandles:
    async def test_the_default_granularity_is_s5(self, client):
        reply = await client.get(CANDLES)

        assert reply.body == b'{"instrument":"EUR_USD","granularity":"S5","candles":[]}'

    @pytest.mark.parametrize("granularity", ["S5", "M3", "H8", "W", "M"])
    async def test_a_granularity_without_candles_is_echoed_and_empty(self, client, granularity):
        reply = await page(client, granularity, count=5)

        assert reply.json == {"instrument": "EUR_USD", "granularity": granularity, "candles": []}

    @pytest.mark.parametrize(
        ("price", "parts"),
        [(None, ["mid"]), ("M", ["mid"]), ("B", ["bid"]), ("AB", ["bid", "ask"]), ("MBA", ["bid", "mid", "ask"])],
    )
    async def test_the_requested_price_components_are_served(self, client, price, parts):
        query = {} if price is None else {"price": price}
        (candle,) = (await page(client, count=1, to=TUESDAY, **query)).json["candles"]

        assert list(candle) == ["complete", "volume", "time", *parts]

    async def test_prices_are_strings_of_five_decimals_and_volume_is_an_integer(self, serving, written):
        source = written(EUR_M5, (TUESDAY, 1.1, 1.2, 1.0, 1.15, 481.0))
        async with serving(source) as client:
            reply = await page(client, from_=TUESDAY, to=TUESDAY + 300, price="MBA")

        assert reply.json["candles"] == [
            {
                "complete": True,
                "volume": 481,
                "time": "2022-03-01T00:00:00.000000000Z",
                "bid": {"o": "1.09990", "h": "1.19990", "l": "0.99990", "c": "1.14990"},
                "mid": {"o": "1.10000", "h": "1.20000", "l": "1.00000", "c": "1.15000"},
                "ask": {"o": "1.10010", "h": "1.20010", "l": "1.00010", "c": "1.15010"},
            }
        ]

    async def test_the_header_selects_unix_times(self, client):
        reply = await client.get(CANDLES, {"Accept-Datetime-Format": "UNIX"}, granularity="M5", to=TUESDAY, count=1)

        assert times(reply) == [f"{TUESDAY - 300}.000000000"]

    async def test_the_oldest_comes_first(self, client, generated):
        reply = await page(client, "H1", from_=TUESDAY, to=TUESDAY + 48 * HOUR)
        candles = generated.candles(EUR_M5.at(Timeframe.H1), TUESDAY, TUESDAY + 48 * HOUR)

        assert times(reply) == [rfc3339(time) for time in candles.times.tolist()]
        assert [float(candle["mid"]["c"]) for candle in reply.json["candles"]] == candles.prices[:, 3].tolist()

    async def test_every_response_has_a_unique_request_id(self, client):
        replies = [await page(client, count=1), await page(client, "M7"), await page(client, count=1)]

        assert len({reply.headers["RequestID"] for reply in replies}) == 3


class TestTradingDay:
    """H4 and D are counted from 17:00 New York, or from the start of the day that is asked for."""

    @pytest.mark.parametrize(
        ("sunday", "before", "after"),
        [(datetime(2022, 3, 13, tzinfo=UTC), 22, 21), (datetime(2022, 11, 6, tzinfo=UTC), 21, 22)],
        ids=["spring", "autumn"],
    )
    async def test_days_open_at_the_new_york_close_over_a_clock_change(self, client, sunday, before, after):
        start, end = int(sunday.timestamp()) - 4 * 86_400, int(sunday.timestamp()) + 4 * 86_400

        reply = await page(client, "D", from_=str(start), to=str(end))

        opened = [datetime.fromisoformat(time[:19]) for time in times(reply)]
        assert {each.hour for each in opened if each.date() < sunday.date()} == {before}
        assert {each.hour for each in opened if each.date() >= sunday.date()} == {after}
        assert [f"{each:%a}" for each in opened] == ["Tue", "Wed", "Thu", "Sun", "Mon", "Tue", "Wed"]

    async def test_days_of_utc_have_a_short_sunday(self, client):
        start = datetime(2022, 3, 6, tzinfo=UTC)
        query = {"dailyAlignment": "0", "alignmentTimezone": "UTC", "from_": str(int(start.timestamp()))}

        days = await page(client, "D", to=str(int(start.timestamp()) + 7 * 86_400), **query)

        opened = [datetime.fromisoformat(time[:19]) for time in times(days)]
        assert [f"{each:%a %H}" for each in opened] == ["Sun 00", "Mon 00", "Tue 00", "Wed 00", "Thu 00", "Fri 00"]
        sunday, *others = (candle["volume"] for candle in days.json["candles"])
        assert sunday < min(others) / 4

    async def test_a_start_inside_a_candle_begins_with_it(self, client):
        reply = await page(client, "H4", from_=rfc3339(TUESDAY), count=2)

        assert times(reply) == [rfc3339(TUESDAY - 2 * HOUR), rfc3339(TUESDAY + 2 * HOUR)]

    @pytest.mark.parametrize(
        ("name", "value"), [("dailyAlignment", "24"), ("dailyAlignment", "x"), ("alignmentTimezone", "Mars/Olympus")]
    )
    async def test_a_begin_that_is_none_is_refused(self, client, name, value):
        assert message(await page(client, "D", **{name: value})) == (400, f"Invalid value specified for '{name}'")
