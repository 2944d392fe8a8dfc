"""`tradeschool fetch --follow` continues after maintenance, a suspended machine and a kill."""

import asyncio
import json
import os
import signal
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fetcher.simulator.faults import Faults

pytestmark = pytest.mark.usefixtures("forked_commands")
MAINTENANCE = Faults.parse("outage=0+4")


async def start(url: str, data: Path) -> asyncio.subprocess.Process:
    since = datetime.now(UTC) - timedelta(days=5)
    environment = {
        "TRADESCHOOL_FETCH__COINBASE_URL": url,
        "TRADESCHOOL_FETCH__COINBASE_RATE": "50",
        "TRADESCHOOL_FETCH__PATIENCE_SECONDS": "1",
        "TRADESCHOOL_DATA_DIR": str(data),
    }
    words = (
        "--follow",
        "--every",
        "1",
        "--pairs",
        "BTC/USD",
        "--timerange",
        f"{since:%Y%m%d}-{datetime.now(UTC):%Y%m%d}",
    )
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tradeschool", "fetch", *words),
        env=os.environ | environment,
        stderr=asyncio.subprocess.PIPE,
    )


async def health(data: Path, after: datetime, *, well: bool) -> dict:
    """Health of the first round that ends after a given time, with or without errors."""
    async with asyncio.timeout(60):
        while True:
            try:
                told = json.loads((data / "follow.json").read_text())
            except FileNotFoundError:
                told = {"time": "1970-01-01T00:00:00+00:00", "errors": []}
            if datetime.fromisoformat(told["time"]) > after and (not told["errors"]) is well:
                return told
            await asyncio.sleep(0.05)


async def test_follow_resumes_after_maintenance_suspension_and_a_kill(tmp_path: Path, serving) -> None:
    def answered() -> int:
        return sum("candles" in seen.path and seen.status == 200 for seen in served.requests)

    clock = [0.0]
    async with serving(faults=MAINTENANCE, monotonic=lambda: clock[0]) as served:
        process = await start(served.url, tmp_path)
        maintenance = await health(tmp_path, datetime.min.replace(tzinfo=UTC), well=False)
        clock[0] = 10.0  # it is over once it was told
        back = await health(tmp_path, datetime.fromisoformat(maintenance["time"]), well=True)
        process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(1.5)  # longer than the time between two rounds
        resumed = datetime.now(UTC)
        process.send_signal(signal.SIGCONT)
        after_suspension = await health(tmp_path, resumed, well=True)
        process.kill()
        await process.communicate()
        before, restarted = answered(), datetime.now(UTC)
        process = await start(served.url, tmp_path)
        await health(tmp_path, restarted, well=True)
        process.send_signal(signal.SIGINT)
        _, told = await process.communicate()
        again = answered() - before

    assert "does not respond" in maintenance["errors"][0]
    assert back["pages"] > 0
    assert after_suspension["settled"] >= back["settled"]
    assert again <= 1  # what is stored stays; an hour may have settled meanwhile
    assert process.returncode == 130
    assert b"pages this round: ok" in told
