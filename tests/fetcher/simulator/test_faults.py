import asyncio
import errno
import json
from collections import Counter
from datetime import UTC, datetime
from itertools import pairwise

import aiohttp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetcher.simulator.candles.source import SimulatedCandles
from fetcher.simulator.faults import EXAMPLE, Fault, FaultDraw, FaultInjector, Faults, failure_status
from tradeschool.errors import SettingsError

CANDLES = "/products/BTC-USD/candles"
HOURS = "/v3/instruments/EUR_USD/candles"
MIDNIGHT = int(datetime(2022, 3, 1, tzinfo=UTC).timestamp())
PAGE = {"start": MIDNIGHT, "end": MIDNIGHT + 299 * 300, "granularity": 300}


def run_status():
    return 100.0


def fates(text, seed=0, monotonic=run_status):
    return FaultInjector(Faults.parse(text), seed, monotonic)


def drawn(text, n_requests, seed=0):
    """The fault of each of many different requests."""
    drawing = fates(text, seed)
    return [drawing.draw(f"/candles?{n}", is_for_candles=True).fault for n in range(n_requests)]


class TestParse:
    def test_every_key_is_read_in_its_unit(self):
        assert Faults.parse(EXAMPLE) == Faults(
            shares={
                Fault.TOO_MANY: 0.02,
                Fault.FAILURE: 0.01,
                Fault.HTML: 0.01,
                Fault.CUT: 0.01,
                Fault.SLOW: 0.01,
                Fault.EMPTY: 0.05,
                Fault.DUPLICATE: 0.05,
            },
            latency_seconds=(0.08, 0.25),
            outage_from_seconds=60.0,
            outage_seconds=30.0,
        )

    @pytest.mark.parametrize("text", ["", " ", ","])
    def test_an_empty_option_means_no_fault(self, text):
        assert Faults.parse(text) == Faults()

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("4x9=0.1", "unknown key '4x9'"),
            ("429", "'429': expected key=value"),
            ("429=0.1,429=0.2", "'429' is given twice"),
            ("5xx=often", "5xx: expected a fraction from 0 to 1, such as 5xx=0.02, was 'often'"),
            ("html=1.5", "html: expected a fraction from 0 to 1, was '1.5'"),
            ("cut=-0.1", "cut: expected a fraction"),
            ("empty=nan", "empty: expected a fraction"),
            ("429=0.6,cut=0.6", "the shares of 429, cut add up to more than 1"),
            ("latency=80", "latency: expected milliseconds such as latency=80-250, was ''"),
            ("latency=250-80", "latency: 250 is more than 80"),
            ("outage=60-30", "outage: expected seconds such as outage=60+30, was '60-30'"),
        ],
    )
    def test_an_invalid_option_is_reported(self, text, message):
        with pytest.raises(SettingsError) as raised:
            Faults.parse(text)

        assert message in str(raised.value)


class TestFaultAssignment:
    def test_fault_shares_are_met(self):
        counts = Counter(drawn("429=0.1,5xx=0.2,duplicate=0.3", 4000))

        assert counts[Fault.TOO_MANY] / 4000 == pytest.approx(0.1, abs=0.02)
        assert counts[Fault.FAILURE] / 4000 == pytest.approx(0.2, abs=0.02)
        assert counts[Fault.DUPLICATE] / 4000 == pytest.approx(0.3, abs=0.02)
        assert counts[Fault.NONE] / 4000 == pytest.approx(0.4, abs=0.02)

    def test_the_same_seed_assigns_the_same_faults(self):
        assert drawn(EXAMPLE, 300, seed=5) == drawn(EXAMPLE, 300, seed=5)
        assert drawn(EXAMPLE, 300, seed=5) != drawn(EXAMPLE, 300, seed=6)

    def test_the_request_order_does_not_change_the_faults(self):
        """Concurrent requests may arrive in any order; a run is still reproducible."""
        forward, backward = fates(EXAMPLE), fates(EXAMPLE)
        requests = [f"/candles?{n}" for n in range(200)]

        there = {request: forward.draw(request, is_for_candles=True) for request in requests}
        back = {request: backward.draw(request, is_for_candles=True) for request in reversed(requests)}

        assert there == back

    @given(seed=st.integers(0, 10_000), share=st.floats(0.3, 1.0))
    def test_a_false_empty_is_never_given_twice_in_a_row(self, seed, share):
        drawing = fates(f"empty={share}", seed)
        sights = [drawing.draw("/candles?same", is_for_candles=True).fault for _ in range(20)]

        assert (Fault.EMPTY, Fault.EMPTY) not in list(pairwise(sights))

    @given(seed=st.integers(0, 1000))
    def test_a_true_response_follows_each_false_empty_page(self, seed):
        drawing = fates("empty=0.6,429=0.3", seed)
        sights = [drawing.draw("/candles?same", is_for_candles=True).fault for _ in range(40)]
        answers = [fault for fault in sights if fault is not Fault.TOO_MANY]

        assert (Fault.EMPTY, Fault.EMPTY) not in list(pairwise(answers))

    def test_only_candle_requests_can_be_empty_or_doubled(self):
        drawing = fates("empty=0.5,duplicate=0.5")
        faults = {drawing.draw(f"/time?{n}", is_for_candles=False).fault for n in range(50)}

        assert faults == {Fault.NONE}

    def test_latency_lies_in_its_range(self):
        drawing = fates("latency=80-250")
        delays = [drawing.draw(f"/time?{n}", is_for_candles=False).delay_seconds for n in range(500)]

        assert min(delays) >= 0.08
        assert max(delays) <= 0.25
        assert np.std(delays) > 0.03

    def test_every_server_error_status_occurs(self):
        assert {failure_status(chance) for chance in np.arange(0, 1, 0.01)} == {500, 502, 503, 504}

    @given(chance=st.floats(0, 1, exclude_max=True), n_rows=st.integers(0, 5))
    def test_a_doubled_page_repeats_one_row(self, chance, n_rows):
        times = np.arange(n_rows, dtype=np.int64)
        candles = SimulatedCandles(times=times, prices=np.ones((n_rows, 4)), volumes=np.ones(n_rows))
        spoilt = FaultDraw(fault=Fault.DUPLICATE, chance=chance).corrupt(candles)

        assert len(spoilt) == (n_rows + 1 if n_rows else 0)
        assert np.unique(spoilt.times).tolist() == times.tolist()
        assert (np.diff(spoilt.times) >= 0).all()


async def answers(serving, text, n_requests=40, path=CANDLES, query=PAGE, **options):
    """Responses to many requests (None if the connection was cut) and the record of the exchange."""
    replies = []
    async with serving(faults=Faults.parse(text), **options) as client:
        for n in range(n_requests):
            try:
                replies.append(await client.get(path, n=n, **query))
            except aiohttp.ClientError:
                replies.append(None)
        return replies, client.served.requests


class TestServed:
    async def test_a_429_fault_has_the_rate_limit_body(self, serving):
        replies, _ = await answers(serving, "429=1", 2)

        assert {(reply.status, reply.body) for reply in replies} == {(429, b'{"message":"Public rate limit exceeded"}')}

    async def test_the_configured_share_of_requests_fails(self, serving):
        replies, seen = await answers(serving, "429=0.5")

        assert {reply.status for reply in replies} == {200, 429}
        assert [request.status for request in seen] == [reply.status for reply in replies]

    async def test_5xx_bodies_use_the_provider_error_format(self, serving):
        coinbase, _ = await answers(serving, "5xx=1")
        oanda, _ = await answers(serving, "5xx=1", path=HOURS, query={"granularity": "H1"})

        assert {reply.status for reply in coinbase} == {500, 502, 503, 504}
        assert {tuple(reply.json) for reply in coinbase} == {("message",)}
        assert {tuple(reply.json) for reply in oanda} == {("errorMessage",)}

    async def test_503_reports_maintenance(self, serving):
        replies, _ = await answers(serving, "5xx=1")
        (body,) = {reply.body for reply in replies if reply.status == 503}

        assert b"maintenance" in body

    async def test_html_comes_with_502_and_with_200(self, serving):
        replies, _ = await answers(serving, "html=1")

        assert {reply.status for reply in replies} == {200, 502}
        assert {reply.headers["Content-Type"] for reply in replies} == {"text/html; charset=UTF-8"}
        assert all(reply.body.startswith(b"<!DOCTYPE html>") for reply in replies)

    async def test_every_cut_connection_ends_without_a_whole_body(self, serving, caplog):
        replies, seen = await answers(serving, "cut=1")

        assert set(replies) == {None}
        assert {request.status for request in seen} == {0, 200}
        assert {request.fault for request in seen} == {"cut"}
        assert not caplog.records

    async def test_a_cut_body_ends_in_the_middle(self, serving):
        async with serving(faults=Faults.parse("cut=1")) as client:
            received = [await cut_body(client, n) for n in range(20)]

        assert {type(error) for _, _, error in received if error} == {aiohttp.ClientPayloadError}
        for announced, body, error in received:
            assert error is None or 0 < len(body) == announced // 2

    async def test_a_request_after_a_cut_succeeds(self, serving):
        replies, _ = await answers(serving, "cut=0.5")

        assert None in replies
        assert 200 in {reply.status for reply in replies if reply}

    async def test_a_slow_body_exceeds_the_read_timeout(self, serving):
        async with serving(faults=Faults.parse("slow=1")) as client:
            patience = aiohttp.ClientTimeout(total=0.5)
            async with client.session.get(CANDLES, params=PAGE) as response:
                announced = int(response.headers["Content-Length"])
                first = await response.content.readexactly(2)
            with pytest.raises(asyncio.TimeoutError):
                await (await client.session.get(CANDLES, params=PAGE, timeout=patience)).read()

        assert (len(first), announced > 1000) == (2, True)

    async def test_a_falsely_empty_page_is_full_on_retry(self, serving):
        async with serving(faults=Faults.parse("empty=1")) as client:
            pages = [len((await client.get(CANDLES, **PAGE)).json) for _ in range(4)]

        assert pages[0] == pages[2] == 0
        assert pages[1] == pages[3] > 290

    async def test_an_empty_page_of_oanda_keeps_its_echo(self, serving):
        (reply,), _ = await answers(serving, "empty=1", 1, HOURS, {"granularity": "H1"})

        assert reply.json == {"instrument": "EUR_USD", "granularity": "H1", "candles": []}

    @pytest.mark.parametrize(
        ("path", "query"), [(CANDLES, PAGE), (HOURS, {"granularity": "H1", "price": "MBA"})], ids=["coinbase", "oanda"]
    )
    async def test_a_doubled_row_follows_the_original(self, serving, path, query):
        replies, _ = await answers(serving, "duplicate=1", 3, path, query)

        for reply in replies:
            rows = [json.dumps(row) for row in (reply.json["candles"] if path == HOURS else reply.json)]
            assert len(rows) == len(set(rows)) + 1

    async def test_latency_delays_every_response(self, serving):
        slept: list[float] = []

        async def sleep(seconds: float) -> None:
            slept.append(seconds)

        async with serving(faults=Faults.parse("latency=50-60"), sleep=sleep) as client:
            for _ in range(2):
                await client.get("/time")

        assert len(slept) == 2
        assert all(0.05 <= each <= 0.06 for each in slept)

    async def test_an_outage_returns_503_for_every_request(self, serving, clock):
        async with serving(faults=Faults.parse("outage=10+5"), monotonic=clock) as client:
            statuses = []
            for seconds in (0, 9.5, 0.5, 4.75, 0.25):
                clock.now += seconds
                statuses.append(((await client.get("/time")).status, (await client.get(HOURS)).status))

        assert statuses == [(200, 200), (200, 200), (503, 503), (503, 503), (200, 200)]


async def cut_body(client, n):
    """Announced length, received bytes and the error; None without a response."""
    try:
        async with client.session.get(
            CANDLES, params={"n": n, **PAGE}, headers={"Accept-Encoding": "identity"}
        ) as response:
            body = b""
            try:
                async for chunk in response.content.iter_any():
                    body += chunk
            except aiohttp.ClientPayloadError as error:
                return int(response.headers["Content-Length"]), body, error
    except aiohttp.ClientOSError as error:
        assert error.errno == errno.ECONNRESET
        return 0, b"", None
    raise AssertionError("the body was whole")
