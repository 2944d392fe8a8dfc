"""Coordinator: each trial is stored once, and the table is the same after any kill and in any order of completion."""

import json
import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState
from redis import Redis

from optimizer.search.study import open_study
from optimizer.search.trial_table import export
from tests.fork_server import Forked
from tradeschool.errors import DataIncomplete, SettingsError
from workers.connection.reconnect import Outage
from workers.coordinator.study.coordinator import StudyRun, coordinate
from workers.coordinator.study.job_recovery import CoordinatorSettings
from workers.queue.failed_jobs import failed_jobs
from workers.queue.messages import BatchResult, TrialBatch
from workers.queue.trial_queue import CLOSED_SECONDS, JobReport, results_key
from workers.worker.in_process_dispatch import InProcessDispatcher

Start = Callable[..., Forked]
POISON = ({"fast": 20, "slow": 90, "stop": 2.0}, {"fast": 13, "slow": 90, "stop": 2.0})


class Shuffled:
    """A dispatch that returns results in random order, and some of them twice."""

    def __init__(self, evaluator, choose: random.Random) -> None:
        self._evaluator, self._choose, self._orders = evaluator, choose, []

    def send(self, job_key, batch: TrialBatch) -> bool:
        self._orders.append(batch)
        return True

    def send_again(self, job_key, batch: TrialBatch) -> None:
        self.send(job_key, batch)

    def collect(self, wait_seconds: float) -> list[BatchResult]:
        if not self._orders:
            return []
        batch = self._orders.pop(self._choose.randrange(len(self._orders)))
        if self._choose.random() < 0.2:
            self._orders.append(batch)
        return [self._evaluator.evaluate(batch)]

    def look(self, job_keys) -> list[JobReport]:
        return []

    def put_back(self, job_key) -> None:
        """No job is orphaned."""

    def count_loss(self, job_key) -> int:
        return 0

    def expire(self, job_keys) -> None:
        """No job is stored."""

    def announce(self, announcement) -> None:
        """No worker reads announcements."""

    def withdraw(self) -> None:
        """No worker reads announcements."""


@given(seed=st.integers(0, 2**32), size=st.sampled_from([1, 2, 3, 4]))
@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_order_of_completion_gives_the_same_table(plan, make_evaluator, seed: int, size: int) -> None:
    name = f"shuffled-{seed}-{size}"
    shuffled = replace(plan, folder=plan.folder / name, study=name, trials_per_job=size)
    shuffled.folder.mkdir(exist_ok=True)
    expected = shuffled.table_in_process()
    study = shuffled.open()

    shuffled.finish(shuffled.run(study, Shuffled(make_evaluator("x"), random.Random(seed))))
    table = export(study.trials(), "csv")
    study.close()

    assert table == expected


def test_the_table_is_the_same_for_any_number_of_workers(plan, start_worker: Start) -> None:
    plan = replace(plan, trials=30)
    expected = plan.table_in_process()
    start_worker()
    one = plan.table_by_queue()
    start_worker()
    two = replace(plan, folder=plan.folder / "two", study="run-L1-a2", trials_per_job=2)
    two.folder.mkdir()

    assert b"pruned" in expected
    assert one == expected
    assert two.table_by_queue() == expected


@pytest.mark.parametrize("size", [1, 2, 4])
def test_the_table_is_the_same_in_any_database_and_for_any_job_size(served, postgres, size: int) -> None:
    plan = replace(served, database=postgres[1], study=f"sized{size}-L1-a1", trials=20, trials_per_job=size)
    expected = plan.table_in_process()
    study = plan.open()
    run = plan.run(study)
    while run.reconcile(wait_seconds=0.1).finished < 8:
        pass
    study.close()

    assert plan.table_by_queue() == expected  # gone on with from where the other coordinator was left


def test_a_worker_killed_in_mid_trial_loses_no_trial(plan, start_worker: Start, eventually) -> None:
    slow = replace(plan, title="sleep 0.3", trials=10)
    expected = replace(slow, title="plain").table_in_process()
    study, victim = slow.open(), start_worker()
    run = slow.run(study)
    eventually(lambda: run.reconcile().finished >= 2 and is_evaluating(slow.queue.connection))
    horses = children(victim.pid)
    os.kill(victim.pid, signal.SIGKILL)
    start_worker()
    slow.finish(run)
    table = export(study.trials(), "csv")
    study.close()

    assert table == expected
    assert not any(is_alive(work_horse) for work_horse in horses)


def test_another_coordinator_replaces_a_killed_one(plan, start: Start, start_worker: Start, eventually) -> None:
    slow = replace(plan, title="sleep 0.05", trials=20)
    expected = replace(slow, title="plain").table_in_process()
    start_worker()
    study = slow.open()
    holder = start("coordinator_process.py", slow.as_json())
    assert holder.stdout is not None
    assert holder.stdout.readline() == "conducting\n"
    heir = start("coordinator_process.py", slow.as_json())
    eventually(lambda: len(study.trials()) >= 6)
    os.kill(holder.pid, signal.SIGKILL)

    assert heir.wait(timeout=60) == 0
    assert export(study.trials(), "csv") == expected
    study.close()


def test_results_are_awaited_only_after_the_first_request(plan, make_evaluator) -> None:
    waits = []

    class Watched(InProcessDispatcher):
        def collect(self, wait_seconds):
            waits.append(wait_seconds)
            return super().collect(wait_seconds)

    study = plan.open()
    run = plan.run(study, Watched(make_evaluator("here")))
    assert not run.is_ready
    run.reconcile(wait_seconds=0.5)
    run.reconcile(wait_seconds=0.5)
    study.close()

    assert waits == [0.0, 0.5]
    assert run.is_ready


def test_a_trial_that_kills_its_process_fails_after_three_attempts(served) -> None:
    poisoned = replace(served, title="crash", trials=8, first_points=POISON)
    study, told = poisoned.open(), list[tuple[int, str]]()
    run = poisoned.run(study)
    run.jobs.given_up = lambda number, reason: told.append((number, reason))
    progress = poisoned.finish(run)
    failed = study.trials()[1]
    study.close()

    assert told == [(1, failed.user_attrs["failure"])]
    assert (progress.failed, progress.complete + progress.pruned) == (1, 7)
    assert failed.state is TrialState.FAIL
    assert failed.user_attrs["failure"].startswith("3 attempts: its process was killed by SIGKILL")


def test_a_finished_job_expires_soon_and_a_failed_one_stays_listed(served) -> None:
    poisoned = replace(served, title="crash", trials=4, first_points=POISON)
    study = poisoned.open()
    run = poisoned.run(study)
    poisoned.finish(run)
    run.jobs.recover()
    study.close()

    connection, jobs = poisoned.queue.connection, [f"{poisoned.study}-{number}-{number}-a1" for number in range(4)]
    lives = [connection.ttl(f"rq:{kind}:{job}") for job in jobs for kind in ("job", "results")]
    assert [0 < life <= CLOSED_SECONDS for life in lives] == [True, True, False, False, True, True, True, True]
    failed = [found.job for found in failed_jobs(poisoned.queue)]
    assert sorted(failed) == [f"{poisoned.study}-1-1-a{attempt}" for attempt in (1, 2, 3)]
    assert all(found.reason.startswith("its process was killed") for found in failed_jobs(poisoned.queue))


def test_a_crashing_trial_does_not_fail_other_trials_of_its_job(served) -> None:
    poisoned = replace(served, title="crash", trials=8, first_points=POISON, trials_per_job=4)
    study = poisoned.open()
    poisoned.finish(poisoned.run(study))
    states = [trial.state for trial in study.trials()]
    study.close()

    assert states.count(TrialState.FAIL) == 1
    assert states[1] is TrialState.FAIL


def test_native_code_that_ignores_the_time_out_is_killed(served) -> None:
    hanging = replace(served, title="hang", trials=3, first_points=POISON, job_timeout=1, attempts=1)
    study = hanging.open()
    hanging.finish(hanging.run(study))
    failed = study.trials()[1]
    study.close()

    assert failed.state is TrialState.FAIL


def test_an_exception_of_a_strategy_fails_its_trial_at_once(served) -> None:
    raising = replace(served, title="raise", trials=6, first_points=POISON)
    study = raising.open()
    raising.finish(raising.run(study))
    failed = study.trials()[1]
    jobs = raising.queue.connection.keys("rq:job:*-1-1-a*")
    study.close()

    assert failed.user_attrs["failure"] == "ZeroDivisionError: the unlucky number"
    assert jobs == [b"rq:job:run-L1-a1-1-1-a1"]


def test_workers_with_other_candles_end_the_run(plan, start_worker: Start, eventually) -> None:
    start_worker("--digest", "d2")
    eventually(lambda: plan.queue.connection.smembers("rq:workers:trials"))
    study = plan.open()

    with pytest.raises(DataIncomplete, match="expected d1, was d2"):
        plan.finish(plan.run(study))

    assert study.trials() == []
    study.close()


def test_jobs_refused_for_other_candles_are_sent_again(plan, start_worker: Start, eventually) -> None:
    """Refusals of an earlier run are ignored; only those of this run count."""
    expected = plan.table_in_process()
    other = start_worker("--digest", "d2")
    eventually(lambda: plan.queue.connection.smembers("rq:workers:trials"))
    study = plan.open()
    with pytest.raises(DataIncomplete):
        plan.finish(plan.run(study))
    other.terminate()
    other.wait(timeout=60)
    start_worker()
    plan.finish(plan.run(study))
    table = export(study.trials(), "csv")
    study.close()

    assert table == expected


def test_a_trial_that_allocates_too_much_memory_fails(plan, start_worker: Start) -> None:
    swallowing = replace(plan, title="swallow", trials=3, first_points=POISON)
    start_worker("--memory", str(1 << 28))
    study = swallowing.open()
    swallowing.finish(swallowing.run(study))
    failed = study.trials()[1]
    study.close()

    assert failed.state is TrialState.FAIL
    assert "MemoryError" in failed.user_attrs["failure"]


def test_an_asynchronous_search_runs_the_exact_number_of_trials(plan, start_worker: Start) -> None:
    loose = replace(plan, mode="async", title="sleep 0.01", trials=24)
    start_worker()
    start_worker()
    study = loose.open()
    run = loose.run(study)
    while run.reconcile(wait_seconds=0.1).finished < 8:
        pass
    progress = loose.finish(loose.run(study))
    numbers = [trial.number for trial in study.trials()]
    study.close()

    assert numbers == list(range(24))
    assert (progress.failed, progress.open) == (0, 0)


def test_a_redis_flush_loses_no_trial(served, eventually) -> None:
    slow = replace(served, title="sleep 0.02")
    expected = served.table_in_process()
    study = slow.open()
    run = slow.run(study)
    eventually(lambda: run.reconcile().finished >= 8)
    slow.queue.connection.flushdb()
    slow.finish(run)
    table = export(study.trials(), "csv")
    study.close()

    assert table == expected


def test_a_job_whose_worker_died_before_the_start_is_requeued(plan, start_worker: Start) -> None:
    """If a worker dies between taking and starting a job, the job is only in the intermediate list."""
    study = plan.open()
    run = plan.run(study)
    run.reconcile()
    queue = plan.queue
    queue.connection.lmove(queue.key, queue.intermediate_queue_key, "LEFT", "RIGHT")
    start_worker()
    progress = plan.finish(run)
    study.close()

    assert progress.finished == plan.trials
    assert queue.connection.llen(queue.intermediate_queue_key) == 0


def test_a_result_is_found_without_its_message(served, eventually) -> None:
    study = served.open()
    run = served.run(study)
    run.reconcile()
    connection = served.queue.connection
    eventually(lambda: connection.llen(results_key(served.study)) == served.lag)
    connection.delete(results_key(served.study))
    served.finish(run)
    table = export(study.trials(), "csv")
    study.close()

    assert table == served.table_in_process()


def test_a_late_or_foreign_result_is_ignored(plan, make_evaluator) -> None:
    expected = plan.table_in_process()
    study = plan.open()
    run = plan.run(study)
    run.reconcile()
    evaluator, connection = make_evaluator("w"), plan.queue.connection
    answer = evaluator.evaluate(run.ledger.batch(range(1)))
    foreign = answer.trials[0].model_copy(update={"request_digest": "0" * 32, "failure": "forged", "evaluation": None})
    for message in (answer.model_copy(update={"trials": (foreign,)}), answer, answer):
        connection.rpush(results_key(plan.study), message.model_dump_json())
    connection.rpush(results_key(plan.study), b"not an answer")
    run.reconcile()
    first = study.trials()
    study.close()

    assert export(first, "csv").splitlines()[1] == expected.splitlines()[1]


def test_a_second_different_result_raises_an_alarm(plan, make_evaluator, caplog: pytest.LogCaptureFixture) -> None:
    study = plan.open()
    run = plan.run(study)
    run.reconcile()
    answer = make_evaluator("w").evaluate(run.ledger.batch(range(1)))
    found = json.loads(answer.trials[0].evaluation)
    other = answer.trials[0].model_copy(update={"evaluation": json.dumps(found | {"value": 1e9})})
    run.ledger.accept(answer)
    run.ledger.commit()
    run.ledger.accept(answer.model_copy(update={"trials": (other,)}))
    study.close()

    assert [record.action for record in caplog.records if record.levelname == "ERROR"] == ["results_differ"]


def test_an_old_job_with_the_same_name_is_ignored(served) -> None:
    """A study that was deleted and created again finds jobs of the old one."""
    replace(served, seed=1, folder=served.folder, study="run-L1-a1").table_by_queue()
    again = replace(served, folder=served.folder / "again")
    again.folder.mkdir()

    assert again.table_by_queue() == again.table_in_process()


def test_a_search_waits_for_the_end_of_an_outage(served) -> None:
    calls = []

    def make() -> StudyRun:
        calls.append(served.open())
        if len(calls) == 1:
            return served.run(calls[-1], dispatcher=replace(served, url="unix:///nowhere").run(calls[-1]).dispatcher)
        return served.run(calls[-1])

    done = coordinate(make, outage=Outage(), stop=lambda: False, report=lambda _: None)
    for study in calls:
        study.close()

    assert len(calls) == 2
    assert done is not None
    assert done.is_done


def test_a_job_may_not_hold_more_trials_than_the_lag(plan) -> None:
    study = plan.open()

    with pytest.raises(SettingsError, match="trials_per_job is 5"):
        replace(plan, trials_per_job=5).run(study)

    study.close()


def test_coordinator_settings_are_not_part_of_a_study(plan) -> None:
    plan.open().close()

    again = open_study(plan.storage, plan.study, replace(plan, trials_per_job=4).facts)
    again.close()

    assert CoordinatorSettings() == CoordinatorSettings(attempts=3)


def is_evaluating(connection: Redis) -> bool:
    return any(connection.hget(key, "status") == b"started" for key in connection.keys("rq:job:*"))


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_alive(pid: int) -> bool:
    for _ in range(50):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return False
        except FileNotFoundError:
            return False
        time.sleep(0.02)
    return True
