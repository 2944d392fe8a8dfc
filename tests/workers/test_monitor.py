"""A look at the queue tells everything and changes nothing."""

import time

from redis import Redis

from workers.conductor import advance
from workers.monitor import take_snapshot


def everything(connection: Redis) -> dict[bytes, object]:
    return {key: connection.dump(key) for key in connection.keys("*")}


def test_an_empty_queue_has_nothing(plan) -> None:
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
    }


def test_waiting_jobs_are_counted_and_the_oldest_has_an_age(plan) -> None:
    study = plan.open()
    advance(plan.run(study))
    study.close()

    snapshot = take_snapshot(plan.queue, time.time() + 100)

    assert snapshot.queued == plan.lag
    assert 100 <= snapshot.oldest_seconds < 110


def test_a_look_fails_no_job_whose_lease_has_run_out(plan) -> None:
    study = plan.open()
    advance(plan.run(study))
    study.close()
    connection = plan.queue.connection
    connection.zadd("rq:wip:trials", {f"{plan.study}-0-0-a1:execution": 1})
    connection.sadd("rq:workers:trials", "rq:worker:gone")
    before = everything(connection)

    snapshot = take_snapshot(plan.queue, time.time())

    assert snapshot.started == 1
    assert everything(connection) == before


def test_finished_work_and_its_worker_are_told(plan, start_worker) -> None:
    start_worker()
    plan.table_by_queue()

    snapshot = take_snapshot(plan.queue, time.time())

    assert snapshot.finished == plan.trials
    assert snapshot.throughput_per_minute == plan.trials
    (worker,) = snapshot.workers
    assert worker.done == plan.trials
    assert worker.failed == 0
    assert worker.state in {"idle", "busy"}
    assert worker.heartbeat_age_seconds < 30
