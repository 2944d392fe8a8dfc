"""Worker and pool: graceful stop, orphan detection and start checks."""

import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest

from optimizer.search.trial_table import export
from tests.fork_server import Forked
from tradeschool.errors import StrategyNotImported
from workers.connection.reconnect import Outage
from workers.coordinator.study.coordinator import coordinate
from workers.processes.pool import Pool, PoolSettings
from workers.queue.announcements import Announcement, read_announcements
from workers.queue.job_allowlist import TrialJob
from workers.worker.preflight_check import check_in

Start = Callable[..., Forked]


def test_a_stopping_worker_finishes_its_trial_first(plan, start_worker: Start, eventually, tmp_path: Path) -> None:
    release = tmp_path / "release"
    slow = replace(plan, title=f"until {release}", trials=4)
    study = slow.open()
    run, job_id = slow.run(study), f"{plan.study}-0-0-a1"
    run.reconcile()
    worker = start_worker()
    eventually(lambda: TrialJob.fetch(job_id, slow.queue.connection).is_started)
    worker.send_signal(signal.SIGTERM)
    release.touch()

    assert worker.wait(timeout=60) == 0
    run.reconcile()
    done = study.trials()
    study.close()
    assert [trial.number for trial in done] == [0]
    assert TrialJob.fetch(job_id, slow.queue.connection).is_finished


def test_an_orphaned_worker_does_not_start(start_worker: Start) -> None:
    worker = start_worker("--parent", "1")

    assert worker.wait(timeout=60) == 3


def test_a_pool_replaces_a_dead_worker_and_drains(plan, evaluator_program: Path, eventually, monkeypatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    settings = PoolSettings(first_pause_seconds=0.05, drain_seconds=20)
    pool = Pool([sys.executable, str(evaluator_program), "--url", plan.url], 2, settings)
    pool.tend()
    before = pool.pids
    os.kill(before[0], signal.SIGKILL)
    eventually(lambda: len(pool.pids) == 1)
    eventually(lambda: pool.tend() is None and len(pool.pids) == 2)
    table = plan.table_by_queue()
    after = pool.pids
    pool.drain()

    assert before[1] in after
    assert before[0] not in after
    assert pool.pids == []
    assert table == plan.table_in_process()


def test_a_pool_waits_longer_after_each_death() -> None:
    now = [0.0]
    pool = Pool([sys.executable, "-c", "raise SystemExit(1)"], 1, PoolSettings(), clock=lambda: now[0])
    starts = []
    for _ in range(4):
        pool.tend()
        slot = pool._slots[0]
        assert slot.process is not None
        slot.process.wait(timeout=60)
        pool.tend()
        starts.append(slot.due - now[0])
        now[0] = slot.due

    assert starts == [0.5, 1.0, 2.0, 4.0]


def test_workers_of_a_killed_pool_drain(plan, start: Start, eventually) -> None:
    pool = start("pool_process.py", plan.url)
    eventually(lambda: len(plan.queue.connection.smembers("rq:workers:trials")) == 2)
    pool.send_signal(signal.SIGKILL)
    eventually(lambda: len(plan.queue.connection.smembers("rq:workers:trials")) == 0)

    assert pool.wait(timeout=60) == -signal.SIGKILL


def test_a_pool_forwards_its_signal(plan, start: Start, eventually) -> None:
    pool = start("pool_process.py", plan.url)
    eventually(lambda: len(plan.queue.connection.smembers("rq:workers:trials")) == 2)
    pool.send_signal(signal.SIGTERM)

    assert pool.wait(timeout=60) == 0
    assert plan.queue.connection.smembers("rq:workers:trials") == set()


def test_a_search_with_a_worker_is_complete(served) -> None:
    study = served.open()
    served.finish(served.run(study))
    table = export(study.trials(), "csv")
    workers = {trial.user_attrs["worker"] for trial in study.trials() if "repeats" not in trial.user_attrs}
    study.close()

    assert len(table.splitlines()) == 1 + served.trials
    assert len(workers) == 1


def test_a_worker_with_other_candles_refuses_to_start(plan, start_worker: Start) -> None:
    study = plan.open()
    plan.run(study).reconcile()
    study.close()
    worker = start_worker("--digest", "d2")

    assert worker.wait(timeout=60) != 0


def test_finished_or_silent_studies_block_no_worker(plan, make_evaluator) -> None:
    connection = plan.queue.connection
    silent = Announcement(v=2, seen=connection.time()[0] - 100, trials=1)
    connection.hset("tradeschool:studies", "silent", silent.model_dump_json())
    connection.hset("tradeschool:studies", "hostile", b"[" * 100_000)
    connection.hset("tradeschool:studies", "foreign", b'{"v": "x"}')

    check_in(connection, make_evaluator("w"))


@pytest.mark.parametrize(
    ("announcement", "reason"),
    [
        pytest.param('{"v": 9, "seen": NOW, "anything": []}', "one with messages of version 9", id="unknown form"),
        pytest.param('{"v": 2, "release": "9+x", "seen": NOW, "trials": 4}', "the search has release 9+x", id="v"),
    ],
)
def test_a_study_of_another_release_is_logged_and_left_to_others(
    plan, make_evaluator, caplog: pytest.LogCaptureFixture, announcement: str, reason: str
) -> None:
    plan.queue.connection.hset("tradeschool:studies", "run-L1-a1", announcement.replace("NOW", str(time.time())))
    check_in(plan.queue.connection, make_evaluator("w"))
    (told,) = [record for record in caplog.records if record.action == "other_release"]

    assert told.study == "run-L1-a1"
    assert reason in told.reason


@pytest.mark.parametrize("error", [None, StrategyNotImported("mine:STRATEGY", "no")])
def test_an_announcement_is_removed_when_a_search_ends_early(plan, error: StrategyNotImported | None) -> None:
    """Workers that start for the next search check every announced strategy."""
    study = plan.open()
    run, announced = plan.run(study), []

    def stop() -> bool:
        announced.append([*read_announcements(plan.queue.connection)])
        if announced[-1] and error is not None:
            run.reconcile = Mock(side_effect=error)
        return bool(announced[-1]) and error is None

    with nullcontext() if error is None else pytest.raises(StrategyNotImported):
        assert coordinate(lambda: run, outage=Outage(), stop=stop, report=lambda _: None, wait_seconds=0) is None
    study.close()

    assert announced[-1] == [plan.study]
    assert read_announcements(plan.queue.connection) == {}


def test_an_announcement_is_removed_at_the_end(served) -> None:
    study = served.open()
    run = served.run(study)
    run.reconcile()
    during = read_announcements(served.queue.connection)
    served.finish(run)
    study.close()

    assert during[served.study].trials == served.trials
    assert read_announcements(served.queue.connection) == {}
