"""The null test on the queue: the same outcome for any number of workers, kills, refusals and forged results."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from optimizer.level.spec import Level
from optimizer.validation.evidence import NullRun
from tests.fork_server import Forked
from tests.workers import worker_process
from tests.workers.study_plan import Plan
from tradeschool.errors import DataIncomplete, SettingsError
from workers.connection.signing import Signer
from workers.coordinator.study.job_recovery import CoordinatorSettings
from workers.coordinator.study.surrogate_run import MOST_OPEN, MissingMarkets, SurrogateRun
from workers.monitoring.snapshot import take_snapshot
from workers.queue.dispatch import Dispatcher, JobKey, QueueDispatcher
from workers.queue.job_allowlist import TrialJob
from workers.queue.job_names import null_study
from workers.queue.messages import BatchResult, TrialResult, curriculum_digests
from workers.queue.trial_queue import results_key
from workers.worker.in_process_dispatch import InProcessDispatcher

Start = Callable[..., Forked]
STUDY = null_study("run")


@dataclass
class NullPlan:
    """A null test of a curriculum of two levels."""

    plan: Plan
    surrogates: int = 6
    found: dict[int, NullRun] = field(default_factory=dict)
    given_up: dict[int, str] = field(default_factory=dict)

    @property
    def levels(self) -> tuple[Level, ...]:
        return self.plan.level, self.plan.level.model_copy(update={"name": "2"})

    @property
    def markets(self) -> MissingMarkets:
        return MissingMarkets(
            study=STUDY,
            levels=self.levels,
            seed=self.plan.seed,
            digests=curriculum_digests(self.levels, worker_process.Candles(self.plan.digest)),
            numbers=[number for number in range(self.surrogates) if number not in self.found],
        )

    def run(self, dispatcher: Dispatcher | None = None) -> SurrogateRun:
        signer = Signer(self.plan.key.encode() if self.plan.key else None)
        queued = QueueDispatcher(
            self.plan.queue, study=STUDY, url=self.plan.url, job_timeout_seconds=self.plan.job_timeout, signer=signer
        )
        return SurrogateRun(
            self.markets,
            dispatcher=dispatcher or queued,
            settings=CoordinatorSettings(reconcile_seconds=0.3, orphan_seconds=0.6, attempts=self.plan.attempts),
            on_run=lambda null_run: self.found.__setitem__(null_run.surrogate, null_run),
            given_up=self.given_up.__setitem__,
        )

    def finish(self, run: SurrogateRun, seconds: float = 300.0) -> dict[int, NullRun]:
        end = time.monotonic() + seconds
        while not (progress := run.reconcile(wait_seconds=0.2)).is_done:
            assert time.monotonic() < end, f"not done after {seconds} s: {progress}"
        return self.found


def in_process(plan: Plan, surrogates: int = 6) -> dict[int, NullRun]:
    made = NullPlan(replace(plan, title="plain"), surrogates)
    return made.finish(made.run(InProcessDispatcher(worker_process.make_evaluator("here"))))


def test_the_result_is_the_same_for_any_number_of_workers(plan: Plan, start_worker: Start) -> None:
    expected = in_process(plan, 40)
    made = NullPlan(plan, 40)
    run = made.run()
    run.reconcile()
    assert take_snapshot(plan.queue).queued == MOST_OPEN, "the trials of other runs are not held up by more"
    for _ in range(2):
        start_worker()

    assert made.finish(run) == expected
    assert len(expected) == 40


def test_a_surrogate_market_of_a_killed_worker_goes_to_another(
    plan: Plan, start_worker: Start, eventually, tmp_path: Path
) -> None:
    release = tmp_path / "release"
    made = NullPlan(replace(plan, title=f"until {release}"), 3)
    run, first = made.run(), f"{STUDY}-0-0-a1"
    run.reconcile()
    worker = start_worker()
    eventually(lambda: TrialJob.fetch(first, plan.queue.connection).is_started)
    os.kill(worker.pid, signal.SIGKILL)
    release.touch()
    start_worker()

    assert made.finish(run) == in_process(plan, 3)


def test_a_new_coordinator_goes_on_and_loses_no_result(plan: Plan, start_worker: Start, eventually) -> None:
    made = NullPlan(plan, 4)
    made.run().reconcile()
    start_worker()
    eventually(lambda: take_snapshot(plan.queue).finished == 4)
    plan.queue.connection.delete(results_key(STUDY))  # taken by the killed coordinator

    assert made.finish(made.run()) == in_process(plan, 4)
    assert NullPlan(plan, 4, found=made.found).run().reconcile().is_done


def test_a_stopping_worker_returns_its_surrogate_market(plan: Plan, start_worker: Start, eventually) -> None:
    """A market may take an hour; it begins again on another worker."""
    made = NullPlan(replace(plan, title="sleep 600"), 1)
    made.run().reconcile()
    worker = start_worker()
    eventually(lambda: TrialJob.fetch(f"{STUDY}-0-0-a1", plan.queue.connection).is_started)
    worker.send_signal(signal.SIGTERM)

    assert worker.wait(timeout=60) == 0
    assert take_snapshot(plan.queue).queued == 1


@pytest.mark.parametrize("title", ["crash", "raise"])
def test_a_surrogate_market_that_always_fails_is_given_up_and_left_out(
    plan: Plan, start_worker: Start, title: str
) -> None:
    made = NullPlan(replace(plan, title=title), 4)
    start_worker()

    found = made.finish(made.run())

    assert found == {number: each for number, each in in_process(plan, 4).items() if number != 2}


def test_workers_without_the_candles_refuse_and_the_run_says_so(plan: Plan, start_worker: Start) -> None:
    made = NullPlan(plan, 1)
    run = made.run()
    run.reconcile()
    start_worker("--digest", "d2")

    with pytest.raises(DataIncomplete, match=r"3 workers refuse surrogate market 0: .*this worker's candles differ"):
        made.finish(run)


def test_a_worker_that_runs_no_null_tests_refuses(plan: Plan) -> None:
    evaluator = worker_process.make_evaluator("here")
    evaluator._run_surrogate = None

    with pytest.raises(DataIncomplete, match="this worker runs no null tests"):
        NullPlan(plan, 1).run(InProcessDispatcher(evaluator)).reconcile()


def test_signed_batches_are_accepted_and_those_of_another_key_refused(plan: Plan, start_worker: Start) -> None:
    signed = replace(plan, key="a long secret for the signatures")
    start_worker("--key", signed.key)
    made = NullPlan(signed, 2)
    assert made.finish(made.run()) == in_process(plan, 2)

    other = NullPlan(replace(signed, key="another secret for the signatures"), 3, found=dict(made.found))
    with pytest.raises(SettingsError, match=r"3 workers refuse surrogate market 2: .*signature"):
        other.finish(other.run())


def test_a_batch_of_trials_cannot_pass_as_surrogate_markets(plan: Plan) -> None:
    signer = Signer(b"a long secret for the signatures")
    batch = NullPlan(plan).markets.batch((1,))

    text = signer.sign("batch", "job", batch.model_dump_json())
    with pytest.raises(ValueError, match="signature"):
        signer.check("surrogates", "job", text)


def test_a_result_of_another_request_is_ignored(plan: Plan) -> None:
    made = NullPlan(plan, 2)
    run = made.run()
    run.reconcile()
    forged = NullRun(surrogate=0, t=99.0, sharpe=None, attempts=1, passed=(), mandate=True).model_dump_json()
    result = TrialResult(number=0, request_digest="of another run", started=0.0, seconds=0.0, evaluation=forged)
    run.ledger.accept(BatchResult(study=STUDY, worker="w", trials=(result,)))

    assert made.found == {}
    assert run.ledger.is_open(0)


def test_a_result_of_another_market_is_not_accepted(plan: Plan) -> None:
    made = NullPlan(plan, 2)
    run = made.run()
    run.reconcile()
    other = in_process(plan, 2)[1].model_dump_json()
    digest = run.ledger._request_digest(0)
    result = TrialResult(number=0, request_digest=digest, started=0.0, seconds=0.0, evaluation=other)
    run.ledger.accept(BatchResult(study=STUDY, worker="w", trials=(result,)))

    assert made.found == {}
    assert not run.ledger.is_open(0)


def test_the_queue_shows_surrogate_markets(plan: Plan, start_worker: Start, eventually) -> None:
    made = NullPlan(replace(plan, title="sleep 600"), 1)
    made.run().reconcile()
    start_worker()
    eventually(lambda: take_snapshot(plan.queue).running_jobs)
    (running,) = take_snapshot(plan.queue).running_jobs

    assert running.job == JobKey(study=STUDY, first=0, last=0).job_id
    assert (running.to_json()["trials"], running.to_json()["level"]) == ("surrogate market 0", "")
