"""A pool with bounds follows the queue, and a surplus worker finishes its trial."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.fork_server import Forked
from tradeschool.cli.main import tradeschool
from workers.processes import pool_registry
from workers.processes.autoscaling import LOOK_SECONDS, Autoscaler, Bounds
from workers.processes.heartbeat import Activity, read_pool, read_worker

Start = Callable[..., Forked]
BOUNDS = Bounds(least=1, most=8)


class Queue:
    """A queue and a clock that a test sets."""

    def __init__(self, keep_seconds: float = 60.0) -> None:
        self.queued: int | None = 0
        self.now = 0.0
        self.scaler = Autoscaler(BOUNDS, lambda: self.queued, keep_seconds=keep_seconds, clock=lambda: self.now)

    def wanted(self, count: int, busy: int, queued: int | None, after: float = LOOK_SECONDS) -> int:
        self.now += after
        self.queued = queued
        return self.scaler.wanted(count, busy)


@pytest.mark.parametrize(
    ("busy", "queued", "wanted"), [(0, 0, 1), (1, 0, 1), (1, 3, 4), (4, 4, 8), (8, 500, 8), (0, 5, 5)]
)
def test_each_queued_and_each_running_job_needs_a_worker(busy: int, queued: int, wanted: int) -> None:
    assert Queue().wanted(2, busy, queued) == wanted


def test_surplus_workers_are_kept_for_a_while() -> None:
    queue = Queue(keep_seconds=60)
    assert queue.wanted(1, 1, 5) == 6
    assert queue.wanted(6, 1, 0, after=59) == 6
    assert queue.wanted(6, 1, 0, after=10) == 1


def test_an_outage_of_redis_changes_nothing() -> None:
    queue = Queue(keep_seconds=60)
    assert queue.wanted(1, 1, 4) == 5
    assert queue.wanted(5, 0, None, after=100) == 5
    assert queue.wanted(5, 0, 0, after=30) == 5


def test_the_queue_is_not_read_at_each_look() -> None:
    queue = Queue()
    queue.wanted(1, 0, 3)

    assert queue.wanted(3, 0, 8, after=LOOK_SECONDS / 2) == 3


def test_a_pool_follows_the_queue_without_losing_a_trial(plan, start: Start, eventually, tmp_path: Path) -> None:
    """The trials wait for a file, so that the pool reaches its bound; surplus workers leave once the queue is empty."""
    release = tmp_path / "release"
    folder = tmp_path / "pools"
    slow = replace(plan, title=f"until {release}", trials=6, lag=6)
    start("pool_process.py", plan.url, str(folder), "by queue")
    eventually(lambda: len(pool_registry.pools(folder)) == 1)
    study = slow.open()
    run = slow.run(study)
    run.reconcile()
    eventually(lambda: plan.queue.connection.zcard("rq:wip:trials") == 3)
    (entry,) = pool_registry.pools(folder)

    assert (entry.count, entry.bounds) == (3, Bounds(least=1, most=3))

    running = read_pool(entry.files)
    assert running is not None
    eventually(lambda: all(is_busy(entry, pid) for pid in running.started))
    release.touch()
    progress = plan.finish(run)
    eventually(lambda: len(plan.queue.connection.smembers("rq:workers:trials")) == 1)
    (entry,) = pool_registry.pools(folder)
    losses = plan.queue.connection.keys("tradeschool:losses:*")
    study.close()

    assert (progress.finished, entry.count, losses) == (6, 1, [])


def is_busy(entry: pool_registry.RegisteredPool, pid: int) -> bool:
    beat = read_worker(entry.files, pid)
    return beat is not None and beat.activity is Activity.BUSY


def test_a_pool_that_follows_the_queue_is_not_scaled_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADESCHOOL_STATE_DIR", str(tmp_path))
    with pool_registry.registered(tmp_path / "pools", 1, BOUNDS):
        told = CliRunner().invoke(tradeschool, ["worker", "scale", "4"])

    assert "follows the queue with 1 to 8 workers" in told.output + str(told.exception)
    assert told.exit_code != 0


@pytest.mark.parametrize("options", [["-n", "2", "--max", "4"], ["--min", "2"], ["--min", "5", "--max", "4"]])
def test_contradicting_numbers_of_workers_are_a_usage_error(options: list[str]) -> None:
    assert CliRunner().invoke(tradeschool, ["worker", "start", *options]).exit_code == 2
