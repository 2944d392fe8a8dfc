"""Several buckets, one limit."""

import asyncio
import time

import pytest
import redis

from fetcher.lock import exclusive, of_provider
from fetcher.shared import SharedTokenBucket
from fetcher.throttle import MARGIN
from tradeschool.embedded import Valkey
from tradeschool.errors import ServiceUnreachable

RATE = 30


@pytest.fixture
def server(tmp_path):
    with Valkey.of(tmp_path).running() as valkey:
        yield valkey.url


async def test_three_buckets_together_keep_one_limit(server) -> None:
    """However late they wake up: the sixtieth moment that Redis gives away lies fifty-nine paces after the first."""
    begun = time.monotonic()
    buckets = [SharedTokenBucket(RATE, url=server, name="x") for _ in range(3)]
    sent: list[float] = []

    async def ask(bucket: SharedTokenBucket) -> None:
        for _ in range(20):
            token = await bucket.acquire()
            sent.append(time.monotonic())
            bucket.sent(token)

    await asyncio.gather(*(ask(bucket) for bucket in buckets))
    for bucket in buckets:
        await bucket.close()

    assert len(sent) == 60
    assert max(sent) - begun >= 59 * (1 + MARGIN) / RATE


async def test_a_pause_of_one_holds_the_others(server) -> None:
    """The fetcher that is told to wait tells all who share its limit."""
    one, other = (SharedTokenBucket(RATE, url=server, name="x") for _ in range(2))
    begun = time.monotonic()
    await one.pause(0.4)
    other.sent(await other.acquire())
    waited = time.monotonic() - begun
    await one.pause(0.05)
    for bucket in (one, other):
        await bucket.close()

    assert waited >= 0.4


@pytest.mark.parametrize("stored", ["9e18", "-9e18", "nan", "inf", "9" * 400, b"\xff", ["of another type"]])
async def test_a_moment_that_no_fetcher_wrote_counts_for_nothing(server, stored: str | bytes | list[str]) -> None:
    connection = redis.Redis.from_url(server)
    key = "tradeschool:limit:x"
    connection.delete(key)
    connection.rpush(key, *stored) if isinstance(stored, list) else connection.set(key, stored)
    bucket, slept = SharedTokenBucket(RATE, url=server, name="x"), list[float]()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    bucket._sleep = sleep
    bucket.sent(await bucket.acquire())
    await bucket.pause(0.0)
    await bucket.close()
    connection.close()

    assert max(slept, default=0.0) < 1.0


async def test_without_redis_nothing_is_asked() -> None:
    bucket = SharedTokenBucket(RATE, url="redis://:s3cret@127.0.0.1:9", name="x")

    with pytest.raises(ServiceUnreachable, match=r"fetch\.shared_limit needs it") as caught:
        await bucket.acquire()

    await bucket.close()
    assert "s3cret" not in str(caught.value)


async def test_a_second_fetcher_of_a_provider_waits_and_says_so(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    order: list[str] = []

    async def fetcher(name: str) -> None:
        async with exclusive(of_provider("coinbase", "http://x"), lambda: order.append(f"{name} waits")):
            order.append(f"{name} asks")
            await asyncio.sleep(0.05)
            order.append(f"{name} ends")

    await asyncio.gather(fetcher("first"), fetcher("second"))

    assert order == ["first asks", "second waits", "first ends", "second asks", "second ends"]
