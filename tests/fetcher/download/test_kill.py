"""`tradeschool fetch` killed at random points: no candle is lost, duplicated or wrong."""

import asyncio
import fcntl
import json
import os
import random
import sys
from collections import Counter
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest

from fetcher.download import run_loop
from fetcher.download.fetch_context import RunOptions
from fetcher.locks import exclusive, of_folder
from fetcher.protocol.provider import Access
from fetcher.simulator.faults import Faults
from tradeschool.app.download.dataset_download import download
from tradeschool.app.download.dataset_selection import choose
from tradeschool.markets.catalogue import BTC_USD, EUR_USD
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.timeframes import Timeframe
from tradeschool.markets.timerange import parse_range, parse_timerange
from tradeschool.markets.windows import Window
from tradeschool.store.frame_store import FrameStore

RANGE = "20201001-20210201"
PAGES = 119 + 8  # of Coinbase and OANDA, M5, the latter cut at 4999 candles
IN_FLIGHT = 4 + 2
KILLS = 3
pytestmark = pytest.mark.usefixtures("forked_commands")


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
        *(sys.executable, "-m", "tradeschool", "fetch", "--pairs", "BTC/USD,EUR/USD"),
        *("--timerange", timerange, "--json"),
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
    wanted = choose("BTC/USD,EUR/USD", None, parse_range(RANGE))
    access = {name: Access(url=url, rate=1000.0, token="any") for name in ("coinbase", "oanda")}
    now = datetime.now(UTC)
    progress = await run_loop.run(
        wanted,
        store=FrameStore(folder),
        access=access,
        native=False,
        now=lambda: now,
        options=RunOptions(confirm_after_seconds=0.0),
    )
    assert not [each.error for each in progress if each.error]


def content(folder: Path) -> dict[str, str]:
    """Content of parquet files, and of seals without their time."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".parquet":
            found[str(path.relative_to(folder))] = sha256(path.read_bytes()).hexdigest()
        elif path.name.endswith(".seal.json"):
            found[str(path.relative_to(folder))] = json.loads(path.read_text()) | {"sealed_at": None}
    return found


async def test_a_killed_and_restarted_fetch_gives_the_same_files(tmp_path: Path, serving) -> None:
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


async def test_two_fetchers_download_each_page_once(tmp_path: Path, serving) -> None:
    """Both find the folder locked and compete for it; one waits for the other."""

    def told() -> None:
        raise AssertionError("somebody else has the folder")

    async with serving() as served:
        async with exclusive(of_folder(tmp_path), told):
            both = [await start(served.url, tmp_path, "20210301-20210303") for _ in range(2)]
            said = [await each.stderr.readline() for each in both if each.stderr]
            assert not served.requests
        answers = await asyncio.gather(*(each.communicate() for each in both))
        asked = Counter(seen.query for seen in served.requests if seen.path.endswith("/BTC-USD/candles"))

    assert [each.returncode for each in both] == [0, 0], answers
    assert all(b"another fetcher uses" in line for line in said)
    assert sorted(json.loads(out) == [] for out, _ in answers) == [False, True]
    assert max(asked.values()) <= 2


async def test_the_result_is_written_before_the_next_fetcher_starts(tmp_path: Path) -> None:
    """The next fetcher removes temporary files, so the summary must be written before the lock is released."""
    held: list[bool] = []
    store = FrameStore(tmp_path)
    await download([], store, {}, native=False, conclude=lambda _: held.append(is_locked(of_folder(tmp_path))))

    assert held == [True]
    assert not is_locked(of_folder(tmp_path))


def is_locked(path: Path) -> bool:
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False
