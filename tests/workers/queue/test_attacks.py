"""What an attacker who can write to Redis achieves where coordinator and workers share a key, and where they do not."""

import base64
import json
import zlib
from dataclasses import replace

import pytest
from redis import Redis

from optimizer.search.trial_table import export
from tests.workers.worker_process import Candles
from tradeschool.errors import SettingsError
from workers.connection import bounded_reads
from workers.connection.signing import UNSIGNED, Signer
from workers.isolation.strategy_allowlist import AllowedStrategies, StrategyNotAllowed, user_strategies
from workers.queue.announcements import KEY, Announcement, publish_announcement, read_announcements
from workers.queue.dispatch import JobKey, QueueDispatcher
from workers.queue.job_allowlist import TrialJob
from workers.queue.job_reports import look_at
from workers.queue.messages import FUNCTION
from workers.queue.trial_queue import JobState, enqueue, results_key
from workers.queue.worker_losses import count_loss, losses_key
from workers.work_horse.evaluator import Evaluator, StrategyImports
from workers.worker.preflight_check import check_in

SECRET = "0123456789abcdef0123456789abcdef"
SIGNER = Signer(SECRET.encode())
OTHER = Signer(b"another key, and long enough")
FORGED = '{"v":2,"seen":9e15}'


@pytest.fixture
def connection(plan) -> Redis:
    return plan.queue.connection


def signed_run(plan, study):
    dispatcher = QueueDispatcher(plan.queue, study=plan.study, url=plan.url, job_timeout_seconds=30, signer=SIGNER)
    return plan.run(study, dispatcher)


def failed(connection: Redis, job: str, reason: str, **fields: str) -> None:
    """What an attacker writes to have a job taken for failed."""
    connection.hset(f"rq:job:{job}", "status", "failed")
    packed = base64.b64encode(zlib.compress(reason.encode()))
    connection.xadd(f"rq:results:{job}", {"type": "2", "exc_string": packed, **fields})


@pytest.mark.parametrize("name", ["this:x", "antigravity:x", "os:system", "a.b:C", "../x", "", "two words", "x" * 999])
def test_a_worker_evaluates_only_strategies_of_its_settings(plan, name: str) -> None:
    level = plan.level.model_copy(update={"strategy": name})

    with pytest.raises(StrategyNotAllowed, match=r"work\.strategies, or at: tradeschool worker start --strategy"):
        AllowedStrategies().require(level)
    with pytest.raises(StrategyNotAllowed):
        AllowedStrategies(("mine:X",)).require(level)


def test_built_in_and_configured_strategies_are_evaluated(plan) -> None:
    mine = plan.level.model_copy(update={"strategy": "mine:X"})

    AllowedStrategies().require(plan.level)
    AllowedStrategies(("mine:X",)).require(mine)
    assert user_strategies([plan.level, mine, mine]) == ("mine:X",)


def test_a_batch_for_another_strategy_ends_the_run_with_advice(plan, start_worker, eventually) -> None:
    start_worker()
    eventually(lambda: plan.queue.connection.smembers("rq:workers:trials"))
    forged = replace(plan, strategy="antigravity:x")
    study = forged.open()

    with pytest.raises(SettingsError, match="refuse trial 0: batch refused: strategy 'antigravity:x' is not allowed"):
        forged.finish(forged.run(study))

    assert study.trials() == []
    study.close()


def test_an_evaluator_refuses_a_strategy_not_allowed(plan, make_evaluator) -> None:
    honest = make_evaluator("w")
    evaluator = Evaluator(
        store=Candles("d1"),
        plan=lambda *_: pytest.fail("it was prepared"),
        evaluate=honest._evaluate,
        worker="w",
        strategies=StrategyImports(allowed=AllowedStrategies()),
    )
    study = plan.open()
    run = plan.run(study)
    run.next_job()
    batch = run.ledger.batch(range(1)).model_copy(update={"level": replace(plan, strategy="os:system").level})
    study.close()

    with pytest.raises(StrategyNotAllowed):
        evaluator.evaluate(batch)


def test_a_forged_announcement_does_not_block_workers(connection: Redis, make_evaluator, caplog) -> None:
    bounded_reads._logged.cache_clear()
    connection.hset(KEY, "x", FORGED)
    connection.hset(KEY, "run-L1-a1", json.dumps({"v": 2, "seen": connection.time()[0], "trials": 1}))
    connection.hset(KEY, "r2-L1-a1", OTHER.sign("announcement", "r2-L1-a1", '{"v": 2, "seen": 1}'))
    for _ in range(2):
        check_in(connection, make_evaluator("w"), SIGNER)
    told = [record.what for record in caplog.records if record.action == "left_out"]

    assert read_announcements(connection, SIGNER) == {}
    assert sorted(told) == ["announcement of r2-L1-a1", "announcement of run-L1-a1", "announcement of x"], "each once"


def test_an_announcement_from_the_future_is_ignored_without_a_key(connection: Redis, make_evaluator) -> None:
    for name, seen in (("a", 9e15), ("b", connection.time()[0] + 100), ("c", -1), ("d", 1)):
        connection.hset(KEY, name, json.dumps({"v": 2, "seen": seen}))
    connection.hset(KEY, "e", '{"v": 2, "seen": NaN}')
    connection.hset(KEY, "f", '{"v": 2, "seen": 1e999}')

    check_in(connection, make_evaluator("w"), UNSIGNED)

    assert read_announcements(connection, UNSIGNED) == {}


def test_an_announcement_is_bound_to_its_study_and_time(connection: Redis) -> None:
    publish_announcement(connection, "run-L1-a1", Announcement(v=1, seen=0.0, trials=9), SIGNER)
    told = connection.hget(KEY, "run-L1-a1")
    connection.hset(KEY, "other-L1-a1", told)
    old = Announcement(v=1, seen=connection.time()[0] - 61.0, trials=9).model_dump_json()
    connection.hset(KEY, "old-L1-a1", SIGNER.sign("announcement", "old-L1-a1", old))

    assert list(read_announcements(connection, SIGNER)) == ["run-L1-a1"]


@pytest.mark.parametrize("reason", ["it broke", "the worker's lease expired, at noon", "its process was killed", ""])
@pytest.mark.parametrize("proof", ["", "00", OTHER.proof("failure", "run-L1-a1-0-0-a1", "it broke")])
def test_a_forged_failure_is_ignored(plan, connection: Redis, reason: str, proof: str) -> None:
    job = f"{plan.study}-0-0-a1"
    failed(connection, job, reason, proof=proof)

    assert look_at(plan.queue, [job], SIGNER)[0].state is JobState.MISSING


def test_a_failure_signed_for_another_job_is_ignored(plan, connection: Redis) -> None:
    one, other = f"{plan.study}-0-0-a1", f"{plan.study}-1-1-a1"
    for job in (one, other):
        failed(connection, job, "it broke", proof=SIGNER.proof("failure", one, "it broke"))

    assert [report.state for report in look_at(plan.queue, [one, other], SIGNER)] == [
        JobState.CRASHED,
        JobState.MISSING,
    ]


def test_a_finished_job_without_signed_result_is_sent_again(plan, connection: Redis) -> None:
    job = f"{plan.study}-0-0-a1"
    connection.hset(f"rq:job:{job}", "status", "finished")
    answer = OTHER.sign("result", job, json.dumps({"study": plan.study, "worker": "w"}))
    connection.xadd(f"rq:results:{job}", {"type": "1", "return_value": base64.b64encode(answer.encode())})

    assert look_at(plan.queue, [job], SIGNER)[0].state is JobState.MISSING


@pytest.mark.parametrize("stored", ["99", "-1", "nan", "[", '{"signed": "99"}', OTHER.sign("losses", "j", '"a b c"')])
def test_a_forged_loss_count_is_ignored(connection: Redis, stored: str) -> None:
    connection.hset(losses_key("s"), "j", stored)
    connection.hset("rq:job:j", "worker_name", "gone")

    assert [count_loss(connection, "s", "j", SIGNER) for _ in range(2)] == [1, 1]


def test_an_attacker_cannot_change_a_signed_search(plan, start_worker, make_evaluator) -> None:
    """Forged failures, losses, results, batches and leases at each step do not change the table."""
    start_worker("--key", SECRET)
    connection, expected = plan.queue.connection, plan.table_in_process()
    study = plan.open()
    run = signed_run(plan, study)
    run.reconcile()
    for number in range(plan.trials):
        job = f"{plan.study}-{number}-{number}-a1"
        failed(connection, job, "it broke")
        connection.hset(losses_key(plan.study), job, "99")
        connection.zadd("rq:wip:trials", {f"{job}:forged": 1.0})
        connection.hset("rq:worker:forged", mapping={"state": "busy", "hostname": "nowhere"})
        connection.sadd("rq:workers:trials", "rq:worker:forged")
        connection.rpush(results_key(plan.study), f'{{"study": "{plan.study}", "worker": "w", "trials": []}}')
    batch = run.ledger.batch(range(1))
    if batch is not None:
        answer = make_evaluator("w").evaluate(batch)
        forged = answer.model_copy(update={"trials": (answer.trials[0].model_copy(update={"failure": "forged"}),)})
        connection.rpush(results_key(plan.study), forged.model_dump_json())
        connection.rpush(results_key(plan.study), SIGNER.sign("result", "other-L1-a1-0-0-a1", forged.model_dump_json()))
    progress = plan.finish(run)
    table = export(study.trials(), "csv")
    study.close()

    assert (progress.failed, table) == (0, expected)


def test_a_signed_batch_is_bound_to_its_job(plan, start_worker, eventually) -> None:
    start_worker("--key", SECRET)
    study = plan.open()
    run = signed_run(plan, study)
    job_key = run.next_job()
    batch = run.ledger.batch(job_key.numbers)
    study.close()
    stolen = SIGNER.sign("batch", job_key.job_id, batch.model_dump_json())
    data = zlib.compress(json.dumps([FUNCTION, None, [json.loads(stolen)], {}]).encode())
    connection, other = plan.queue.connection, "other-L1-a1-0-0-a1"
    connection.hset(f"rq:job:{other}", mapping={"data": data, "status": "queued", "timeout": "9"})
    connection.rpush("rq:queue:trials", other)

    eventually(lambda: TrialJob.fetch(other, connection).is_failed)

    assert f"signed for '{job_key.job_id}', not for '{other}'" in look_at(plan.queue, [other])[0].reason


def test_a_key_only_at_the_coordinator_ends_the_run(plan, start_worker) -> None:
    start_worker()
    study = plan.open()

    with pytest.raises(SettingsError, match="batch refused"):
        plan.finish(signed_run(plan, study))

    assert study.trials() == []
    study.close()


def test_a_key_only_at_the_workers_ends_the_run(plan, start_worker) -> None:
    start_worker("--key", SECRET)
    study = plan.open()

    with pytest.raises(SettingsError, match=r"without a valid signature: set the same work\.signing_key"):
        plan.finish(plan.run(study))

    assert study.trials() == []
    study.close()


def test_without_a_key_an_attacker_can_fail_trials(plan, connection: Redis) -> None:
    """The documented risk of a shared server without a key."""
    study = plan.open()
    run = plan.run(study)
    run.reconcile()
    batch = run.ledger.batch(range(1))
    for attempt in (1, 2, 3):
        job = JobKey(study=plan.study, first=0, last=0, attempt=attempt)
        enqueue(plan.queue, job.job_id, batch, 9, UNSIGNED)
        failed(connection, job.job_id, "forged")
    while run.ledger.is_open(0):
        run.jobs.next_check = 0.0
        run.reconcile()
    (trial, *_) = study.trials()
    study.close()

    assert trial.state.name == "FAIL"
