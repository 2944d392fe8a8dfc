"""Our client over the same pages: fetch, decode and check, and nothing else."""

import asyncio
import json
import sys
import time

from fetcher.http.client import Client
from fetcher.protocol.provider import Access, Page
from fetcher.provider_registry import find
from tradeschool.markets.catalogue import BTC_USD
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.timeframes import Timeframe
from tradeschool.markets.windows import Window

STEP_SECONDS = 300
PAGE = 300  # candles
WARM_UP = 5  # pages, not counted
BEGIN = 1_577_836_800  # 2020-01-01


def page(number: int) -> Page:
    """The page of that number since the beginning."""
    start = BEGIN + number * PAGE * STEP_SECONDS
    dataset = Dataset(instrument=BTC_USD, timeframe=Timeframe.M5)
    return Page(dataset=dataset, window=Window.of_seconds(start, start + PAGE * STEP_SECONDS))


async def main(url: str, rate: float, pages: int) -> None:
    """Print candles and the CPU of the loop after its warm-up."""
    async with Client(find("coinbase"), Access(url=url, rate=rate)) as client:
        for number in range(WARM_UP):
            await client.page(page(number))
        left, candles = [*range(WARM_UP, WARM_UP + pages)], []
        cpu, wall = time.process_time(), time.monotonic()

        async def work() -> None:
            while left:
                candles.append((await client.page(page(left.pop(0))))[1])

        await asyncio.gather(*(work() for _ in range(client.provider.connections)))
        spent = {"cpu_seconds": time.process_time() - cpu, "wall_seconds": time.monotonic() - wall}
    print(json.dumps({"candles": sum(len(each) for each in candles), **spent}))


asyncio.run(main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3])))
