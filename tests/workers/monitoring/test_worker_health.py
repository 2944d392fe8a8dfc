"""`worker health` tells a working worker from a stuck one by local heartbeats."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.fork_server import Forked
from tradeschool.cli.main import tradeschool
from workers.monitoring.worker_health import START_SECONDS, State, pools_health
from workers.processes.heartbeat import Activity, Heartbeat, worker_path, write_pool
from workers.processes.pool_registry import registered

Start = Callable[..., Forked]
OWN = os.getpid()


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A pool with two workers; returns the path of its files without their suffix."""
    monkeypatch.setenv("TRADESCHOOL_STATE_DIR", str(tmp_path))
    with registered(tmp_path / "pools", 2) as entry:
        files = entry.with_suffix("")
        now = time.monotonic()
        write_pool(files, {7: now, 8: now})
        yield files


def beat(pool: Path, pid: int, activity: Activity, ago: float = 0.0) -> None:
    Heartbeat(worker_path(pool, pid), clock=lambda: time.monotonic() - ago).beat(activity)


def health(*options: str) -> tuple[int, str]:
    told = CliRunner().invoke(tradeschool, ["worker", "health", *options])
    return told.exit_code, told.output + str(told.exception or "")


def test_workers_with_recent_heartbeats_are_healthy_and_ready(pool: Path) -> None:
    beat(pool, 7, Activity.IDLE)
    beat(pool, 8, Activity.BUSY)

    code, output = health("--ready")

    assert code == 0
    assert f"pool {OWN}: 2 workers: 7 idle, 8 busy" in output


def test_a_worker_without_a_recent_heartbeat_is_stuck(pool: Path) -> None:
    beat(pool, 7, Activity.IDLE)
    beat(pool, 8, Activity.BUSY, ago=500)

    code, output = health()

    assert code == 1
    assert "stuck workers: 8 (no heartbeat for 500 s): restart the pool" in output
    assert health("--stuck-after", "9999")[0] == 0


def test_an_outage_of_redis_makes_a_worker_unready_but_not_stuck(pool: Path) -> None:
    beat(pool, 7, Activity.IDLE)
    beat(pool, 8, Activity.OUTAGE)

    assert health()[0] == 0
    code, output = health("--ready")

    assert code == 1
    assert "not ready: worker 8 is waiting for Redis" in output


def test_a_new_worker_has_time_to_start(pool: Path) -> None:
    beat(pool, 7, Activity.IDLE)

    assert health()[0] == 0
    assert "worker 8 is starting" in health("--ready")[1]

    write_pool(pool, {7: time.monotonic(), 8: time.monotonic() - START_SECONDS - 1})

    assert "stuck workers: 8" in health()[1]


def test_a_pool_that_no_longer_looks_at_its_workers_is_stuck(pool: Path) -> None:
    (found,) = pools_health(pool.parent, clock=lambda: time.monotonic() + 1_000)

    assert found.is_stuck
    assert "is stuck: no heartbeat for 1000 s" in found.finding(ready=False)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"time": "x", "started": {}}', '{"time": 1, "started": []}'])
def test_a_damaged_heartbeat_is_no_heartbeat(pool: Path, content: str) -> None:
    (pool.parent / f"{OWN}.heartbeat").write_text(content)

    assert health()[0] == 0
    assert "no worker runs" in health("--ready")[1]


def test_without_a_pool_the_exit_code_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADESCHOOL_STATE_DIR", str(tmp_path))

    code, output = health("--json")

    assert code == 1
    assert "no pool runs on this machine" in output


def test_a_stopped_worker_is_found_beside_a_working_one(plan, start: Start, eventually, tmp_path: Path) -> None:
    """The heartbeats are those of real workers; the stopped one continues later."""
    start("pool_process.py", plan.url, str(tmp_path))

    def states(seconds: float) -> dict[int, State]:
        return {each.pid: each.state for found in pools_health(tmp_path, seconds) for each in found.workers}

    eventually(lambda: list(states(60).values()) == [State.WORKING, State.WORKING])
    stopped, other = states(60)
    os.kill(stopped, signal.SIGSTOP)
    eventually(lambda: states(4.0) == {stopped: State.STUCK, other: State.WORKING})
    os.kill(stopped, signal.SIGCONT)
    eventually(lambda: states(60)[stopped] is State.WORKING)
