"""Two releases at once: a worker of another release puts jobs back, with the reason, and takes none in a loop."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from optimizer.runs.fingerprint import release
from optimizer.search.trial_table import export
from tests.fork_server import Forked
from workers.coordinator.study.job_recovery import CoordinatorSettings, JobRecovery
from workers.isolation.strategy_allowlist import UserCode
from workers.monitoring.snapshot import take_snapshot
from workers.monitoring.stall_detection import Stall
from workers.queue.dispatch import JobKey
from workers.queue.job_allowlist import TrialJob
from workers.queue.messages import OtherRelease, require_release
from workers.queue.trial_queue import JobReport, JobState
from workers.worker.other_release import LONGEST_PAUSE_SECONDS, OtherReleases

Start = Callable[..., Forked]
OTHER = "0.9.0+0ther"


def test_two_releases_share_a_queue_in_the_middle_of_a_run(
    plan, start: Start, eventually, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A worker of the run's release, one of the next, none of the run's, and again one of the run's."""
    counts = tmp_path / "counts"

    def start_worker(*options: str) -> Forked:
        return start("worker_process.py", "--url", plan.url, *options, BENCH_COUNTS=str(counts))

    study = plan.open()
    run = plan.run(study)
    first = start_worker()
    eventually(lambda: run.reconcile(0.1).finished >= 3)
    other = start_worker("--release", OTHER)
    eventually(lambda: plan.queue.connection.scard("rq:workers:trials") == 2)
    first.terminate()
    assert first.wait(timeout=60) == 0
    eventually(lambda: run.reconcile(0.1) and told(caplog))
    before = run.reconcile(0.1).finished
    waiting = [job.job_id for job in run.open_jobs()]
    eventually(lambda: all(is_queued(plan, job_id) for job_id in waiting))
    seen = take_snapshot(plan.queue)
    last = start_worker()
    plan.finish(run)
    table = export(study.trials(), "csv")
    asked = [trial for trial in study.trials() if "repeats" not in trial.user_attrs]
    study.close()
    for worker in (other, last):
        worker.terminate()
        worker.wait(timeout=60)

    assert 3 <= before < plan.trials
    assert seen.stall is Stall.OTHER_RELEASE
    assert {worker.release for worker in seen.workers} == {OTHER}
    assert table == plan.table_in_process()
    assert len(counts.read_text().splitlines()) == len(asked), "each trial is evaluated once"
    assert told(caplog) == [f"the search has release {release()}, this worker has {OTHER}"]


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.reason for record in caplog.records if getattr(record, "action", "") == "job_put_back"]


def is_queued(plan, job_id: str) -> bool:
    return bool(TrialJob.fetch(job_id, plan.queue.connection).get_status() == "queued")


def test_a_worker_looks_at_the_whole_queue_and_then_pauses_ever_longer(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    others, taken = OtherReleases(clock=lambda: now[0]), 0
    while now[0] < 3_600.0:
        if pause := others.seconds_left:
            now[0] += pause
            continue
        taken += 1
        others.note_put_back("run-L1-a1", "another release", queued=8)

    assert taken <= 8 * (8 + 3_600 / (0.8 * LONGEST_PAUSE_SECONDS))
    assert others.seconds_left <= LONGEST_PAUSE_SECONDS
    assert len(told(caplog)) == 1, "once a study and reason"

    now[0] += others.seconds_left
    others.note_evaluated()
    for _ in range(7):
        others.note_put_back("run-L1-a1", "another release", queued=8)
    assert others.seconds_left == 0.0, "a job of its own release may come next"


@pytest.mark.parametrize(
    "change",
    [{"release": OTHER}, {"v": 3}, {"v": 1, "release": None}],
    ids=["release", "a later form", "an earlier form without a release"],
)
def test_a_batch_of_another_release_is_recognised_before_it_is_parsed(plan, change: dict[str, object]) -> None:
    study = plan.open()
    run = plan.run(study)
    run.next_job()
    batch = run.ledger.batch(range(1)).model_dump(mode="json") | change
    study.close()

    with pytest.raises(OtherRelease, match=r"this worker has 0\."):
        require_release({name: value for name, value in batch.items() if value is not None})


@pytest.mark.parametrize("payload", [None, [], {"v": 9}, {"v": "9", "study": "x", "numbers": []}, {"v": 9, "study": 1}])
def test_what_is_no_batch_of_any_release_is_not_put_back(payload: object) -> None:
    require_release(payload)


def test_results_of_two_releases_do_not_pass_for_each_other(plan) -> None:
    study = plan.open()
    run = plan.run(study)
    run.next_job()
    batch = run.ledger.batch(range(1))
    study.close()

    assert batch.request_digests() != replaced(batch, release=OTHER).request_digests()


def replaced(batch, **changes: object):
    return batch.model_copy(update=changes)


def test_refusals_of_an_earlier_release_end_no_run(caplog: pytest.LogCaptureFixture) -> None:
    """A worker that puts no job back fails it; the coordinator sends it again, and says so once."""
    reason = "batch refused: not a batch of version 1: v: Input should be 1"
    dispatcher, key = RefusingDispatcher(reason), JobKey(study="run-L1-a1", first=0, last=0)
    jobs = JobRecovery(
        ledger=OneOpenTrial(),
        dispatcher=dispatcher,
        settings=CoordinatorSettings(attempts=3),
        code=UserCode("sma_cross"),
    )
    with caplog.at_level(logging.WARNING):
        jobs.send(key)
        for _ in range(10):
            jobs.recover()

    assert dispatcher.again == [key] * 10
    assert told(caplog) == [reason]


class OneOpenTrial:
    def batch(self, numbers: range) -> object:
        return object()

    def is_open(self, number: int) -> bool:
        return True


class RefusingDispatcher:
    def __init__(self, reason: str) -> None:
        self.again: list[JobKey] = []
        self._report = JobReport(state=JobState.REFUSED, reason=reason)

    def send(self, job_key: JobKey, batch: object) -> bool:
        return True

    def send_again(self, job_key: JobKey, batch: object) -> None:
        self.again.append(job_key)

    def expire(self, job_keys: list[JobKey]) -> None:
        """No job is stored."""

    def look(self, job_keys: list[JobKey]) -> list[JobReport]:
        return [self._report for _ in job_keys]
