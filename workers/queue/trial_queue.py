"""The queue of trials in Redis: connection, jobs, results and maintenance.

A job's id is `{study}-{first}-{last}-a{attempt}`, of trials or of surrogate markets. RQ retries no job: the coordinator
does.
"""

import json
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum

from redis import Redis
from redis.client import Pipeline
from redis.exceptions import RedisError
from rq.job import JOB_ID_PATTERN, JobStatus
from rq.results import Result
from rq.worker_registration import REDIS_WORKER_KEYS, WORKERS_BY_QUEUE_KEY

from tradeschool.errors import ServiceUnreachable
from tradeschool.settings.urls import mask_url
from workers.connection.redis_client import make_client
from workers.connection.redis_outage import remedy
from workers.connection.server_time import remember, stamp, take_turn
from workers.connection.signing import UNSIGNED, Signer
from workers.queue.job_allowlist import TrialJob, TrialQueue
from workers.queue.job_results import failure_fields
from workers.queue.leases import take_expired
from workers.queue.messages import Batch, BatchResult
from workers.queue.turns import enqueue_in_turn

CONNECT_SECONDS = 5
RESPONSE_SECONDS = 10
"""Time limit of a command; longer than any blocking wait for a list."""
KEEP_SECONDS = 86_400
"""Lifetime of finished jobs and uncollected results; RQ's default of 500 s is too short for an outage."""
CLOSED_SECONDS = 600
"""Lifetime of a finished job whose result the coordinator has; longer than an outage of the database may last."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, PAUSE_GROWTH = 0.0005, 0.02, 1.2
"""Pauses between two looks for results: they grow with the wait, so that a short trial is not held up."""
MAX_RESULTS_READ = 100
MAX_RESULT_BYTES = 32_000_000
"""Bytes of all results of one read; a valid one holds at most 256 evaluations of 65,536 characters."""
POP = """
local found, bytes = {}, 0
for _ = 1, tonumber(ARGV[1]) do
    local first = redis.call('LINDEX', KEYS[1], 0)
    if not first then break end
    if #first <= tonumber(ARGV[2]) and bytes + #first > tonumber(ARGV[2]) then break end
    redis.call('LPOP', KEYS[1])
    if #first <= tonumber(ARGV[2]) then
        found[#found + 1], bytes = first, bytes + #first
    end
end
return found
"""
"""Takes results from the head of a list within limits; one that is too long is dropped."""
MAX_RESULTS = 10
"""Results that are kept per job."""
MAX_CLEANED = 1_000
"""Entries of each list that one round of maintenance checks."""
MAINTENANCE_KEY = "tradeschool:maintenance"
LEASE_EXPIRED = "the worker's lease expired"
BATCH_REFUSED = "batch refused"
"""Start of the reason if a worker cannot accept a batch; the trials do not fail."""
PUT_BACK = "put_back"
"""Field of a job that says why the last worker that took it put it back."""
OTHER_VERSION = f"{BATCH_REFUSED}: not a batch of version"
"""Start of the reason of a worker of a release that puts no job back."""
NOT_IMPORTED = "strategy not imported"
"""Start of the reason if a user's strategy cannot be imported or prepared; the trials do not fail."""

log = logging.getLogger(__name__)


class JobState(Enum):
    """The state of a job as the coordinator sees it."""

    MISSING = "missing"
    """It does not exist in Redis."""
    WAITING = "waiting"
    """In the queue, or leased by a worker."""
    ORPHANED = "orphaned"
    """In no list: its worker was killed between taking and leasing it."""
    FINISHED = "finished"
    CRASHED = "crashed"
    """It ended without a result: killed, timed out or stopped."""
    REFUSED = "refused"
    """A worker refused its batch: wrong signature or another version."""
    NOT_IMPORTED = "not imported"
    """A user's strategy could not be imported or prepared."""
    LEASE_LOST = "lease lost"
    """The lease of its worker expired; the cause may be the job or the worker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobReport:
    """The state of one job."""

    state: JobState
    result: BatchResult | None = None
    """The result of a finished job, if it is valid."""
    reason: str = ""
    """One line on a crashed, lost or refused job, or on a waiting one that a worker put back."""


def connect(url: str) -> Redis:
    """Connect and ping the server.

    Raises:
        SettingsError: The URL is invalid, see `tradeschool.settings.redis_address.parse_redis_url`.
        ServiceUnreachable: The server does not answer.
    """
    connection = make_client(
        url, socket_connect_timeout=CONNECT_SECONDS, socket_timeout=RESPONSE_SECONDS, health_check_interval=15
    )
    with translated(url):
        connection.ping()
    return connection


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Raise ServiceUnreachable with one line for any error of Redis."""
    try:
        yield
    except RedisError as error:
        reason = str(error).partition("\n")[0]
        raise ServiceUnreachable(f"Redis {mask_url(where)}: {reason}: {remedy(error, where)}") from error


def results_key(study: str) -> str:
    """The list that workers push their results on."""
    return f"tradeschool:results:{study}"


def enqueue(queue: TrialQueue, job_id: str, batch: Batch, timeout_seconds: int, signer: Signer) -> bool:
    """Put a batch at its place in the queue; False if a job of that id exists."""
    job = queue.create_job(
        batch.function,
        args=[json.loads(signer.sign(batch.kind, job_id, batch.model_dump_json()))],
        job_id=job_id,
        timeout=timeout_seconds,
        result_ttl=KEEP_SECONDS,
        failure_ttl=KEEP_SECONDS,
        description=job_id,
        status=JobStatus.QUEUED,
    )
    fields = [part for pair in job.to_dict().items() for part in pair]
    return enqueue_in_turn(queue, job, batch.trials, fields)


def forget(queue: TrialQueue, job_id: str) -> None:
    """Delete a job from every list, so that its id can be enqueued again."""
    with queue.connection.pipeline() as pipeline:
        pipeline.lrem(queue.key, 0, job_id)
        pipeline.lrem(queue.intermediate_queue_key, 0, job_id)
        pipeline.zrem(queue.failed_job_registry.key, job_id)
        pipeline.zrem(queue.finished_job_registry.key, job_id)
        pipeline.delete(TrialJob.key_for(job_id), Result.get_key(job_id))
        pipeline.execute()


def expire(queue: TrialQueue, job_ids: Sequence[str]) -> None:
    """Shorten the life of finished jobs to `CLOSED_SECONDS`; the count of finished jobs keeps them for a day."""
    if not job_ids:
        return
    with queue.connection.pipeline(transaction=False) as pipeline:
        for job_id in job_ids:
            pipeline.expire(TrialJob.key_for(job_id), CLOSED_SECONDS)
            pipeline.expire(Result.get_key(job_id), CLOSED_SECONDS)
        pipeline.execute()


def put_back(queue: TrialQueue, job_id: str) -> None:
    """Move an orphaned job to the head of the queue."""
    with queue.connection.pipeline() as pipeline:
        pipeline.lrem(queue.intermediate_queue_key, 0, job_id)
        pipeline.lrem(queue.key, 0, job_id)
        pipeline.lpush(queue.key, job_id)
        pipeline.execute()


def pop_results(connection: Redis, study: str, wait_seconds: float, signer: Signer) -> list[BatchResult]:
    """Wait for the first result and return all that have arrived; unreadable ones are logged and dropped.

    It asks again and again: a blocking command would transfer the first result whatever its size.
    """
    key, began, pause = results_key(study), time.monotonic(), FIRST_PAUSE_SECONDS
    while True:
        texts = connection.eval(POP, 1, key, str(MAX_RESULTS_READ), str(MAX_RESULT_BYTES))
        left = began + wait_seconds - time.monotonic()
        if texts or left <= 0:
            break
        time.sleep(min(pause, left))
        pause = min(PAUSE_GROWTH * pause, LONGEST_PAUSE_SECONDS)
    results = [_parse_result(text, study, signer) for text in texts]
    return [result for result in results if result is not None]


def depth(queue: TrialQueue) -> int:
    """Number of queued and started jobs; changes nothing."""
    return int(queue.connection.llen(queue.key)) + int(queue.started_job_registry.get_job_count(cleanup=False))


def clean(queue: TrialQueue, signer: Signer = UNSIGNED) -> None:
    """Fail jobs with an expired lease, and remove expired entries and the entries of ended workers.

    Replaces RQ's maintenance, which takes a lock that a killed worker holds for fifteen minutes, and reads
    dependents, groups and rate limits as jobs of any kind.
    """
    _fail_expired(queue, signer)
    _drop_unknown(queue)
    _forget_workers(queue)


def clean_in_turn(queue: TrialQueue, seconds: int, signer: Signer = UNSIGNED) -> bool:
    """Clean unless a worker has done so in the last `seconds`; whether this one did."""
    if not take_turn(queue.connection, MAINTENANCE_KEY, seconds * 1000):
        return False
    clean(queue, signer)
    return True


def _fail_expired(queue: TrialQueue, signer: Signer) -> None:
    """Store a failure per expired lease; if this process is killed in between, the job is orphaned and recovered."""
    with queue.connection.pipeline() as pipeline:
        for job_id in take_expired(queue):
            _store_failure(queue, job_id, LEASE_EXPIRED, signer, pipeline)
        pipeline.execute()


def _store_failure(queue: TrialQueue, job_id: str, reason: str, signer: Signer, pipeline: Pipeline) -> None:
    """Store a signed failure in RQ's format for abandoned jobs."""
    key, job_key = Result.get_key(job_id), TrialJob.key_for(job_id)
    result = Result(job_id, Result.Type.FAILED, queue.connection, exc_string=reason).serialize()
    result |= failure_fields(reason, job_id, signer)
    stamp(pipeline, job_key, ["ended_at"], {"status": JobStatus.FAILED.value})
    pipeline.expire(job_key, KEEP_SECONDS)
    remember(pipeline, queue.failed_job_registry.key, job_id, KEEP_SECONDS)
    pipeline.xadd(key, result, maxlen=MAX_RESULTS)  # type: ignore[arg-type]  # strings and numbers
    pipeline.expire(key, KEEP_SECONDS)


def _drop_unknown(queue: TrialQueue) -> None:
    """Remove entries of the intermediate queue that are no jobs; an entry may be any bytes."""
    connection, taken = queue.connection, queue.intermediate_queue_key
    for entry in connection.lrange(taken, 0, MAX_CLEANED - 1):
        name = entry.decode(errors="replace") if isinstance(entry, bytes) else ""
        if not JOB_ID_PATTERN.fullmatch(name) or not connection.exists(TrialJob.key_for(name)):
            connection.lrem(taken, 0, entry)  # type: ignore[arg-type]  # takes bytes, too


def _forget_workers(queue: TrialQueue) -> None:
    """Remove ended workers, and entries that are not a worker's name, from both sets."""
    connection, ours = queue.connection, WORKERS_BY_QUEUE_KEY % queue.name
    for names in (REDIS_WORKER_KEYS, ours):
        known = [name for name in connection.srandmember(names, MAX_CLEANED) or [] if isinstance(name, bytes)]
        workers = [name for name in known if name.startswith(b"rq:worker:")]
        with connection.pipeline(transaction=False) as pipeline:
            for name in workers:
                pipeline.exists(name)
            alive = {name for name, is_there in zip(workers, pipeline.execute(), strict=True) if is_there}
        if gone := [name for name in known if name not in alive]:
            connection.srem(names, *gone)


def _parse_result(text: object, study: str, signer: Signer) -> BatchResult | None:
    """Parse a result that was signed for any job of the study; None if it is unreadable."""
    try:
        job_id = signer.signed_for(text)
        # A result for a job of another study is checked against a name that it was not signed for, and fails.
        content = signer.check("result", job_id if job_id.startswith(f"{study}-") else study, text)
    except ValueError:
        log.warning("result unreadable", extra={"action": "result_unreadable", "source": study})
        return None
    return parsed(content, study)


def parsed(content: object, source: str) -> BatchResult | None:
    """Parse a result; an unreadable one is logged, and None."""
    try:
        return BatchResult.parse(content)
    except ValueError:
        log.warning("result unreadable", extra={"action": "result_unreadable", "source": source})
        return None
