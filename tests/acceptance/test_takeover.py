"""A killed run resumes automatically, also if other installations share its queue."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import RedisError

from tradeschool.embedded_valkey.server import find_binary

TRIALS = 60


@pytest.fixture
def shared_queue(eventually: Callable[..., None]) -> Iterator[str]:
    """The URL of a server that two installations use."""
    with tempfile.TemporaryDirectory() as name:
        command = [str(find_binary()), "--port", "0", "--unixsocket", f"{name}/v", "--save", "", "--dir", name]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=name)
        eventually(lambda: (Path(name) / "v").exists() and answers(f"unix://{name}/v"))
        yield f"unix://{name}/v"
        server.terminate()
        server.wait(timeout=60)


def answers(url: str) -> bool:
    try:
        return bool(Redis.from_url(url).ping())
    except RedisError:
        return False


def test_a_killed_run_resumes_on_a_shared_queue_and_after_a_flush(
    fetched, make_program, tmp_path: Path, shared_queue: str, eventually
) -> None:
    """Two installations, each with its own SQLite file; Redis forgets everything; the search is killed."""
    environment = {**fetched.environment, "TRADESCHOOL_REDIS_URL": shared_queue}
    ours = replace(fetched, environment=environment)
    other = replace(make_program(tmp_path / "other"), environment=environment)
    shutil.copytree(ours.folder / "data", other.folder / "data")
    curriculum = str(ours.write_curriculum(trials=TRIALS))
    pools = [each.start("worker", "start", "-n", "1") for each in (other, ours)]
    words = ("optimize", "run", "--curriculum", curriculum, "--seed", "7", "-j", "0")
    search = ours.start(*words, "--run", "shared")
    eventually(lambda: ours.trials() >= 3, 300.0)
    os.kill(search.pid, signal.SIGSTOP)  # the run stays active until the other installation has seen it
    seen = read_until(pools[0].stderr, "run not monitored")

    connection = Redis.from_url(shared_queue)
    connection.flushall()
    os.kill(search.pid, signal.SIGKILL)
    search.communicate(timeout=60)
    before = ours.trials()
    try:
        eventually(lambda: (ours.folder / "results" / "shared" / "recommendation.json").exists(), 300.0)
        eventually(lambda: not lines(ours, "run_interrupted"))
    finally:
        for pool in pools:
            pool.send_signal(signal.SIGTERM)
        said = [pool.communicate(timeout=60)[1] for pool in pools]
    said[0] = seen + said[0]

    assert before < TRIALS, "it was over before it was killed"
    assert ours.trials() == TRIALS
    assert len(re.findall("run taken over", said[1])) == 1
    assert "run taken over" not in said[0]
    assert len(re.findall("run not monitored", said[0])) == 1


def read_until(stream: Iterator[str], words: str) -> str:
    """Read lines up to the first one that contains the words, or to the end."""
    found = ""
    for line in stream:
        found += line
        if words in line:
            break
    return found


def lines(program, event: str) -> list[str]:
    log = program.folder / "results" / "shared" / "events.jsonl"
    return [line for line in log.read_text().splitlines() if f'"{event}"' in line]
