"""What waiting costs: a hundred waiters at 3/s, of our bucket and of the library's own, without any HTTP."""

import asyncio
import itertools
import json
import sys
import time

from asyncio_throttle import Throttler

from fetcher.http.rate_limiter import TokenBucket

WAITERS = 100
RATE = 3


async def ours(bucket: TokenBucket, taken: list[int]) -> None:
    """Take tokens for ever, and note in which order."""
    while True:
        token = await bucket.acquire()
        taken.append(token)
        bucket.sent(token)


async def stock(throttler: Throttler) -> None:
    """The same with the library as it is."""
    while True:
        async with throttler:
            pass


async def cpu_a_second(tasks: list[asyncio.Task[None]], seconds: float) -> float:
    """Milliseconds of CPU a second of waiting."""
    await asyncio.sleep(0.5)
    before = time.process_time()
    await asyncio.sleep(seconds)
    spent = time.process_time() - before
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return spent / seconds * 1000


async def main(seconds: float) -> None:
    """Print both, and how often a later token came first."""
    bucket, taken = TokenBucket(RATE), []
    spent = await cpu_a_second([asyncio.create_task(ours(bucket, taken)) for _ in range(WAITERS)], seconds)
    throttler = Throttler(rate_limit=RATE)
    peer = await cpu_a_second([asyncio.create_task(stock(throttler)) for _ in range(WAITERS)], seconds)
    inversions = sum(later < earlier for earlier, later in itertools.pairwise(taken))
    print(json.dumps({"ours_milliseconds": spent, "stock_milliseconds": peer, "inversions": inversions}))


asyncio.run(main(float(sys.argv[1])))
