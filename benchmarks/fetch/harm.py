"""Targets 4, 6 and 8: every attempt counted, nothing lost under SIGKILL, and the event loop never held up."""

import random
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from command import Fetch, content
from loopback import Loopback, exchange
from peers import MEMORY, PROGRAMS
from process import environment, run
from table import Row

FAULTS = "429=0.03,5xx=0.03,html=0.02,cut=0.10,empty=0.02,latency=1-20"
PAIRS = "BTC/USD,EUR/USD"
IN_FLIGHT = 4 + 2  # connections to the two providers
RATE = 100.0
MEMORY_PAGES = 100


def measure(kills: int, timerange: str, watched_range: str) -> list[Row]:
    """One after the other: each wants the machine for itself."""
    return [*_tokens(timerange), *_lateness(watched_range), *_kills(kills, timerange), *_killed_in_memory()]


def _watched(loopback: Loopback, folder: str, timerange: str, rate: float) -> dict[str, float]:
    program = [sys.executable, str(PROGRAMS / "watched.py"), loopback.url, folder, PAIRS, timerange, str(rate)]
    said: dict[str, float] = run(program, {}).said
    return said


def _tokens(timerange: str) -> list[Row]:
    with exchange(FAULTS) as loopback, TemporaryDirectory(prefix="tradeschool-bench-") as scratch:
        said = _watched(loopback, scratch, timerange, RATE)
        seen = loopback.seen()
    failed = sum(request.fault not in ("none", "empty") for request in seen)
    return [
        Row(
            target=4,
            what=f"tokens taken / requests at the server, {failed} of them failed or truncated",
            wanted="= 1",
            reached=f"{said['tokens'] / len(seen):.3f} ({said['tokens']:.0f} and {len(seen)})",
            met=said["tokens"] == len(seen),
        )
    ]


def _lateness(timerange: str) -> list[Row]:
    with exchange() as loopback, TemporaryDirectory(prefix="tradeschool-bench-") as scratch:
        said = _watched(loopback, scratch, timerange, RATE)
    worst = said["worst_milliseconds"]
    return [
        Row(
            target=8,
            what="event loop delay, maximum and 99th percentile, including publishing",
            wanted="<= 50 ms",
            reached=f"{worst:.0f} ms, {said['p99_milliseconds']:.0f} ms",
            met=worst <= 50,
        )
    ]


def _kills(kills: int, timerange: str) -> list[Row]:
    chance = random.Random(7)
    with exchange("latency=5-20") as loopback, TemporaryDirectory(prefix="tradeschool-bench-") as scratch:
        plan = Fetch(
            url=loopback.url,
            folder=Path(scratch) / "whole",
            timerange=timerange,
            pairs=PAIRS,
            coinbase_rate=RATE,
            oanda_rate=20.0,
        )
        plan.run()
        once = _times(loopback, 0)
        before = len(loopback.pages())
        killed = replace(plan, folder=Path(scratch) / "killed")
        for _ in range(kills):
            _kill(killed.start(), loopback, chance.randrange(1, once.total() // kills))
        killed.run()
        again = _times(loopback, before)
        equal = content(plan.folder) == content(killed.folder)
    refetched = again.total() - once.total()
    return [
        Row(
            target=6,
            what=f"parquet and seals after {kills} SIGKILLs, compared with an undisturbed download",
            wanted="same bytes",
            reached="same bytes" if equal else "different bytes",
            met=equal,
        ),
        Row(
            target=6,
            what="pages requested again after those kills",
            wanted=f"<= {IN_FLIGHT} a kill",
            reached=f"{refetched} ({refetched / kills:.1f} a kill)",
            met=refetched <= kills * IN_FLIGHT,
        ),
    ]


def _killed_in_memory() -> list[Row]:
    """What one kill half-way costs a download that is written at the end."""
    with exchange() as loopback, TemporaryDirectory(prefix="tradeschool-bench-") as scratch:
        command = MEMORY.command(loopback.url, RATE, MEMORY_PAGES, Path(scratch) / "pair.parquet")
        process = subprocess.Popen(command, env=environment({"PYTHONPATH": ""}))
        _kill(process, loopback, MEMORY_PAGES // 2)
        killed_after = len(loopback.pages())
        run(command, {"PYTHONPATH": ""})
        refetched = len(loopback.pages()) - MEMORY_PAGES
    return [
        Row(
            target=6,
            what="the same of an in-memory download of one pair, after one kill",
            wanted="",
            reached=f"{refetched} of {killed_after}",
        )
    ]


def _times(loopback: Loopback, first: int) -> Counter[str]:
    return Counter(request.path + request.query for request in loopback.pages()[first:])


def _kill(process: subprocess.Popen[bytes], loopback: Loopback, after: int) -> None:
    """Kill it when so many more pages were asked for, or when it is done."""
    goal = len(loopback.pages()) + after
    while len(loopback.pages()) < goal and process.poll() is None:
        time.sleep(0.002)
    process.kill()
    process.wait()
