"""ccxt's own loop over one pair: fetch_ohlcv, page after page, at a rate. Runs in the peer's environment."""

import asyncio
import json
import sys
import time

import ccxt.async_support as ccxt

STEP_SECONDS = 300
PAGE = 300  # candles
WARM_UP = 5  # pages, not counted
BEGIN = 1_577_836_800  # 2020-01-01


async def main(url: str, rate: float, pages: int) -> None:
    """Print candles and the CPU of the loop after its warm-up."""
    exchange = ccxt.coinbaseexchange({"enableRateLimit": True, "rateLimit": 1000 / rate})
    exchange.urls["api"] = {"public": url, "private": url}
    exchange.set_markets(
        [exchange.safe_market_structure({"id": "BTC-USD", "symbol": "BTC/USD", "base": "BTC", "quote": "USD"})]
    )
    candles: list[list[float]] = []
    cpu, wall = time.process_time(), time.monotonic()
    for page in range(-WARM_UP, pages):
        if page == 0:
            candles.clear()
            cpu, wall = time.process_time(), time.monotonic()
        since = (BEGIN + (page + WARM_UP) * PAGE * STEP_SECONDS) * 1000
        candles += await exchange.fetch_ohlcv("BTC/USD", "5m", since=since, limit=PAGE)
    spent = {"cpu_seconds": time.process_time() - cpu, "wall_seconds": time.monotonic() - wall}
    await exchange.close()
    print(json.dumps({"candles": len(candles), **spent}))


asyncio.run(main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3])))
