"""Queue snapshot: it contains the whole state and changes nothing."""

import signal
import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from redis import Redis

from workers.monitoring.snapshot import Snapshot, take_snapshot
from workers.monitoring.worker_snapshot import WorkerSnapshot
from workers.queue.trial_queue import KEEP_SECONDS


def everything(connection: Redis) -> dict[bytes, object]:
    return {key: connection.dump(key) for key in connection.keys("*")}


def test_an_empty_queue_has_zero_counts(plan) -> None:
    snapshot = take_snapshot(plan.queue, time.time())

    assert snapshot.to_json() == {
        "queued": 0,
        "started": 0,
        "finished": 0,
        "failed": 0,
        "deferred": 0,
        "scheduled": 0,
        "oldest_seconds": 0.0,
        "throughput_per_minute": 0,
        "workers": [],
        "worker_count": 0,
        "running_jobs": [],
        "studies": [],
        "eta_seconds": 0.0,
        "most_jobs": None,
        "advice": "",
        "is_suspended": False,
        "idle_seconds": None,
        "connected": 0,
        "stalled": None,
    }


def test_queued_jobs_are_counted_and_the_oldest_has_an_age(plan) -> None:
    study = plan.open()
    plan.run(study).reconcile()
    study.close()

    oldest = plan.queue.fetch_job(plan.queue.job_ids[0])
    snapshot = take_snapshot(plan.queue, oldest.enqueued_at.timestamp() + 100)

    assert snapshot.queued == plan.lag
    assert snapshot.oldest_seconds == pytest.approx(100)


def test_a_snapshot_fails_no_job_with_an_expired_lease(plan) -> None:
    study = plan.open()
    plan.run(study).reconcile()
    study.close()
    connection = plan.queue.connection
    connection.zadd("rq:wip:trials", {f"{plan.study}-0-0-a1:execution": 1})
    connection.sadd("rq:workers:trials", "rq:worker:gone")
    before = everything(connection)

    snapshot = take_snapshot(plan.queue, time.time())

    assert snapshot.started == 1
    assert everything(connection) == before


def test_workers_above_the_list_limit_are_counted(plan) -> None:
    connection = plan.queue.connection
    for name in ("w1", "w2", "w3"):
        connection.hset(f"rq:worker:{name}", mapping={"hostname": "here", "state": "idle"})
    connection.sadd("rq:workers:trials", "rq:worker:gone", *(f"rq:worker:w{number}" for number in (1, 2, 3)))

    snapshot = take_snapshot(plan.queue, time.time(), most_workers=2)

    assert len(snapshot.workers) < snapshot.worker_count == 3
    assert snapshot.to_json()["worker_count"] == 3
    assert replace(snapshot, most_jobs=1).advice.startswith("2 of 3 workers stay idle")


def test_finished_trials_and_their_worker_are_shown(plan, start_worker, eventually) -> None:
    process = start_worker()
    plan.table_by_queue()
    process.send_signal(signal.SIGSTOP)
    eventually(lambda: Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
    connection = plan.queue.connection
    (key,) = connection.smembers("rq:workers:trials")
    beat = datetime.strptime(connection.hget(key, "last_heartbeat").decode(), "%Y-%m-%dT%H:%M:%S.%f%z")

    now = beat.timestamp() + 7
    long_ago, *others = plan.queue.finished_job_registry.get_job_ids(cleanup=False)
    forget_at = {long_ago: now + KEEP_SECONDS - 61} | dict.fromkeys(others, now + KEEP_SECONDS - 59)
    connection.zadd(plan.queue.finished_job_registry.key, forget_at)

    snapshot = take_snapshot(plan.queue, now)

    assert snapshot.finished == plan.trials
    assert snapshot.throughput_per_minute == plan.trials - 1
    (worker,) = snapshot.workers
    assert worker.done == plan.trials
    assert worker.failed == 0
    assert worker.state in {"idle", "busy"}
    assert worker.heartbeat_age_seconds == pytest.approx(7)


def test_a_running_job_has_trials_worker_and_age(plan, start_worker, eventually) -> None:
    slow = replace(plan, title="sleep 60")
    study = slow.open()
    run = slow.run(study)
    run.reconcile()
    start_worker()
    eventually(lambda: [each.worker for each in take_snapshot(plan.queue, time.time()).running_jobs] not in ([], [""]))

    begun = plan.queue.fetch_job(f"{plan.study}-0-0-a1").started_at
    snapshot = take_snapshot(plan.queue, begun.timestamp() + 5)
    study.close()

    (running_job,) = snapshot.running_jobs
    assert running_job.to_json()["trials"] == "0"
    assert running_job.to_json()["level"] == "1"
    assert running_job.seconds == pytest.approx(5)
    assert [worker.job for worker in snapshot.workers] == [running_job.job]
    assert snapshot.workers[0].name == running_job.worker


def test_a_snapshot_takes_two_round_trips(plan) -> None:
    queue = plan.queue
    study = plan.open()
    plan.run(study).reconcile()
    study.close()
    take_snapshot(queue, time.time())

    def reads() -> int:
        before = queue.connection.info("stats")["total_reads_processed"]
        take_snapshot(queue, time.time())
        return queue.connection.info("stats")["total_reads_processed"] - before

    assert min(reads() for _ in range(5)) == 2 + 1, (
        "the read of the statistics is counted; connections that close add some"
    )


@pytest.mark.parametrize(
    ("queued", "started", "pace", "eta"), [(0, 0, 0, 0.0), (5, 1, 0, None), (5, 1, 12, 30.0)], ids=str
)
def test_remaining_trials_have_an_eta(queued: int, started: int, pace: int, eta: float | None) -> None:
    snapshot = Snapshot(
        queued=queued,
        started=started,
        finished=0,
        failed=0,
        deferred=0,
        scheduled=0,
        oldest_seconds=0,
        throughput_per_minute=pace,
        workers=(WorkerSnapshot(name="w", host="h", state="busy", heartbeat_age_seconds=1, done=0, failed=0),),
        idle_seconds=1.0,
    )

    assert snapshot.eta_seconds == eta


def test_a_worker_reports_its_resource_usage(plan, start_worker, eventually) -> None:
    start_worker()

    eventually(lambda: [worker for worker in take_snapshot(plan.queue, time.time()).workers if worker.memory_bytes])
    (worker,) = take_snapshot(plan.queue, time.time()).workers
    assert worker.memory_bytes > 10_000_000
    assert worker.cpu_seconds > 0
