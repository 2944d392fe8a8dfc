import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest

from fetcher.simulator.rate_limit import COINBASE_LIMIT, Limit
from tradeschool.cli.candles.exchange import limit
from tradeschool.cli.main import main

pytestmark = pytest.mark.usefixtures("forked_commands")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
async def test_both_protocols_are_served_until_a_signal(number: signal.Signals, tmp_path: Path) -> None:
    log = tmp_path / "requests.jsonl"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tradeschool", "exchange", "--port", "0", "--log", str(log)),
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr
    async with asyncio.timeout(60):
        told = (await process.stderr.readline()).decode()
        url = told.split()[2].rstrip(";")
        host, port = url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET /time HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()
        process.send_signal(number)
        await process.communicate()

    assert answer.startswith(b"HTTP/1.1 200")
    assert process.returncode == 0
    assert [json.loads(line)["path"] for line in log.read_text().splitlines()] == ["/time"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--faults", "429=2"], "faults: 429: expected a fraction from 0 to 1"),
        (["--faults", "x=1"], "faults: unknown key 'x'"),
        (["--replay", "absent"], "absent"),
        (["--host", "256.0.0.1"], "cannot listen on 256.0.0.1:8700"),
    ],
    ids=["share", "fault", "folder", "address"],
)
def test_a_wrong_option_is_one_line_with_exit_code_2(
    words: list[str], told: str, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["tradeschool", "exchange", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    (line,) = capsys.readouterr().err.splitlines()

    assert ended.value.code == 2
    assert line.startswith("tradeschool: ")
    assert told in line


def test_a_given_limit_overrides_the_default() -> None:
    assert limit(None, COINBASE_LIMIT) is COINBASE_LIMIT
    assert limit(0.5, COINBASE_LIMIT) == Limit(rate_per_second=0.5, burst=1)
