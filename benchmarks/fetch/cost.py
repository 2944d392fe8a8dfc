"""Targets 1, 5, 7, 8 and 9: what a whole plan costs, beside ccxt's loop and a download held in memory."""

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from command import Fetch, fetched_candles, parquet_bytes, sealed_candles
from loopback import Seen, exchange
from peers import CCXT, MEMORY, PROGRAMS
from process import Cost, run
from table import Row

LIMIT_RATE = 3.0  # requests a second, Coinbase's default here
LIMIT_PAGES = 30
LOOP_RATE = 60.0  # requests a second at which the machine's work outweighs the wait


@dataclass(slots=True)
class Rounds:
    """What the programs of every round cost, by program."""

    plan: list[Cost] = field(default_factory=list)
    restart: list[Cost] = field(default_factory=list)
    ours: list[Cost] = field(default_factory=list)
    ccxt: list[Cost] = field(default_factory=list)
    ours_at_the_limit: list[Cost] = field(default_factory=list)
    ccxt_at_the_limit: list[Cost] = field(default_factory=list)
    memory: list[Cost] = field(default_factory=list)


def measure(rounds: int, timerange: str | None, pages: int) -> list[Row]:
    """Rounds in which every program runs once, so that a noisy moment meets them all."""
    with exchange() as loopback, TemporaryDirectory(prefix="tradeschool-bench-") as scratch:
        plan = Fetch(url=loopback.url, folder=Path(scratch) / "drawn", timerange=timerange)
        floor = plan.floor()
        plan.run()  # the exchange draws its candles when they are first asked for
        seen = loopback.pages()
        costs = Rounds()
        for number in range(rounds):
            last = replace(plan, folder=Path(scratch) / f"plan{number}")
            costs.plan.append(last.run())
            before = len(loopback.seen())
            costs.restart.append(last.run())
            asked_again = len(loopback.seen()) - before
            _loops(costs, loopback.url, pages, Path(scratch) / "memory.parquet")
        load = run([sys.executable, str(PROGRAMS / "load.py"), str(last.folder)], {}).said
        parquet = parquet_bytes(last.folder)
    return [
        *_requests(floor, seen),
        *_cpu(costs),
        *_loop_ratios(costs),
        *_restart(costs, asked_again),
        *_disk(costs.plan, parquet),
        *_load(load),
    ]


def _loops(costs: Rounds, url: str, pages: int, path: Path) -> None:
    slowly = (url, str(LIMIT_RATE), str(LIMIT_PAGES))
    with ThreadPoolExecutor(2) as threads:  # both wait most of the time
        ours = threads.submit(run, [sys.executable, str(PROGRAMS / "page_loop.py"), *slowly], {})
        ccxt = threads.submit(run, CCXT.command(*slowly), {"PYTHONPATH": ""})
    costs.ours_at_the_limit.append(ours.result())
    costs.ccxt_at_the_limit.append(ccxt.result())
    words = (url, str(LOOP_RATE), str(pages))
    costs.ours.append(run([sys.executable, str(PROGRAMS / "page_loop.py"), *words], {}))
    costs.ccxt.append(run(CCXT.command(*words), {"PYTHONPATH": ""}))
    costs.memory.append(run(MEMORY.command(*words, path), {"PYTHONPATH": ""}))


def _requests(floor: int, seen: list[Seen]) -> list[Row]:
    different = len({request.path + request.query for request in seen})
    return [
        Row(
            target=1,
            what="distinct pages requested / minimum of the plan",
            wanted="<= 1.01",
            reached=f"{different / floor:.3f} ({different:,} of {floor:,})",
            met=different <= 1.01 * floor,
        ),
        Row(
            target=1,
            what="pages requested again because of missing candles",
            wanted="",
            reached=f"{len(seen) - different} ({(len(seen) - different) / floor:.1%})",
        ),
    ]


def _cpu(costs: Rounds) -> list[Row]:
    fetched, sealed = fetched_candles(costs.plan[0]), sealed_candles(costs.plan[0])
    spent = median(cost.cpu_seconds for cost in costs.plan)
    idle = median(cost.cpu_seconds for cost in costs.restart)
    a_million = spent / fetched * 1e6
    return [
        Row(
            target=5,
            what="CPU per million fetched candles, whole command including fsync and start-up",
            wanted="<= 4.5 s",
            reached=f"{a_million:.1f} s ({spent:.1f} s for {fetched:,})",
            met=a_million <= 4.5,
        ),
        Row(
            target=5,
            what="the same per million sealed candles, including derived ones",
            wanted="",
            reached=f"{spent / sealed * 1e6:.1f} s",
        ),
        Row(
            target=5,
            what="the same per million fetched candles, without start-up",
            wanted="",
            reached=f"{(spent - idle) / fetched * 1e6:.1f} s (start: {idle:.1f} s)",
        ),
    ]


def _loop_ratios(costs: Rounds) -> list[Row]:
    pairs = list(zip(costs.ours, costs.ccxt, strict=True))
    limit_ratio, limit_told = _cpu_ratio(costs.ours_at_the_limit, costs.ccxt_at_the_limit)
    slower = median(peer.said["wall_seconds"] / ours.said["wall_seconds"] for ours, peer in pairs)
    whole = median(cost.cpu_seconds / cost.said["candles"] for cost in costs.memory) * 1e6
    return [
        Row(
            target=5,
            what=f"CPU to fetch, decode and check / ccxt's fetch loop, both limited to {LIMIT_RATE:.0f} requests/s",
            wanted="<= 0.25",
            reached=limit_told,
            met=limit_ratio <= 0.25,
        ),
        Row(
            target=5,
            what=f"the same, both limited to {LOOP_RATE:.0f} requests/s",
            wanted="",
            reached=_cpu_ratio(costs.ours, costs.ccxt)[1],
        ),
        Row(
            target=5,
            what=f"time of ccxt's loop / ours, both limited to {LOOP_RATE:.0f} requests/s",
            wanted="",
            reached=f"{slower:.2f}",
        ),
        Row(
            target=5,
            what="CPU per million candles of an in-memory download of one pair, whole program",
            wanted="",
            reached=f"{whole:.1f} s ({costs.memory[0].said['candles']:,} candles)",
        ),
    ]


def _cpu_ratio(ours: list[Cost], ccxt: list[Cost]) -> tuple[float, str]:
    """Of processor seconds, as a number and with both sides' seconds a million candles."""
    ratio = median(one.said["cpu_seconds"] / peer.said["cpu_seconds"] for one, peer in zip(ours, ccxt, strict=True))
    a_million = [
        median(cost.said["cpu_seconds"] / cost.said["candles"] for cost in each) * 1e6 for each in (ours, ccxt)
    ]
    return ratio, f"{ratio:.2f} ({a_million[0]:.1f} s and {a_million[1]:.1f} s a million)"


def _restart(costs: Rounds, asked: int) -> list[Row]:
    seconds = median(cost.wall_seconds for cost in costs.restart)
    return [
        Row(
            target=6,
            what="restart of a finished download: time and requests",
            wanted="< 0.5 s, 0",
            reached=f"{seconds:.2f} s, {asked}",
            met=seconds < 0.5 and asked == 0,
        )
    ]


def _disk(plans: list[Cost], parquet: int) -> list[Row]:
    written = median(cost.written_bytes for cost in plans) / parquet
    megabytes = median(cost.peak_megabytes for cost in plans)
    a_candle = parquet / sealed_candles(plans[0])
    return [
        Row(
            target=7,
            what="bytes written / size of the final parquet (/proc/pid/io)",
            wanted="<= 6",
            reached=f"{written:.1f} ({parquet / 1e6:.1f} MB of parquet)",
            met=written <= 6,
        ),
        Row(target=8, what="peak memory", wanted="<= 250 MB", reached=f"{megabytes:.0f} MB", met=megabytes <= 250),
        Row(target=9, what="bytes per candle", wanted="<= 25", reached=f"{a_candle:.1f}", met=a_candle <= 25),
    ]


def _load(load: dict[str, float]) -> list[Row]:
    first, second = load["first_seconds"], load["second_seconds"]
    return [
        Row(
            target=9,
            what=f"a worker loads all {load['ranges']:.0f} ranges, first worker of a machine",
            wanted="<= 0.5 s",
            reached=f"{first * 1000:.0f} ms",
            met=first <= 0.5,
        ),
        Row(
            target=9,
            what="the same for every other worker",
            wanted="<= 20 ms",
            reached=f"{second * 1000:.0f} ms",
            met=second <= 0.02,
        ),
    ]
