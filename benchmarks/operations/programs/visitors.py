"""So many visitors of a page: visitors.py URL COUNT SECONDS [PATH EVERY]

Without a path each listens to `/api/stream`; with one, each asks for it every so many seconds, as a page that polls.
Prints answers, bytes, and the median time from asking to the whole answer, as JSON.
"""

import asyncio
import json
import statistics
import sys
import time

import aiohttp


async def main(url: str, count: int, seconds: float, path: str | None, every: float) -> None:
    """Visit, and print what it came to."""
    took: list[float] = []
    sizes: list[int] = []
    end = time.monotonic() + seconds

    async def listen(session: aiohttp.ClientSession) -> None:
        async with session.get(f"{url}/api/stream") as answer:
            while piece := await answer.content.readany():
                sizes.append(len(piece))

    async def poll(session: aiohttp.ClientSession, place: int) -> None:
        await asyncio.sleep(every * place / count)
        while time.monotonic() < end:
            begun = time.monotonic()
            async with session.get(url + str(path)) as answer:
                sizes.append(len(await answer.read()))
            took.append(time.monotonic() - begun)
            await asyncio.sleep(max(0.0, every - (time.monotonic() - begun)))

    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None)) as session:
        visits = [asyncio.create_task(poll(session, place) if path else listen(session)) for place in range(count)]
        await asyncio.sleep(seconds)
        for visit in visits:
            visit.cancel()
        await asyncio.gather(*visits, return_exceptions=True)
    median = statistics.median(took) if took else 0.0
    print(json.dumps({"answers": len(sizes), "bytes": sum(sizes), "median_seconds": median}))


if __name__ == "__main__":
    arguments = sys.argv[1:]
    asyncio.run(
        main(
            arguments[0],
            int(arguments[1]),
            float(arguments[2]),
            arguments[3] if len(arguments) > 3 else None,
            float(arguments[4]) if len(arguments) > 4 else 1.0,
        )
    )
