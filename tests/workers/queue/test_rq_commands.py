"""RQ's commands during a run: each works as documented, and the trial table has equal bytes."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rq.job_lifecycle import record_job_failure

from optimizer.search.trial_table import export
from workers.coordinator.study.coordinator import StudyRun
from workers.monitoring.snapshot import Snapshot, take_snapshot
from workers.monitoring.stall_detection import Stall
from workers.queue.failed_jobs import failed_jobs

ROOT = Path(__file__).parents[3]
RQ = Path(sys.executable).parent / "rq"
DOCUMENT = (ROOT / "docs" / "explanation" / "trial-queue.md").read_text()
CLASSES = (
    "--queue-class",
    "workers.queue.job_allowlist.TrialQueue",
    "--job-class",
    "workers.queue.job_allowlist.TrialJob",
)
LAG = 4


class Tools:
    """The installed `rq` on one server, and a search that the test advances."""

    def __init__(self, plan, eventually: Callable[..., None]) -> None:
        self.plan, self.queue, self.eventually = plan, plan.queue, eventually
        self.study = plan.open()
        self.run: StudyRun = plan.run(self.study)

    def rq(self, *words: str) -> str:
        """Output of an `rq` command, which must be in the table of the docs."""
        assert f"`rq {words[0]}" in DOCUMENT
        done = subprocess.run(
            [str(RQ), *words, "--url", self.plan.url],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def look(self) -> Snapshot:
        return take_snapshot(self.queue, 0.0)

    def hand_out(self) -> None:
        """Advance the search until the queue has the maximum of jobs."""
        self.eventually(lambda: bool(self.run.reconcile()) and self.look().queued == LAG)

    def suspend(self) -> None:
        """Suspend the queue and wait until the worker has noticed."""
        self.rq("suspend")
        self.eventually(lambda: [each.state for each in self.look().workers] == ["suspended"])

    def beats(self) -> bytes:
        """Time of the last heartbeat of the worker."""
        (key,) = self.queue.connection.smembers("rq:workers:trials")
        return self.queue.connection.hget(key, "last_heartbeat") or b""

    def wait_for_a_beat(self) -> None:
        before = self.beats()
        self.eventually(lambda: self.beats() != before)


@pytest.fixture
def tools(served, eventually: Callable[..., None]) -> Iterator[Tools]:
    made = Tools(served, eventually)
    yield made
    made.study.close()


def test_suspending_emptying_and_requeueing_keep_the_table(tools: Tools) -> None:
    tools.suspend()
    tools.hand_out()
    tools.wait_for_a_beat()
    seen = tools.look()
    assert (seen.queued, seen.finished, seen.stall, seen.eta_seconds) == (LAG, 0, Stall.SUSPENDED, None)

    tools.rq("resume")
    tools.eventually(lambda: tools.look().finished == LAG)
    tools.suspend()
    tools.hand_out()
    assert f"trials       | {LAG}, 0 executing, {LAG} finished, 0 failed" in plain(tools.rq("info"))
    assert "suspended trials. jobs: 4 finished, 0 failed" in plain(tools.rq("info", *CLASSES))
    tools.wait_for_a_beat()
    assert (tools.look().queued, tools.look().finished) == (LAG, LAG)

    assert tools.rq("empty", "trials") == f"{LAG} jobs removed from trials queue\n"
    assert tools.look().queued == 0
    tools.hand_out()

    failed = fail_the_first(tools)
    tools.eventually(lambda: bool(tools.run.reconcile()) and tools.look().queued == LAG)
    assert [job.job for job in failed_jobs(tools.queue)] == [failed]
    assert "Requeueing 1 jobs from failed queue" in tools.rq("requeue", "--queue", "trials", "--all", *CLASSES)
    assert failed_jobs(tools.queue) == []
    assert tools.look().queued == LAG + 1

    tools.rq("suspend", "--duration", "1")
    tools.plan.finish(tools.run)
    assert export(tools.study.trials(), "csv") == tools.plan.table_in_process()


def test_rq_info_with_an_interval_runs_until_stopped(tools: Tools) -> None:
    tools.run.reconcile()
    command = [str(RQ), "info", "--interval", "0.1", "--url", tools.plan.url]
    environment = {**os.environ, "TERM": "dumb", "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as shown:
        assert shown.stdout is not None
        updates = [line for line in iter(shown.stdout.readline, "") if "Updated:" in line and not shown.terminate()]

    assert updates


def fail_the_first(tools: Tools) -> str:
    """Let the first job of the queue fail without a result."""
    job = tools.queue.fetch_job(tools.queue.job_ids[0])
    assert job is not None
    tools.queue.connection.lrem(tools.queue.key, 0, job.id)
    with tools.queue.connection.pipeline() as pipeline:
        record_job_failure(job, "RuntimeError: no luck", pipeline)
        pipeline.execute()
    job.set_status("failed")
    return str(job.id)


def plain(text: str) -> str:
    """Without colours and bars."""
    return re.sub(r"\x1b\[[0-9;]*m|█+", "", text)
