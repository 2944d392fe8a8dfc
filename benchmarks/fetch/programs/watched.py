"""A download in this process, watched from inside: tokens taken, and how late the event loop is."""

import asyncio
import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from fetcher.download import run_loop
from fetcher.http import client
from fetcher.http.rate_limiter import TokenBucket
from fetcher.protocol.provider import Access
from tradeschool.app.download.dataset_selection import choose
from tradeschool.store.frame_store import FrameStore

TICK = 0.01  # seconds

buckets: list[TokenBucket] = []


class Counted(TokenBucket):
    """A bucket that can be found afterwards."""

    def __init__(self, rate: float) -> None:
        super().__init__(rate)
        buckets.append(self)


async def lateness(late: list[float]) -> None:
    """How much later than asked for each sleep ends, in seconds."""
    while True:
        due = time.monotonic() + TICK
        await asyncio.sleep(TICK)
        late.append(time.monotonic() - due)


async def main(url: str, folder: str, pairs: str, timerange: str, rate: float) -> None:
    """Print tokens, lateness and candles."""
    client.TokenBucket = Counted
    late: list[float] = []
    watching = asyncio.create_task(lateness(late))
    any_token = "any"  # noqa: S105  # the loopback exchange insists on none
    access = {name: Access(url=url, rate=rate, token=any_token) for name in ("coinbase", "oanda")}
    progress = await run_loop.run(
        choose(pairs, None, timerange),
        store=FrameStore(Path(folder)),
        access=access,
        native=False,
        now=lambda: datetime.now(UTC),
    )
    watching.cancel()
    late.sort()
    print(
        json.dumps(
            {
                "tokens": sum(bucket.taken for bucket in buckets),
                "errors": [str(each.error) for each in progress if each.error],
                "worst_milliseconds": late[-1] * 1000,
                "p99_milliseconds": late[int(len(late) * 0.99)] * 1000,
            }
        )
    )


asyncio.run(main(*sys.argv[1:5], float(sys.argv[5])))
