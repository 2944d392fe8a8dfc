"""Leases: a lease expires after a time without heartbeats, independent of any wall clock."""

import time
from datetime import UTC, datetime

import pytest
from rq.job import JobStatus
from rq.utils import utcformat

from workers.connection.server_time import CLOCK_KEY, DATE, MAX_ADVANCE_SECONDS, server_now, take_turn
from workers.queue.job_allowlist import TrialJob
from workers.queue.job_reports import look_at
from workers.queue.leases import LONGEST_LEASE_SECONDS
from workers.queue.trial_queue import LEASE_EXPIRED, JobState, clean
from workers.queue.worker_losses import count_loss
from workers.worker.job_lease import LeaseClient, LeasedJob

LEASES, DAY = "rq:wip:trials", 86_400
SHORT = MAX_ADVANCE_SECONDS - 2


@pytest.fixture
def lease_client(plan) -> LeaseClient:
    return LeaseClient(plan.queue, name="w", key="rq:worker:w", lease_seconds=9, silence_seconds=20)


@pytest.fixture
def leased(plan, lease_client: LeaseClient) -> LeasedJob:
    """The first job of a study."""
    study = plan.open()
    plan.run(study).reconcile()
    study.close()
    taken = lease_client.begin(lease_client.wait(60))
    assert taken is not None
    return taken


def leave(plan, leased: LeasedJob, seconds: float, clock: object) -> None:
    """Write a lease with remaining seconds at a given server time."""
    connection = plan.queue.connection
    connection.delete(CLOCK_KEY)
    if clock is not None:
        connection.set(CLOCK_KEY, str(clock))
    begin = float(clock) if isinstance(clock, int | float) else server_now(connection)
    connection.zadd(LEASES, {leased.lease: begin + seconds})


@pytest.mark.parametrize(
    ("leap", "left", "is_over"),
    [
        pytest.param(SHORT, SHORT + 60, False, id="time passes"),
        pytest.param(SHORT, SHORT - 2, True, id="time passes and it ends"),
        pytest.param(30, 25, False, id="set half a minute ahead"),
        pytest.param(30, MAX_ADVANCE_SECONDS - 2, True, id="ended while nobody looked"),
        pytest.param(DAY, 8, False, id="set a day ahead"),
        pytest.param(-30, 8, False, id="set half a minute back"),
        pytest.param(-DAY, 8, False, id="set a day back"),
        pytest.param(-DAY, -1, True, id="set a day back after it ended"),
    ],
)
def test_a_lease_follows_the_server_clock(plan, leased: LeasedJob, leap: float, left: float, is_over: bool) -> None:
    now = server_now(plan.queue.connection)
    leave(plan, leased, left, now - leap)

    clean(plan.queue)
    (report,) = look_at(plan.queue, [leased.job.id])

    assert report.state is (JobState.LEASE_LOST if is_over else JobState.WAITING)


@pytest.mark.parametrize("garbage", ["", "x", "nan", "-1e999", b"\xff"])
def test_a_damaged_clock_is_reset(plan, leased: LeasedJob, garbage: str | bytes) -> None:
    plan.queue.connection.set(CLOCK_KEY, garbage)
    clean(plan.queue)
    clean(plan.queue)

    assert look_at(plan.queue, [leased.job.id])[0].state is JobState.WAITING
    assert plan.queue.connection.zscore(LEASES, leased.lease) < server_now(plan.queue.connection) + 60
    assert abs(float(plan.queue.connection.get(CLOCK_KEY)) - server_now(plan.queue.connection)) < 60


def test_a_forged_lease_expires(plan, leased: LeasedJob) -> None:
    connection = plan.queue.connection
    connection.zadd(LEASES, {leased.lease: 9e15, "other:lease": "inf"})
    clean(plan.queue)
    scores = [score for _, score in connection.zrange(LEASES, 0, -1, withscores=True)]

    assert len(scores) == 2
    assert max(scores) <= server_now(connection) + LONGEST_LEASE_SECONDS


def test_a_clock_key_of_another_type_is_replaced(plan, leased: LeasedJob) -> None:
    plan.queue.connection.delete(CLOCK_KEY)
    plan.queue.connection.rpush(CLOCK_KEY, "x")
    clean(plan.queue)

    assert look_at(plan.queue, [leased.job.id])[0].state is JobState.WAITING


def test_a_job_with_an_expired_lease_is_failed_and_listed(plan, leased: LeasedJob) -> None:
    leave(plan, leased, -1, None)
    clean(plan.queue)
    job = TrialJob.fetch(leased.job.id, plan.queue.connection)

    assert job.get_status() is JobStatus.FAILED
    assert job.latest_result().exc_string == LEASE_EXPIRED
    assert plan.queue.connection.zrange("rq:failed:trials", 0, -1) == [leased.job.id.encode()]
    assert plan.queue.connection.zcard(LEASES) == 0


def test_a_job_taken_by_another_worker_continues(plan, leased: LeasedJob) -> None:
    leave(plan, leased, -1, None)
    plan.queue.connection.zadd(LEASES, {f"{leased.job.id}:another": server_now(plan.queue.connection) + 60})
    clean(plan.queue)

    assert look_at(plan.queue, [leased.job.id])[0].state is JobState.WAITING
    assert plan.queue.connection.zcard(LEASES) == 1


def test_a_lease_of_a_finished_job_is_removed(plan, lease_client: LeaseClient, leased: LeasedJob) -> None:
    lease_client.submit(leased, plan.study, b"{}", take_next=False)
    leave(plan, leased, -1, None)
    clean(plan.queue)

    assert TrialJob.fetch(leased.job.id, plan.queue.connection).is_finished
    assert plan.queue.connection.zcard(LEASES) == 0


def test_only_a_dead_worker_counts_as_a_loss(plan, leased: LeasedJob) -> None:
    connection, study = plan.queue.connection, plan.study
    held_up = [count_loss(connection, study, leased.job.id) for _ in range(3)]
    connection.delete("rq:worker:w")
    gone = [count_loss(connection, study, leased.job.id) for _ in range(2)]
    connection.hset(leased.job.key, "worker_name", "v")
    both = count_loss(connection, study, leased.job.id)
    connection.hset("rq:worker:w", "state", "idle")

    assert (held_up, gone, both) == ([0, 0, 0], [1, 1], 2)
    assert count_loss(connection, study, leased.job.id) == 1


def test_a_turn_from_before_a_clock_reset_is_over(plan) -> None:
    connection = plan.queue.connection
    connection.set("turn", "1", px=DAY * 1_000)

    assert [take_turn(connection, "turn", 60_000) for _ in range(2)] == [True, False]


@pytest.mark.parametrize("year", [1970, 1999, 2000, 2023, 2024, 2100])
@pytest.mark.parametrize("day", ["01-01", "02-28", "03-01", "12-31"])
def test_a_date_has_the_format_of_rq(plan, year: int, day: str) -> None:
    moment = datetime.fromisoformat(f"{year}-{day}T23:59:58.000123+00:00")
    script = f"local time = {{ARGV[1], ARGV[2]}} {DATE} return date()"

    assert plan.queue.connection.eval(script, 0, int(moment.timestamp()), 123).decode() == utcformat(moment)


def test_the_server_time_is_a_unix_time(plan) -> None:
    assert abs(server_now(plan.queue.connection) - time.time()) < 3_600
    assert datetime.fromtimestamp(server_now(plan.queue.connection), UTC).year > 2020
