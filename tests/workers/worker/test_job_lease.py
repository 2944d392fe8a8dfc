"""Job leases in Redis: taking, finishing, returning and failing a job."""

import pytest
from redis import Redis
from rq.job import JobStatus
from rq.worker import WorkerStatus

from workers.connection.server_time import CLOCK_KEY
from workers.queue.job_allowlist import TrialJob
from workers.queue.job_reports import look_at
from workers.queue.trial_queue import JobState, results_key
from workers.worker.job_lease import LeaseClient


@pytest.fixture
def lease_client(plan) -> LeaseClient:
    return LeaseClient(plan.queue, name="w", key="rq:worker:w", lease_seconds=9, silence_seconds=20)


@pytest.fixture
def jobs(plan) -> list[str]:
    """The first four jobs of a study in the queue."""
    study = plan.open()
    plan.run(study).reconcile()
    study.close()
    return [f"{plan.study}-{number}-{number}-a1" for number in range(4)]


def test_a_worker_leases_and_finishes_one_job_after_another(plan, lease_client: LeaseClient, jobs: list[str]) -> None:
    connection, queue = plan.queue.connection, plan.queue
    taken = lease_client.wait(60)
    leased = lease_client.begin(taken)
    started = TrialJob.fetch(jobs[0], connection)
    status = started.get_status(refresh=False)
    leases, begun = connection.zrange("rq:wip:trials", 0, -1, withscores=True), float(connection.get(CLOCK_KEY))
    following = lease_client.submit(leased, plan.study, b'{"an": "result"}', take_next=True)
    ended = TrialJob.fetch(jobs[0], connection)

    assert (taken, following) == (jobs[0], jobs[1])
    assert (status, started.worker_name) == (JobStatus.STARTED, "w")
    assert leases[0][0].decode() == leased.lease
    assert leases[0][1] == pytest.approx(begun + 9, abs=1e-3)
    assert ended.get_status() is JobStatus.FINISHED
    assert connection.lrange(results_key(plan.study), 0, -1) == [b'{"an": "result"}']
    assert ended.latest_result().return_value == {"an": "result"}
    assert connection.zrange("rq:wip:trials", 0, -1) == []
    assert connection.zrange(queue.finished_job_registry.key, 0, -1) == [jobs[0].encode()]
    assert connection.lrange(queue.intermediate_queue_key, 0, -1) == [jobs[1].encode()]
    assert connection.hget("rq:worker:w", "successful_job_count") == b"1"
    assert 80_000 < connection.ttl(f"rq:job:{jobs[0]}") <= 86_400


def test_an_unstarted_job_returns_to_the_head_of_the_queue(plan, lease_client: LeaseClient, jobs: list[str]) -> None:
    leased = lease_client.begin(lease_client.wait(60))

    lease_client.release(leased)

    connection = plan.queue.connection
    assert [entry.decode() for entry in connection.lrange("rq:queue:trials", 0, -1)] == jobs
    assert TrialJob.fetch(jobs[0], connection).get_status() is JobStatus.QUEUED
    assert connection.zrange("rq:wip:trials", 0, -1) == []
    assert look_at(plan.queue, jobs[:1])[0].state is JobState.WAITING


def test_a_worker_that_stops_takes_no_further_job(plan, lease_client: LeaseClient, jobs: list[str]) -> None:
    leased = lease_client.begin(lease_client.wait(60))

    assert lease_client.submit(leased, plan.study, b"{}", take_next=False) is None
    assert plan.queue.connection.llen("rq:queue:trials") == 3


def test_a_failed_job_has_its_reason(plan, lease_client: LeaseClient, jobs: list[str]) -> None:
    leased = lease_client.begin(lease_client.wait(60))
    lease_client.fail(leased, "it broke", {}, take_next=False)

    (report,) = look_at(plan.queue, jobs[:1])

    assert (report.state, report.reason) == (JobState.CRASHED, "it broke")
    assert plan.queue.connection.hget("rq:worker:w", "failed_job_count") == b"1"


def test_a_deleted_job_leaves_no_key(plan, lease_client: LeaseClient, jobs: list[str]) -> None:
    taken = lease_client.wait(60)
    plan.queue.connection.delete(f"rq:job:{taken}")

    assert lease_client.begin(taken) is None
    assert not plan.queue.connection.exists(f"rq:job:{taken}")
    assert plan.queue.connection.zcard("rq:wip:trials") == 0
    assert plan.queue.connection.llen(plan.queue.intermediate_queue_key) == 0


def test_a_key_of_another_type_is_unchanged(plan, lease_client: LeaseClient) -> None:
    plan.queue.connection.set("rq:job:text", "mine")

    assert lease_client.begin("text") is None
    assert plan.queue.connection.get("rq:job:text") == b"mine"


@pytest.mark.parametrize("entry", [b"../../etc", b"\xff\xfe", b"a b", b""])
def test_an_invalid_job_id_is_dropped(plan, lease_client: LeaseClient, entry: bytes) -> None:
    plan.queue.connection.rpush("rq:queue:trials", entry)

    assert lease_client.wait(1) is None
    assert plan.queue.connection.llen(plan.queue.intermediate_queue_key) == 0


def test_a_lost_lease_is_not_taken_back(plan, lease_client: LeaseClient, jobs: list[str]) -> None:
    leased = lease_client.begin(lease_client.wait(60))
    plan.queue.connection.delete("rq:wip:trials")
    lease_client.renew(leased)

    assert plan.queue.connection.zcard("rq:wip:trials") == 0


def test_a_worker_detects_that_its_registration_is_gone(lease_client: LeaseClient, url: str) -> None:
    first, second = lease_client.heartbeat(WorkerStatus.IDLE), lease_client.heartbeat(WorkerStatus.IDLE)
    Redis.from_url(url).flushdb()

    assert (first, second, lease_client.heartbeat(WorkerStatus.IDLE)) == (False, True, False)
