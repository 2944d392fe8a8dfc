"""Connections report errors in one line and never show the password."""

import threading

import pytest
from redis import Redis

from tradeschool.errors import ServiceUnreachable, SettingsError
from tradeschool.settings.urls import mask_url
from workers.connection.signing import Signer
from workers.queue.job_reports import look_at
from workers.queue.messages import BatchResult
from workers.queue.trial_queue import (
    MAX_RESULT_BYTES,
    JobState,
    connect,
    depth,
    forget,
    pop_results,
    put_back,
    results_key,
)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://me:s3cret@host:6379/0", "redis://me:***@host:6379/0"),
        ("rediss://:s3cret@host", "rediss://:***@host"),
        ("unix:///run/x.sock?db=1&password=s3cret", "unix:///run/x.sock?db=1&password=***"),
        ("redis://host", "redis://host"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert mask_url(url) == shown


def test_an_unreachable_server_is_reported_in_one_line() -> None:
    with pytest.raises(ServiceUnreachable) as caught:
        connect("redis://me:s3cret@127.0.0.1:1/0")

    assert "me:***@127.0.0.1:1" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://host", "host:6379", "redis://host:port"])
def test_a_url_without_redis_scheme_is_a_settings_error(url: str) -> None:
    with pytest.raises(SettingsError, match="redis_url"):
        connect(url)


def test_a_connection_is_tested_on_creation(url: str) -> None:
    connection = connect(url)

    assert connection.ping()
    connection.close()


def test_jobs_are_queued_orphaned_or_missing(plan) -> None:
    study = plan.open()
    plan.run(study).reconcile()
    study.close()
    queue = plan.queue
    jobs = [f"{plan.study}-{number}-{number}-a1" for number in range(3)]
    queue.connection.lmove(queue.key, queue.intermediate_queue_key, "LEFT", "RIGHT")
    forget(queue, jobs[2])

    assert [report.state for report in look_at(queue, jobs, Signer())] == [
        JobState.ORPHANED,
        JobState.WAITING,
        JobState.MISSING,
    ]
    assert depth(queue) == plan.lag - 2

    put_back(queue, jobs[0])

    assert look_at(queue, jobs[:1], Signer())[0].state is JobState.WAITING
    assert queue.connection.lindex(queue.key, 0) == jobs[0].encode()


def test_an_oversized_result_is_dropped_without_a_transfer(plan) -> None:
    connection, key = plan.queue.connection, results_key(plan.study)
    connection.rpush(key, b"x" * (MAX_RESULT_BYTES + 1), BatchResult(study=plan.study, worker="w").model_dump_json())
    before = connection.info("stats")["total_net_output_bytes"]

    results = pop_results(connection, plan.study, 600.0, Signer())

    assert [result.worker for result in results] == ["w"]
    assert connection.info("stats")["total_net_output_bytes"] - before < 100_000
    assert connection.exists(key) == 0


def test_the_first_result_ends_the_wait(plan) -> None:
    connection, key = plan.queue.connection, results_key(plan.study)
    text = BatchResult(study=plan.study, worker="w").model_dump_json()
    arrival = threading.Timer(0.2, lambda: Redis(connection_pool=connection.connection_pool).rpush(key, text))
    arrival.start()

    assert [result.worker for result in pop_results(connection, plan.study, 600.0, Signer())] == ["w"]
    assert pop_results(connection, plan.study, 0.01, Signer()) == []
    arrival.join()
