"""Job allowlist: a worker runs only trial batches, whatever is written to Redis."""

import json
import os
import pickle
import zlib
from pathlib import Path

import pytest
from redis import Redis
from rq.exceptions import NoSuchJobError
from rq.job import JobStatus

from tradeschool.errors import TradeschoolError
from workers.queue.job_allowlist import MAX_BYTES, JobRefused, TrialJob, TrialQueue
from workers.queue.messages import FUNCTION, SURROGATE_FUNCTION

ORDER = [FUNCTION, None, [{"v": 1}], {}]


class Trap:
    """Touches a file when it is unpickled."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self._path}",)


@pytest.fixture
def connection(url: str):
    opened = Redis.from_url(url)
    yield opened
    opened.close()


def data_of(content: object) -> bytes:
    return zlib.compress(json.dumps(content).encode())


def write(connection: Redis, job_id: str, **fields: object) -> None:
    """A hash in the queue, as an attacker might write it."""
    honest = {"data": data_of(ORDER), "status": "queued", "origin": "trials", "created_at": "2024-01-01T00:00:00.0Z"}
    connection.hset(f"rq:job:{job_id}", mapping=honest | fields)
    connection.rpush("rq:queue:trials", job_id)


def test_a_valid_job_gives_its_batch(connection: Redis) -> None:
    write(connection, "honest")

    assert TrialJob.fetch("honest", connection).payload() == {"v": 1}


@pytest.mark.parametrize("function", [FUNCTION, SURROGATE_FUNCTION])
def test_a_job_knows_which_of_the_two_functions_it_names(connection: Redis, function: str) -> None:
    write(connection, "honest", data=data_of([function, None, [{"v": 1}], {}]))
    job = TrialJob.fetch("honest", connection)

    assert (job.payload(), job.function) == ({"v": 1}, function)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(["os.system", None, ["true"], {}], id="another function"),
        pytest.param([FUNCTION, "an instance", [{}], {}], id="a method"),
        pytest.param([FUNCTION, None, [{}, {}], {}], id="two arguments"),
        pytest.param([FUNCTION, None, [{}], {"bench": 1}], id="a keyword argument"),
        pytest.param({"func": FUNCTION}, id="another form"),
        pytest.param([["workers.work_horse.evaluator.evaluate_trials"], None, [{}], {}], id="a list as name"),
        pytest.param(7, id="a number"),
    ],
)
def test_a_job_of_unknown_format_is_refused(connection: Redis, content: object) -> None:
    write(connection, "hostile", data=data_of(content))

    with pytest.raises(JobRefused, match="not allowed"):
        TrialJob.fetch("hostile", connection).perform()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        pytest.param("data", pickle.dumps(("os.system", None, ("true",), {})), id="unpacked pickle"),
        pytest.param("data", zlib.compress(b"[" * 100_000), id="deep nesting"),
        pytest.param("data", zlib.compress(b" " * (MAX_BYTES + 1)), id="a bomb"),
        pytest.param("data", data_of(ORDER)[:-6], id="cut data"),
        pytest.param("status", b"dancing", id="unknown status"),
        pytest.param("timeout", b"-1", id="no time-out"),
        pytest.param("timeout", b"9" * 12, id="an endless time-out"),
        pytest.param("created_at", b"yesterday", id="no date"),
        pytest.param("worker_name", b"\xff\xfe", id="no text"),
        pytest.param("result_ttl", b"1e9", id="no number"),
    ],
)
def test_a_job_with_an_invalid_field_is_refused_without_crash(connection: Redis, field: str, value: bytes) -> None:
    write(connection, "hostile", **{field: value})

    with pytest.raises(JobRefused, match="not allowed"):
        TrialJob.fetch("hostile", connection).perform()


def test_fields_that_could_run_code_are_not_read(connection: Redis, tmp_path) -> None:
    trap = pickle.dumps(Trap(str(tmp_path / "sprung")))
    write(
        connection,
        "hostile",
        meta=trap,
        result=trap,
        success_callback_name="os.abort",
        failure_callback_name="os.abort",
        stopped_callback_name="os.abort",
        webhooks=json.dumps([{"url": "http://127.0.0.1:1/", "job_status": "failed"}]),
        repeats_left="9",
        retries_left="9",
        dependency_ids='["other"]',
        group_id="g",
        rate_limit_key="k",
        rate_limit_concurrency="1",
        origin="elsewhere",
    )

    job = TrialJob.fetch("hostile", connection)

    assert (job.success_callback, job.failure_callback, job.stopped_callback) == (None, None, None)
    assert (job.webhooks, job.repeats_left, job.retries_left, job.meta) == ([], None, None, {})
    assert (job.group_id, job.has_rate_limit, job._dependency_ids, job.origin) == (None, False, [], "trials")
    assert not (tmp_path / "sprung").exists()


def test_a_job_is_executed_by_a_trial_worker_only(connection: Redis) -> None:
    write(connection, "honest")

    with pytest.raises(JobRefused, match="only a trial worker"):
        TrialJob.fetch("honest", connection).perform()


@pytest.mark.parametrize("job_id", ["../x", "a b", "x\ny", ""])
def test_an_unknown_id_is_not_a_job(connection: Redis, job_id: str) -> None:
    with pytest.raises(NoSuchJobError):
        TrialJob.fetch(job_id, connection)


def test_a_key_of_another_type_is_not_a_job(connection: Redis) -> None:
    connection.set("rq:job:text", "x")

    with pytest.raises(NoSuchJobError):
        TrialJob.fetch("text", connection)


def test_a_queue_always_reads_json(connection: Redis) -> None:
    queue = TrialQueue.from_queue_key("rq:queue:trials", connection, job_class=None, serializer="pickle")
    write(connection, "honest")

    assert isinstance(queue.fetch_job("honest"), TrialJob)


def test_hostile_jobs_fail_and_valid_jobs_continue(served, eventually, tmp_path) -> None:
    connection, expected = served.queue.connection, served.table_in_process()
    sprung = str(tmp_path / "sprung")
    trap = pickle.dumps(Trap(sprung))
    write(connection, "h1", data=data_of(["os.system", None, [f"touch {sprung}"], {}]))
    write(connection, "h2", data=zlib.compress(trap), meta=trap)
    write(connection, "h3", failure_callback_name="os.abort", status="dancing")
    write(
        connection, "h4", data=data_of([FUNCTION, None, [{"v": 1, "study": "x"}], {}]), success_callback_name="os.abort"
    )
    connection.rpush("rq:queue:trials", "../../etc/passwd", b"\xff\xfe", "nobody")
    connection.zadd("rq:wip:trials", {"no-colon": 1, "h5:x:y": 2})

    assert served.table_by_queue() == expected
    statuses = [TrialJob.fetch(f"h{number}", connection).get_status() for number in (1, 2, 3, 4)]

    assert statuses == [JobStatus.FAILED] * 4
    assert not Path(sprung).exists()


def test_a_refusal_is_a_product_error() -> None:
    assert issubclass(JobRefused, TradeschoolError)
