"""Shared rate limit of several buckets."""

import asyncio
from itertools import pairwise

import pytest
import redis

from fetcher.http.rate_limiter import MARGIN
from fetcher.http.shared_rate_limiter import SharedTokenBucket
from fetcher.locks import exclusive, of_provider
from tradeschool.embedded_valkey.server import EmbeddedValkey
from tradeschool.errors import ServiceUnreachable

RATE = 30


class Clock:
    """Clock that advances only by sleeps."""

    def __init__(self) -> None:
        self.slept = 0.0

    def __call__(self) -> float:
        return self.slept

    async def sleep(self, seconds: float) -> None:
        self.slept += seconds


def bucket_at(url: str, clock: Clock) -> SharedTokenBucket:
    return SharedTokenBucket(RATE, url=url, name="x", clock=clock, sleep=clock.sleep)


async def moment_of(bucket: SharedTokenBucket) -> int:
    """The time slot that Redis reserves for a bucket's next request, in microseconds."""
    bucket.sent(await bucket.acquire())
    return int(await bucket._redis.get(bucket._key)) - bucket._microseconds


async def now_at(bucket: SharedTokenBucket) -> float:
    """Time of the Redis clock in seconds."""
    seconds, microseconds = await bucket._redis.time()
    return float(seconds) + float(microseconds) / 1_000_000


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A Valkey that several tests share, one limit after the other."""
    with EmbeddedValkey.of(tmp_path_factory.mktemp("shared")).running() as valkey:
        yield valkey.url


async def test_three_buckets_share_one_limit(server) -> None:
    """Time slots of all buckets are one interval apart."""
    buckets = [bucket_at(server, Clock()) for _ in range(3)]
    moments = [await moment_of(bucket) for _ in range(20) for bucket in buckets]
    for bucket in buckets:
        await bucket.close()

    pace = round(1_000_000 * (1 + MARGIN) / RATE)
    assert len(moments) == 60
    assert all(after - before >= pace for before, after in pairwise(moments))


async def test_a_pause_of_one_bucket_pauses_the_others(server) -> None:
    """A pause of one fetcher applies to all that share its limit."""
    clock = Clock()
    one, other = bucket_at(server, Clock()), bucket_at(server, clock)
    begun = await now_at(one)
    await one.pause(1800.0)  # a stored moment more than an hour ahead would count for nothing
    other.sent(await other.acquire())
    ended = await now_at(one) + clock.slept
    await one.pause(0.05)  # a shorter one changes nothing
    moment = await moment_of(other)
    for bucket in (one, other):
        await bucket.close()

    assert ended - begun >= 1800.0
    assert moment / 1_000_000 - begun >= 1800.0


@pytest.mark.parametrize("stored", ["9e18", "-9e18", "nan", "inf", "9" * 400, b"\xff", ["of another type"]])
async def test_an_invalid_stored_time_is_ignored(server, stored: str | bytes | list[str]) -> None:
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


async def test_no_request_is_made_without_redis() -> None:
    bucket = SharedTokenBucket(RATE, url="redis://:s3cret@127.0.0.1:9", name="x")

    with pytest.raises(ServiceUnreachable, match=r"fetch\.shared_limit requires Redis") as caught:
        await bucket.acquire()

    await bucket.close()
    assert "s3cret" not in str(caught.value)


async def test_a_second_fetcher_of_a_provider_waits_and_logs_it(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    order: list[str] = []
    waits = asyncio.Event()

    def wait(name: str) -> None:
        order.append(f"{name} waits")
        waits.set()

    async def fetcher(name: str) -> None:
        async with exclusive(of_provider("coinbase", "http://x"), lambda: wait(name)):
            order.append(f"{name} asks")
            await waits.wait()
            order.append(f"{name} ends")

    await asyncio.gather(fetcher("first"), fetcher("second"))

    assert order == ["first asks", "second waits", "first ends", "second asks", "second ends"]
