import asyncio
import heapq
import math
from collections.abc import Coroutine
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fetcher.http.rate_limiter import BURST, MARGIN, TokenBucket

ROUNDING = 1e-9  # seconds


class Clock:
    """Clock that advances to the earliest wake-up when all tasks sleep."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._sleepers: list[tuple[float, int, asyncio.Event]] = []
        self._count = 0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.Event()
        self._count += 1
        heapq.heappush(self._sleepers, (self.now + max(seconds, ROUNDING), self._count, woken))
        await woken.wait()

    async def run(self, *work: Coroutine[Any, Any, None]) -> None:
        """Run all coroutines and advance the clock whenever none can continue."""
        tasks = [asyncio.create_task(each) for each in work]
        while not all(task.done() for task in tasks):
            for _ in range(8):
                await asyncio.sleep(0)
            if self._sleepers:
                self.now, _, woken = heapq.heappop(self._sleepers)
                woken.set()
        await asyncio.gather(*tasks)


def bucket_of(rate: float, clock: Clock) -> TokenBucket:
    return TokenBucket(rate, clock=clock, sleep=clock.sleep)


async def sends(rate: float, delays: list[tuple[float, float]]) -> tuple[TokenBucket, list[float]]:
    """Send times of requests; each starts after a delay and is sent after another."""
    clock, sent = Clock(), []
    bucket = bucket_of(rate, clock)

    async def request(begins: float, travels: float) -> None:
        await clock.sleep(begins)
        token = await bucket.acquire()
        await clock.sleep(travels)
        sent.append(clock())
        bucket.sent(token)

    await clock.run(*(request(*delay) for delay in delays))
    return bucket, sorted(sent)


DELAYS = st.lists(st.tuples(st.floats(0, 5), st.floats(0, 3)), min_size=1, max_size=25)


@given(st.sampled_from([0.5, 1.0, 2.0, 2.5, 3.0, 10.0]), DELAYS)
@settings(deadline=None, max_examples=40)
def test_no_window_exceeds_the_limit(rate: float, delays: list) -> None:
    """Independent of the time between taking a token and sending the request."""
    bucket, sent = asyncio.run(sends(rate, delays))
    limit = max(1, math.floor(rate))

    assert len(sent) == len(delays) == bucket.taken
    assert all(later - earlier >= bucket.period - ROUNDING for earlier, later in zip(sent, sent[limit:], strict=False))


@given(st.sampled_from([0.5, 2.0, 3.0, 10.0]))
def test_a_new_bucket_keeps_an_even_pace(rate: float) -> None:
    _, sent = asyncio.run(sends(rate, [(0.0, 0.0)] * 12))
    gaps = [later - earlier for earlier, later in pairwise(sent)]

    assert gaps == pytest.approx([(1 + MARGIN) / rate] * 11)


async def test_an_idle_bucket_allows_a_small_burst() -> None:
    _, sent = await sends(10.0, [(100.0, 0.0)] * 4)

    assert [time - sent[0] for time in sent[:BURST]] == [0.0] * BURST
    assert sent[BURST] - sent[0] == pytest.approx((1 + MARGIN) / 10)


async def test_waiting_requests_are_served_in_order() -> None:
    clock, served = Clock(), []
    bucket = bucket_of(3.0, clock)

    async def request(number: int) -> None:
        bucket.sent(await bucket.acquire())
        served.append(number)

    await clock.run(*(request(number) for number in range(20)))

    assert served == list(range(20))


async def test_a_pause_stops_all_requests() -> None:
    clock, times = Clock(), []
    bucket = bucket_of(3.0, clock)

    async def request() -> None:
        bucket.sent(await bucket.acquire())
        times.append(clock())

    await bucket.pause(30.0)
    await clock.run(*(request() for _ in range(3)))

    assert times[0] == pytest.approx(1030.0)


async def test_a_pause_can_begin_while_a_request_waits() -> None:
    clock, times = Clock(), []
    bucket = bucket_of(1.0, clock)

    async def request() -> None:
        bucket.sent(await bucket.acquire())
        times.append(clock())

    async def pausing() -> None:
        await clock.sleep(0.5)
        await bucket.pause(10.0)

    await clock.run(request(), request(), pausing())

    assert times == pytest.approx([1000.0, 1010.5])


async def test_a_pause_is_never_shortened() -> None:
    clock, times = Clock(), []
    bucket = bucket_of(3.0, clock)

    async def request() -> None:
        bucket.sent(await bucket.acquire())
        times.append(clock())

    await bucket.pause(5.0)
    await bucket.pause(1.0)
    await clock.run(request())

    assert times == pytest.approx([1005.0])


async def test_an_unsent_token_counts_until_it_is_sent() -> None:
    clock, times = Clock(), []
    bucket = bucket_of(1.0, clock)

    async def slow() -> None:
        token = await bucket.acquire()
        await clock.sleep(60.0)
        bucket.sent(token)

    async def next_one() -> None:
        bucket.sent(await bucket.acquire())
        times.append(clock())

    await clock.run(slow(), next_one())

    assert times == pytest.approx([1060.0 + 1 + MARGIN])


async def test_marking_a_token_as_sent_is_idempotent() -> None:
    clock, times = Clock(), []
    bucket = bucket_of(3.0, clock)

    async def request() -> None:
        token = await bucket.acquire()
        for _ in range(5):
            bucket.sent(token)
        times.append(clock())

    await clock.run(*(request() for _ in range(3)))

    assert times[-1] - times[0] == pytest.approx(2 * (1 + MARGIN) / 3)


async def test_a_cancelled_wait_blocks_no_other_request() -> None:
    clock = Clock()
    bucket = bucket_of(1.0, clock)
    bucket.sent(await bucket.acquire())
    waiting = asyncio.create_task(bucket.acquire())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)

    async def request() -> None:
        bucket.sent(await bucket.acquire())

    await clock.run(request())

    assert bucket.taken == 2
