"""`tradeschool fetch` killed at random during faults of the exchange and the disk, and beside a second fetcher."""

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from fetcher.download.ledger_database import FILE_NAME
from fetcher.simulator.faults import Faults

WORDS = ("fetch", "--pairs", "BTC/USD,EUR/USD", "--timerange", "20211220-20220120")
ENVIRONMENT = {
    "TRADESCHOOL_FETCH__COINBASE_RATE": "100",
    "TRADESCHOOL_FETCH__OANDA_RATE": "40",
    "TRADESCHOOL_FETCH__TOTAL_TIMEOUT_SECONDS": "1",
    "OANDA_API_TOKEN": "any",
}
EVERYTHING = "429=0.04,5xx=0.04,html=0.04,cut=0.06,slow=0.02,empty=0.06,duplicate=0.06,latency=5-30"
KILLS = 12
MAX_RUNS = KILLS + 4  # a page may be answered wrongly so often in a row that its download is given up
KILLED = -9


def reached_by(url: str) -> dict[str, str]:
    return ENVIRONMENT | {f"TRADESCHOOL_FETCH__{name}_URL": url for name in ("COINBASE", "OANDA")}


@pytest.fixture
async def whole(tmp_path: Path, serving, chaos_processes, content) -> dict[str, object]:
    """Files of an undisturbed run."""
    async with serving() as served:
        ended = await chaos_processes.run(*WORDS, data=tmp_path / "undisturbed", environment=reached_by(served.url))
    assert ended.code == 0, ended.log
    return content(tmp_path / "undisturbed")


async def test_random_kills_under_every_fault_give_the_same_files(
    tmp_path: Path, serving, chaos_processes, content, whole
) -> None:
    """429, errors, HTML, cut and dripping bodies, false empties, doubled rows, and twelve kills."""
    chance, data, kills = random.Random(11), tmp_path / "killed", 0
    async with serving(faults=Faults.parse(EVERYTHING)) as served:
        for _ in range(MAX_RUNS):
            kill_at = chance.randrange(20, 80) if kills < KILLS else None
            ended = await chaos_processes.run(*WORDS, data=data, environment=reached_by(served.url), kill_at=kill_at)
            kills += ended.code == KILLED
            if ended.code == 0:
                break
        faults = {seen.fault for seen in served.requests}

    assert kills == KILLS
    assert ended.code == 0, ended.log
    assert faults >= {"429", "5xx", "html", "cut", "slow", "empty", "duplicate"}
    assert content(data) == whole


async def test_a_full_disk_is_reported_and_fetch_resumes_with_more_space(
    small_disk: Path, remount: Callable[[str], None], serving, chaos_processes, content, whole
) -> None:
    data, other = small_disk / "data", small_disk / "somebody else's"
    remount("size=50m")
    async with serving(faults=Faults.parse("latency=20-30")) as served:
        filling = asyncio.create_task(chaos_processes.run(*WORDS, data=data, environment=reached_by(served.url)))
        while len(served.requests) < 5:  # noqa: ASYNC110  # no event tells it
            await asyncio.sleep(0.005)
        with suppress(OSError):
            other.write_bytes(bytes(60_000_000))
        full = await filling
        other.unlink()
        after = await chaos_processes.run(*WORDS, data=data, environment=reached_by(served.url))

    assert full.code == 1
    assert "free space" in full.log.splitlines()[-1]
    assert after.code == 0, after.log
    assert content(data) == whole


async def test_a_too_small_disk_is_reported_before_the_first_request(
    small_disk: Path, serving, chaos_processes
) -> None:
    async with serving() as served:
        refused = await chaos_processes.run(*WORDS, data=small_disk / "data", environment=reached_by(served.url))

    assert refused.code == 1
    assert "the download needs about" in refused.log.splitlines()[-1]
    assert not served.requests


async def test_a_read_only_disk_is_reported_without_data_loss(
    small_disk: Path, remount: Callable[[str], None], serving, chaos_processes, content, whole
) -> None:
    data = small_disk / "data"
    remount("size=50m")
    async with serving() as served:
        await chaos_processes.run(*WORDS, data=data, environment=reached_by(served.url), kill_at=60)
        remount("ro")
        refused = await chaos_processes.run(*WORDS, data=data, environment=reached_by(served.url))
        remount("rw")
        after = await chaos_processes.run(*WORDS, data=data, environment=reached_by(served.url))

    assert refused.code == 1
    assert "cannot write" in refused.log.splitlines()[-1]
    assert after.code == 0, after.log
    assert content(data) == whole


async def test_two_fetchers_give_the_same_files_if_one_is_killed(
    tmp_path: Path, serving, chaos_processes_of, content, whole
) -> None:
    """The second waits for the first and continues as soon as the first is dead."""
    data = tmp_path / "shared"
    async with (
        serving(faults=Faults.parse("latency=20-40")) as served,
        chaos_processes_of() as one,
        chaos_processes_of() as other,
    ):
        first = asyncio.create_task(one.run(*WORDS, data=data, environment=reached_by(served.url), kill_at=80))
        while not (data / FILE_NAME).exists():  # noqa: ASYNC110  # another process makes it, and holds its lock by then
            await asyncio.sleep(0.01)
        second = await other.run(*WORDS, data=data, environment=reached_by(served.url))
        killed = await first

    assert (killed.code, second.code) == (KILLED, 0), second.log
    assert content(data) == whole


async def test_random_kills_of_an_exchange_of_ccxt_give_the_same_files(
    tmp_path: Path, serving, chaos_processes, content
) -> None:
    words = ("fetch", "--pairs", "ccxt.binance:BTC/USDT", "--timeframes", "M5,H4", "--timerange", "20211220-20220120")
    reached = {
        "TRADESCHOOL_FETCH__PROVIDERS__CCXT__BINANCE__URL": "",
        "TRADESCHOOL_FETCH__PROVIDERS__CCXT__BINANCE__RATE": "100",
        "TRADESCHOOL_FETCH__TOTAL_TIMEOUT_SECONDS": "5",
    }
    url = next(iter(reached))
    async with serving() as served:
        ended = await chaos_processes.run(
            *words, data=tmp_path / "undisturbed", environment={**reached, url: served.url}
        )
    assert ended.code == 0, ended.log
    async with serving(faults=Faults.parse("429=0.04,5xx=0.04,html=0.04,cut=0.06,empty=0.06,duplicate=0.06")) as served:
        for kill_at in (12, 25, 40, None):
            ended = await chaos_processes.run(
                *words, data=tmp_path / "killed", environment={**reached, url: served.url}, kill_at=kill_at
            )
            assert ended.code == (0 if kill_at is None else KILLED), ended.log

    assert content(tmp_path / "killed") == content(tmp_path / "undisturbed")
