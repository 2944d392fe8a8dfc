import asyncio
import json
import logging
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web

from fetcher.download.plan import pages
from fetcher.http.client import Client
from fetcher.protocol.provider import Access, Page, PageTooLarge
from fetcher.provider_registry import find
from fetcher.simulator.faults import Faults
from tradeschool.errors import (
    InvalidCandles,
    ProviderBanned,
    ProviderRejected,
    ProviderUnusable,
    ServiceUnreachable,
    TradeschoolError,
)
from tradeschool.markets.catalogue import BTC_USD, BTC_USDT, EUR_USD
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.timeframes import Timeframe
from tradeschool.markets.windows import Window

BTC = Dataset(instrument=BTC_USD, timeframe=Timeframe.M5)
EUR = Dataset(instrument=EUR_USD, timeframe=Timeframe.M5)
START = datetime(2020, 1, 6, tzinfo=UTC)
WINDOW = Window(START, START + timedelta(minutes=10))
PAGE = Page(dataset=BTC, window=WINDOW)
TOKEN = "0123secret4567-token"
ROWS = [[WINDOW.start_seconds + slot * 300, 9, 12, 10, 11, 1.5] for slot in (1, 0)]


def good() -> web.Response:
    return web.json_response(ROWS)


async def never() -> web.Response:
    await asyncio.sleep(3600)
    return good()


def answer(status: int, text: str = "", **headers: str) -> Callable[[], web.Response]:
    return lambda: web.Response(
        status=status, text=text, headers={name.replace("_", "-"): v for name, v in headers.items()}
    )


def cut() -> web.Response:
    """A truncated body whose length does not match its header."""
    return web.Response(body=b"not gzip at all", headers={"Content-Encoding": "gzip"})


@asynccontextmanager
async def client_of(access: Access, provider: str = "coinbase") -> AsyncIterator[Client]:
    async with Client(find(provider), access, jitter=lambda: 0.0) as client:
        client.bucket.pause = note_pause  # type: ignore[method-assign]
        yield client


PAUSES: list[float] = []
"""What the bucket was told, instead of waiting."""


async def note_pause(seconds: float) -> None:
    PAUSES.append(seconds)


@pytest.fixture(autouse=True)
def rested() -> None:
    PAUSES.clear()


async def test_a_page_is_requested_once(scripted, fast) -> None:
    async with scripted(good) as server, client_of(fast(server.url)) as client:
        body, candles = await client.page(PAGE)

    assert json.loads(body) == ROWS
    assert len(candles) == 2
    assert (client.traffic.requests, client.traffic.retries, client.bucket.taken) == (1, 0, 1)


@pytest.mark.parametrize(
    "failure",
    [
        answer(429, '{"message":"Public rate limit exceeded"}'),
        answer(500),
        answer(502, "<html>Bad Gateway</html>"),
        answer(503, '{"message":"maintenance"}'),
        answer(200, "<html>Attention Required!</html>"),
        answer(200, '{"message":"an error told with 200"}'),
        answer(200, json.dumps(ROWS)[:-9]),
        answer(200, json.dumps([[WINDOW.start_seconds, 9, 8, 10, 11, 1.5]])),
        cut,
        None,
    ],
    ids=["429", "500", "HTML 502", "503", "HTML 200", "error 200", "cut 200", "wrong candles", "bad gzip", "hung up"],
)
async def test_temporary_errors_are_retried(failure, scripted, fast) -> None:
    async with scripted(failure, failure, good) as server, client_of(fast(server.url)) as client:
        _, candles = await client.page(PAGE)

    assert len(candles) == 2
    assert client.bucket.taken == len(server.asked) == 3


async def test_a_ban_lasts_as_long_as_the_provider_states(scripted, fast) -> None:
    """Only Binance uses status 418 for a ban; for any other provider it is a rejection."""
    ban, klines = answer(418, '{"code":-1003,"msg":"IP banned"}', Retry_After="120"), answer(200, "[]")
    page = Page(dataset=Dataset(instrument=BTC_USDT, timeframe=Timeframe.M5), window=WINDOW)
    async with (
        scripted(ban, klines) as server,
        client_of(fast(server.url, patience_seconds=300.0), "binance") as client,
    ):
        await client.page(page)
    assert PAUSES == [120.0]

    async with scripted(ban) as server, client_of(fast(server.url)) as client:
        with pytest.raises(ProviderRejected, match="coinbase answered 418"):
            await client.page(PAGE)


async def test_a_retry_after_of_days_fails_at_once(scripted, fast) -> None:
    """A ban may last three days."""
    async with (
        scripted(answer(429, Retry_After="259200")) as server,
        client_of(fast(server.url, patience_seconds=300.0)) as client,
    ):
        with pytest.raises(ProviderBanned, match=r"asks for a pause of 259200 s \(.*status 429"):
            await client.page(PAGE)

        assert len(server.asked) == 1


async def test_every_attempt_takes_a_rate_limit_token(scripted, fast) -> None:
    async with scripted(None, answer(503), None, good) as server, client_of(fast(server.url)) as client:
        await client.page(PAGE)
        await client.page(PAGE)

        assert client.bucket.taken == client.traffic.requests == len(server.asked)


@pytest.mark.parametrize(
    ("failure", "error", "told"),
    [
        (answer(400, '{"message":"Unsupported granularity"}'), ProviderRejected, "coinbase answered 400: Unsupported"),
        (answer(403, "<html>blocked</html>"), ProviderRejected, "coinbase answered 403: <html>blocked"),
        (answer(404, '{"message":"NotFound"}'), ProviderRejected, "coinbase answered 404: NotFound"),
        (answer(302, Location="/elsewhere"), ProviderRejected, "coinbase answered 302"),
        (answer(400, '{"message":"Count of aggregations requested exceeds 300"}'), PageTooLarge, "exceeds 300"),
    ],
    ids=["400", "403", "404", "redirect", "too large"],
)
async def test_a_refusal_is_not_retried(failure, error: type[TradeschoolError], told: str, scripted, fast) -> None:
    async with scripted(failure) as server, client_of(fast(server.url)) as client:
        with pytest.raises(error, match=told):
            await client.page(PAGE)

        assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("failure", "error", "attempts"),
    [
        (answer(401, '{"errorMessage":"Insufficient authorization to perform request."}'), ProviderRejected, 2),
        (answer(200, "<html>Attention Required!</html>"), ProviderUnusable, 6),
        (answer(200, json.dumps([[WINDOW.start_seconds, 9, 8, 10, 11, 1.5]])), InvalidCandles, 6),
    ],
    ids=["401", "HTML 200", "wrong candles"],
)
async def test_a_persistent_error_ends_after_the_maximum_of_attempts(
    failure, error: type[TradeschoolError], attempts: int, scripted, fast
) -> None:
    async with scripted(failure) as server, client_of(fast(server.url)) as client:
        with pytest.raises(error, match=r"^coinbase/BTC-USD/M5") as caught:
            await client.page(PAGE)

        assert len(server.asked) == attempts
    assert "\n" not in str(caught.value)


async def test_a_401_that_disappears_on_retry_is_ignored(scripted, fast) -> None:
    async with scripted(answer(401), good) as server, client_of(fast(server.url)) as client:
        assert len((await client.page(PAGE))[1]) == 2


@pytest.mark.parametrize("failure", [answer(503), answer(429), None], ids=["503", "429", "hung up"])
async def test_retries_end_after_the_maximum_wait(failure, scripted, fast) -> None:
    async with scripted(failure) as server, client_of(fast(server.url, patience_seconds=0.05)) as client:
        with pytest.raises(
            ServiceUnreachable, match=r"^coinbase at http://127\.0\.0\.1:\d+ does not respond \(coinbase/"
        ):
            await client.page(PAGE)


async def test_the_maximum_wait_counts_from_the_first_failure(scripted, fast) -> None:
    """Time spent on a token or a slow response does not count."""
    async with scripted(None, good) as server, client_of(fast(server.url, patience_seconds=0.05)) as client:
        held = client.bucket.acquire

        async def slowly() -> int:
            await asyncio.sleep(0.1)
            return await held()

        client.bucket.acquire = slowly  # type: ignore[method-assign]
        assert len((await client.page(PAGE))[1]) == 2


async def test_a_refused_connection_is_reported(fast) -> None:
    async with client_of(fast("http://127.0.0.1:9", patience_seconds=0.01)) as client:
        with pytest.raises(
            ServiceUnreachable, match=r"coinbase at http://127\.0\.0\.1:9 does not respond .*check the network"
        ):
            await client.page(PAGE)


async def test_a_slow_response_times_out_and_is_retried(scripted, fast) -> None:
    async with scripted(never, good) as server:
        async with client_of(fast(server.url, total_timeout_seconds=1.0, patience_seconds=60.0)) as client:
            assert len((await client.page(PAGE))[1]) == 2

        assert client.traffic.retries == len(server.asked) - 1 >= 1


@pytest.mark.parametrize(
    ("header", "pause"),
    [({"Retry_After": "7"}, 7.0), ({}, 0.125), ({"Retry_After": "Wed, 21 Oct 2026 07:28:00 GMT"}, 0.125)]
    + [({"Retry_After": value}, 0.125) for value in ("inf", "nan", "-5", "")],
    ids=["7 s", "none", "date", "infinite", "no number", "negative", "empty"],
)
async def test_a_retry_after_header_pauses_all_requests(header: dict[str, str], pause: float, scripted, fast) -> None:
    async with scripted(answer(429, **header), good) as server, client_of(fast(server.url)) as client:
        await client.page(PAGE)

    assert [pause] == PAUSES


async def test_pauses_grow_to_two_seconds_and_reset_after_a_response(scripted, fast) -> None:
    failures = [answer(503)] * 6
    async with (
        scripted(*failures, good, answer(503), good) as server,
        client_of(fast(server.url, patience_seconds=60)) as client,
    ):
        await client.page(PAGE)
        await client.page(PAGE)

    assert [2 * pause for pause in PAUSES] == [0.25, 0.5, 1.0, 2.0, 2.0, 2.0, 0.25]


async def test_a_recent_page_is_requested_without_cache(scripted, fast) -> None:
    async with scripted(good) as server, client_of(fast(server.url)) as client:
        await client.page(PAGE)
        await client.page(PAGE, fresh=True)

        assert [request.headers.get("Cache-Control") for request in server.asked] == [None, "no-cache"]


async def test_requests_carry_a_user_agent(scripted, fast) -> None:
    async with scripted(good) as server, client_of(fast(server.url)) as client:
        await client.page(PAGE)

        assert server.asked[0].headers["User-Agent"].startswith("tradeschool/")
        assert server.asked[0].headers["Accept-Encoding"] == "gzip"


async def test_an_instrument_is_probed_once(scripted, fast) -> None:
    async with scripted(answer(200, "{}")) as server, client_of(fast(server.url)) as client:
        await client.probe(BTC)
        await client.probe(BTC.at(Timeframe.H1))

        assert [request.path for request in server.asked] == ["/products/BTC-USD"]


@pytest.mark.parametrize("failure", [answer(401), answer(429), answer(503), answer(400), None, answer(200, "<html>")])
async def test_the_token_appears_in_no_log_and_no_error(
    failure, scripted, fast, caplog: pytest.LogCaptureFixture
) -> None:
    """Includes aiohttp's messages and tracebacks."""
    caplog.set_level(logging.DEBUG)
    page = Page(dataset=EUR, window=WINDOW)
    async with (
        scripted(failure) as server,
        client_of(fast(server.url, token=TOKEN, patience_seconds=0.02), "oanda") as client,
    ):
        with pytest.raises(TradeschoolError) as caught:
            await client.page(page)
        assert server.asked[0].headers["Authorization"] == f"Bearer {TOKEN}"

    told = "".join(traceback.format_exception(caught.value)) + caplog.text + repr(client.access) + repr(caught.value)
    told += "".join(str(vars(record)) for record in caplog.records)
    assert TOKEN not in told


def in_a_second(moments: list[float], seconds: float = 1.0) -> int:
    """The maximum number of requests in any second, or in another interval."""
    return max(sum(first <= other < first + seconds for other in moments) for first in moments)


class Clock:
    """Clock that advances only by sleeps, plus one microsecond, like a timer that is never early."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds + 1e-6
        await asyncio.sleep(0)


def by(clock: Clock, client: Client) -> Client:
    """A client that uses the clock of the test."""
    client.bucket._clock, client.bucket._sleep = clock, clock.sleep
    client.bucket._due = client.bucket._interval
    return client


def note_sends(client: Client) -> list[float]:
    """Send times from the bucket, because arrival times depend on machine and network."""
    bucket, moments, sent = client.bucket, [], client.bucket.sent

    def note(token: int) -> None:
        before = len(bucket._task_logs)
        sent(token)
        if len(bucket._task_logs) > before:
            moments.append(bucket._task_logs[-1])

    bucket.sent = note  # type: ignore[method-assign]
    return moments


async def download(client: Client, todo: list[Page]) -> None:
    """Request all pages with the concurrency of a provider task."""
    waiting = iter(todo)

    async def work() -> None:
        for page in waiting:
            await client.page(page)

    await asyncio.gather(*(work() for _ in range(client.provider.connections)))


async def test_no_second_exceeds_the_default_limit(serving, fast) -> None:
    """Both limits at once, each with a clock that only waits advance; every request took a token."""
    two_months = Window(START, START + timedelta(days=60))
    async with (
        serving(faults=Faults.parse("latency=0-5")) as server,
        Client(find("coinbase"), fast(server.url, rate=3.0)) as coinbase,
        Client(find("oanda"), fast(server.url, rate=2.0)) as oanda,
    ):
        sends = {"coinbase": note_sends(by(Clock(), coinbase)), "oanda": note_sends(by(Clock(), oanda))}
        await asyncio.gather(
            download(coinbase, pages(BTC, two_months, [], 100)[:18]),
            download(oanda, pages(EUR, two_months, [], 100)[:12]),
        )
        seen = [each.protocol for each in server.requests]

    for name, limit in (("coinbase", 3), ("oanda", 2)):
        assert in_a_second(sends[name]) == limit
    assert coinbase.bucket.taken == coinbase.traffic.requests == seen.count("coinbase") == len(sends["coinbase"]) == 18
    assert oanda.bucket.taken == oanda.traffic.requests == seen.count("oanda") == len(sends["oanda"]) == 12


@pytest.mark.parametrize("dataset", [BTC, EUR], ids=["coinbase", "oanda"])
async def test_requests_on_cut_connections_take_a_token(dataset: Dataset, serving, fast) -> None:
    """Includes requests that aiohttp repeats when a kept-alive connection is closed."""
    provider = find(dataset.instrument.provider)
    todo = pages(dataset, Window(START, START + timedelta(days=60)), [], 100)[:60]
    async with serving(faults=Faults.parse("cut=0.3")) as server:
        async with Client(provider, fast(server.url, patience_seconds=30.0), jitter=lambda: 0.0) as client:
            client.bucket.pause = note_pause  # type: ignore[method-assign]
            await download(client, todo)
        seen = len(server.requests)

    assert client.bucket.taken == client.traffic.requests == seen
    assert seen > len(todo)


async def test_a_limit_of_one_does_not_deadlock(scripted, fast) -> None:
    """When a kept-alive connection drops, the same request needs a second token."""
    async with (
        scripted(good, None, good) as server,
        client_of(fast(server.url, rate=1.9)) as client,
        asyncio.timeout(60),
    ):
        await client.page(PAGE)
        await client.page(PAGE)

        assert client.traffic.retries == 0
        assert client.bucket.taken == len(server.asked) == 3
