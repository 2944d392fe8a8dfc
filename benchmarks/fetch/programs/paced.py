"""A hundred pages asked for at once at a rate, for some seconds: what the exchange sees is what is judged."""

import asyncio
import json
import sys

from fetcher.http.client import Client
from fetcher.protocol.provider import Access, Page
from fetcher.provider_registry import find
from tradeschool.markets.catalogue import find_instrument
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.timeframes import Timeframe
from tradeschool.markets.windows import Window

WAITERS = 100
BEGIN = 1_577_836_800  # 2020-01-01
SPAN = 3600  # seconds of candles: small answers, for the pace is what is measured


async def main(url: str, pair: str, rate: float, seconds: float) -> None:
    """Keep a hundred waiting until the time is over; print the tokens taken."""
    dataset = Dataset(instrument=find_instrument(pair), timeframe=Timeframe.M5)
    numbers = iter(range(1_000_000))

    async def work(client: Client) -> None:
        while True:
            start = BEGIN + next(numbers) * SPAN
            await client.page(Page(dataset=dataset, window=Window.of_seconds(start, start + SPAN)))

    provider = find(dataset.instrument.provider)
    any_token = "any"  # noqa: S105  # the loopback exchange insists on none
    async with Client(provider, Access(url=url, rate=rate, token=any_token)) as client:
        tasks = [asyncio.create_task(work(client)) for _ in range(WAITERS)]
        await asyncio.sleep(seconds)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    print(json.dumps({"tokens": client.bucket.taken}))


asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4])))
