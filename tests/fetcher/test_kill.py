"""A real `tradeschool fetch`, killed at random points: nothing is lost, doubled or wrong."""

import asyncio
import json
import os
import random
import sys
from collections import Counter
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from fetcher import sync
from fetcher.exchange.faults import Faults
from fetcher.provider import Access
from tradeschool.cli.wanted import choose
from tradeschool.market import BTC_USD, EUR_USD, Dataset, Timeframe, Window, parse_timerange
from tradeschool.store.frames import FrameStore

RANGE = "20201001-20210201"
PAGES = 119 + 8  # of Coinbase and OANDA, M5, the latter cut at 4999 candles
IN_FLIGHT = 4 + 2
KILLS = 3
PROGRAM = "from tradeschool.cli.main import main; main()"


async def start(url: str, folder: Path, timerange: str = RANGE) -> asyncio.subprocess.Process:
    environment = {
        "TRADESCHOOL_FETCH__COINBASE_URL": url,
        "TRADESCHOOL_FETCH__OANDA_URL": url,
        "TRADESCHOOL_FETCH__COINBASE_RATE": "150",
        "TRADESCHOOL_FETCH__OANDA_RATE": "30",
        "TRADESCHOOL_DATA_DIR": str(folder),
        "OANDA_API_TOKEN": "any",
    }
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PROGRAM, "fetch", "--pairs", "BTC/USD,EUR/USD", "--timerange", timerange, "--json"),
        env=os.environ | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def finished(url: str, folder: Path) -> list[dict]:
    process = await start(url, folder)
    out, told = await process.communicate()
    assert process.returncode == 0, told.decode()
    return json.loads(out)


async def undisturbed(url: str, folder: Path) -> None:
    """The same download in this process."""
    wanted = choose("BTC/USD,EUR/USD", None, RANGE)
    access = {name: Access(url=url, rate=1000.0, token="any") for name in ("coinbase", "oanda")}
    now = datetime.now(UTC)
    progress = await sync.run(
        wanted, store=FrameStore(folder), access=access, native=False, now=lambda: now, confirm_after=0.0
    )
    assert not [each.error for each in progress if each.error]


def content(folder: Path) -> dict[str, str]:
    """Parquet files by their bytes, seals by all that they say but when."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".parquet":
            found[str(path.relative_to(folder))] = sha256(path.read_bytes()).hexdigest()
        elif path.name.endswith(".seal.json"):
            found[str(path.relative_to(folder))] = json.loads(path.read_text()) | {"sealed_at": None}
    return found


async def test_killed_and_started_again_it_ends_as_if_nothing_had_been(tmp_path: Path, serving) -> None:
    chance = random.Random(5)
    async with serving(faults=Faults.parse("latency=5-20")) as served:
        await undisturbed(served.url, tmp_path / "undisturbed")
        once = Counter(seen.query for seen in served.requests if seen.path.endswith("candles"))
        before = len(served.requests)
        for _ in range(KILLS):
            asked = len(served.requests)
            process = await start(served.url, tmp_path / "killed")
            goal = asked + chance.randrange(1, PAGES // KILLS)
            while len(served.requests) < goal and process.returncode is None:  # noqa: ASYNC110  # no event tells it
                await asyncio.sleep(0.001)
            process.kill()
            await process.communicate()
        await finished(served.url, tmp_path / "killed")
        again = Counter(seen.query for seen in served.requests[before:] if seen.path.endswith("candles"))
        rest = len(served.requests)
        assert await finished(served.url, tmp_path / "killed") == []

        assert len(served.requests) == rest
    assert content(tmp_path / "killed") == content(tmp_path / "undisturbed")
    assert again.total() - once.total() <= KILLS * (IN_FLIGHT + 2)  # two of them are the probes for a candle of OANDA's
    whole: Window = parse_timerange(RANGE)
    for instrument in (BTC_USD, EUR_USD):
        FrameStore(tmp_path / "killed").require(Dataset(instrument=instrument, timeframe=Timeframe.M15), whole, 0.99)


async def test_two_at_once_fetch_everything_once(tmp_path: Path, serving) -> None:
    """Answers are slow, so that the one which comes second meets the first at work."""
    async with serving(faults=Faults.parse("latency=500-500")) as served:
        first, second = await asyncio.gather(*(start(served.url, tmp_path, "20210301-20210303") for _ in range(2)))
        answers = await asyncio.gather(first.communicate(), second.communicate())
        asked = Counter(seen.query for seen in served.requests if seen.path.endswith("/BTC-USD/candles"))

    assert (first.returncode, second.returncode) == (0, 0)
    assert sorted(json.loads(out) == [] for out, _ in answers) == [False, True]
    assert any(b"another fetcher uses" in told for _, told in answers)
    assert max(asked.values()) <= 2
