"""An attacker's keys cost time, never a worker or a result: the run ends with the table of a quiet one."""

import base64
import time
import tracemalloc
import zlib
from dataclasses import replace

import pytest
from redis import Redis

from optimizer.search.trial_table import export
from tests.workers import hostile_keys
from workers.connection.bounded_reads import MAX_BYTES
from workers.connection.damaged_keys import remove_damaged_keys
from workers.connection.signing import UNSIGNED
from workers.monitoring.queue_history import read_history, record_sample
from workers.monitoring.snapshot import take_snapshot
from workers.queue.failed_jobs import failed_jobs, requeue
from workers.queue.job_allowlist import JobRefused, TrialJob
from workers.queue.messages import FUNCTION
from workers.queue.trial_queue import MAINTENANCE_KEY, clean_in_turn
from workers.worker.worker import TrialWorker, WorkerSettings


def names_of_workers(connection: Redis) -> set[str]:
    return {name.decode().rpartition(":")[2] for name in connection.smembers("rq:workers:trials")}


@pytest.mark.parametrize("kind", hostile_keys.KINDS)
def test_hostile_values_in_any_key_do_not_change_the_table(served, eventually, kind: str) -> None:
    plan = replace(served, trials=24)
    connection, expected = plan.queue.connection, plan.table_in_process()
    eventually(lambda: names_of_workers(connection))
    worker, study = names_of_workers(connection), plan.open()
    run = plan.run(study)
    run.reconcile()
    jobs = [job_key.job_id for job_key in run.open_jobs()]
    for key, kind_of_key in hostile_keys.keys_of(plan.queue, plan.study, jobs, sorted(worker)).items():
        hostile_keys.KINDS[kind](connection, key, kind_of_key)
    snapshot, failed = take_snapshot(plan.queue, time.time()), failed_jobs(plan.queue)
    record_sample(connection, snapshot, time.time())
    progress = plan.finish(run)
    table = export(study.trials(), "csv")
    study.close()

    assert (progress.failed, table) == (0, expected)
    assert len(snapshot.workers) <= 1_024
    assert len(failed) <= 200
    assert all(moment.time >= 0 for moment in read_history(connection))
    assert len(requeue(plan.queue)) >= 0
    eventually(lambda: names_of_workers(connection) == worker)


def test_a_worker_survives_keys_damaged_during_a_repair(plan, make_evaluator, monkeypatch) -> None:
    connection, hits = plan.queue.connection, iter(["rq:workers", "rq:workers:trials", "rq:workers"])
    evaluator = make_evaluator("here")
    worker = TrialWorker(connection, evaluator, WorkerSettings(), UNSIGNED)

    def repair_and_damage(*arguments: object) -> list[str]:
        removed = remove_damaged_keys(*arguments)
        if key := next(hits, None):
            hostile_keys.of_another_type(connection, key, "set")
        return removed

    monkeypatch.setattr("workers.worker.worker.remove_damaged_keys", repair_and_damage)
    hostile_keys.of_another_type(connection, worker.key, "hash")
    worker._retry(worker._register)

    assert next(hits, None) is None
    assert names_of_workers(connection) == {worker.name}


def test_every_depth_of_nesting_is_refused(plan) -> None:
    connection = plan.queue.connection
    for depth in range(940, 1_000):
        nested = f'["{FUNCTION}", null, [{"[" * depth}{"]" * depth}], {{}}]'
        connection.hset(f"rq:job:deep{depth}", mapping={"data": zlib.compress(nested.encode()), "status": "queued"})
        with pytest.raises(JobRefused, match="not JSON"):
            TrialJob.fetch(f"deep{depth}", connection).payload()


def test_a_compressed_bomb_costs_as_much_as_a_valid_reason(plan) -> None:
    connection, job = plan.queue.connection, "bomb-L1-a1-0-0-a1"
    bomb = base64.b64encode(zlib.compress(b"x" * 300_000_000, 1))
    connection.zadd("rq:failed:trials", {job: time.time() + 86_400})
    connection.hset(f"rq:job:{job}", mapping={"status": "failed"})
    connection.xadd(f"rq:results:{job}", {"type": "2", "exc_string": bomb})
    tracemalloc.start()
    found = failed_jobs(plan.queue)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert [each.job for each in found] == [job]
    assert set(found[0].reason) == {"x"}
    assert most < 8 * MAX_BYTES


def test_skipped_values_are_logged(plan) -> None:
    connection = plan.queue.connection
    connection.sadd("rq:workers:trials", *(f"rq:worker:made-up-{number}" for number in range(5_000)))
    connection.set("rq:wip:trials", "no leases")

    advice = take_snapshot(plan.queue, time.time()).advice

    assert "rq:wip:trials is a string, not a zset" in advice
    assert "rq:workers:trials: 904 of 5,000 entries were left out" in advice


def test_a_maintenance_turn_without_expiry_is_ended(plan) -> None:
    connection = plan.queue.connection
    connection.set(MAINTENANCE_KEY, "for ever")

    assert [clean_in_turn(plan.queue, 1_000), clean_in_turn(plan.queue, 1_000)] == [True, False]


def test_rq_command_messages_reach_no_worker(served, eventually) -> None:
    connection, expected = served.queue.connection, served.table_in_process()
    eventually(lambda: names_of_workers(connection))
    worker, study = names_of_workers(connection), served.open()
    run = served.run(study)
    run.reconcile()
    (name,) = worker
    for command in ("shutdown", "kill-horse", "stop-job"):
        connection.publish(f"rq:pubsub:{name}", f'{{"command": "{command}", "job_id": "{served.study}-0-0-a1"}}')
    served.finish(run)
    table = export(study.trials(), "csv")
    study.close()

    assert table == expected
    assert names_of_workers(connection) == worker
