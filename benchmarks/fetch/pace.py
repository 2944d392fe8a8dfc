"""Targets 2, 3 and 10: how near the limit, never over it, what an outage costs; all at once, for it is idle time."""

import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from command import Fetch
from loopback import Seen, exchange
from peers import PROGRAMS
from process import run
from table import Row

LIMITS = {"EUR/USD": 2.0, "BTC/USD": 3.0, "ETH/USD": 30.0}
"""Pairs, so that the log tells them apart, and the requests a second of each."""
LATENCY = "latency=80-250"
FIVE_MINUTES = "granularity=300&"
"""In the query of a page of the first pass: what is audited afterwards has longer candles."""
PAGE_SECONDS = 300 * 300  # of candles in a page of Coinbase's
COINBASE_RATE = 3.0
PLAN_PAGES = 2806
PLAN_PAIRS = 2
OUTAGE_RATE = 30.0


def measure(seconds: float) -> list[Row]:
    """Every part in a thread that waits for its program."""
    with ThreadPoolExecutor(8) as threads:
        parts = [
            threads.submit(_wall, seconds),
            threads.submit(_limits, seconds),
            threads.submit(_waiters, min(seconds / 2, 10)),
            threads.submit(_outage),
        ]
        return [row for part in parts for row in part.result()]


def _wall(seconds: float) -> list[Row]:
    with exchange(LATENCY) as loopback, TemporaryDirectory(prefix="tradeschool-bench-") as scratch:
        cost = Fetch(
            url=loopback.url,
            folder=Path(scratch),
            timerange=_range(round(seconds * COINBASE_RATE)),
            pairs="BTC/USD,GBP/USD",
            coinbase_rate=COINBASE_RATE,
            oanda_rate=2.0,
        ).run()
        pages = [seen for seen in loopback.pages() if seen.path.startswith("/products")]
    first = {seen.query: seen.arrived_seconds for seen in reversed(pages) if FIVE_MINUTES in seen.query}
    asking = max(first.values()) - min(first.values())
    besides = cost.wall_seconds - asking
    pace = (len(first) - 1) / asking / COINBASE_RATE
    projected = (PLAN_PAGES / COINBASE_RATE / pace + PLAN_PAIRS * besides) / (PLAN_PAGES / COINBASE_RATE)
    at_the_limit = len(pages) / COINBASE_RATE
    return [
        Row(
            target=2,
            what=f"wall time / (requests / rate) at 3/s with 80-250 ms latency, {len(pages)} pages, start to end",
            wanted="<= 1.05",
            reached=f"{cost.wall_seconds / at_the_limit:.3f} ({besides:.1f} s in addition to the first pass)",
            met=cost.wall_seconds <= 1.05 * at_the_limit,
        ),
        Row(
            target=2,
            what=f"the same for the plan's {PLAN_PAGES:,} pages, extrapolated from rate and overhead",
            wanted="<= 1.05",
            reached=f"{projected:.3f}",
            met=projected <= 1.05,
        ),
    ]


def _limits(seconds: float) -> list[Row]:
    with exchange() as loopback, ThreadPoolExecutor(len(LIMITS)) as threads:
        programs = [
            [sys.executable, str(PROGRAMS / "paced.py"), loopback.url, pair, str(rate), str(seconds)]
            for pair, rate in LIMITS.items()
        ]
        list(threads.map(lambda program: run(program, {}), programs))
        seen = loopback.pages()
    return [row for pair, rate in LIMITS.items() for row in _limit(rate, _of_pair(seen, pair))]


def _of_pair(seen: list[Seen], pair: str) -> list[float]:
    names = (pair.replace("/", "-"), pair.replace("/", "_"))
    return [request.arrived_seconds for request in seen if any(name in request.path for name in names)]


def _limit(rate: float, arrivals: list[float]) -> list[Row]:
    share = (len(arrivals) - 1) / (arrivals[-1] - arrivals[0]) / rate
    fullest = max(sum(first <= other < first + 1 for other in arrivals) for first in arrivals)
    return [
        Row(
            target=3,
            what=f"share of {rate:g}/s reached; maximum requests per second at the server",
            wanted=f">= 0.98, <= {rate:g}",
            reached=f"{share:.3f}, {fullest} ({len(arrivals)} requests)",
            met=share >= 0.98 and fullest <= rate,
        )
    ]


def _waiters(seconds: float) -> list[Row]:
    said = run([sys.executable, str(PROGRAMS / "waiters.py"), str(seconds)], {}).said
    return [
        Row(
            target=3,
            what="CPU per second at 3/s with 100 waiters; tokens out of order",
            wanted="<= 5 ms, 0",
            reached=f"{said['ours_milliseconds']:.1f} ms, {said['inversions']}",
            met=said["ours_milliseconds"] <= 5 and not said["inversions"],
        ),
        Row(
            target=3,
            what="the same with unmodified asyncio-throttle",
            wanted="",
            reached=f"{said['stock_milliseconds']:.1f} ms",
        ),
    ]


def _outage() -> list[Row]:
    with exchange("outage=6+4") as loopback, TemporaryDirectory(prefix="tradeschool-bench-") as scratch:
        Fetch(
            url=loopback.url,
            folder=Path(scratch),
            timerange=_range(300),
            pairs="BTC/USD",
            coinbase_rate=OUTAGE_RATE,
        ).run()
        wasted = sum(seen.fault == "outage" for seen in loopback.seen())
    return [
        Row(
            target=10,
            what="requests lost in an outage of 4 s at 30/s",
            wanted="<= 10",
            reached=f"{wasted}",
            met=0 < wasted <= 10,
        )
    ]


def _range(pages: int) -> str:
    """Whole days that take about so many pages of Coinbase's."""
    start = datetime(2020, 1, 1, tzinfo=UTC)
    return f"{start:%Y%m%d}-{start + timedelta(days=round(pages * PAGE_SECONDS / 86_400)):%Y%m%d}"
