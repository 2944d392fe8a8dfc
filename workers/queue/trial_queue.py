"""The queue of trials in Redis: connection, enqueue, answers, and what has become of a job.

A job's id is `{study}-{first}-{last}-a{attempt}`. RQ retries nothing: attempts belong to the coordinator.
"""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from urllib.parse import urlsplit

from redis import Redis
from redis.client import Pipeline
from redis.exceptions import RedisError
from rq.job import JOB_ID_PATTERN, JobStatus
from rq.results import Result
from rq.worker_registration import REDIS_WORKER_KEYS, WORKERS_BY_QUEUE_KEY

from tradeschool.errors import ServiceUnreachable, SettingsError
from tradeschool.settings.urls import mask_url
from workers.connection.redis_outage import remedy
from workers.connection.server_time import DATE, NOW, remember, stamp, take_turn
from workers.connection.signing import UNSIGNED, Signer
from workers.queue.job_allowlist import TrialJob, TrialQueue
from workers.queue.job_results import failure_fields
from workers.queue.leases import take_expired
from workers.queue.messages import FUNCTION, BatchResult, TrialBatch

SCHEMES = ("redis", "rediss", "unix")
CONNECT_SECONDS = 5
RESPONSE_SECONDS = 10
"""How long a command may take; longer than any wait for an answer from a list."""
KEEP_SECONDS = 86_400
"""How long a finished job and an uncollected answer stay: RQ's own 500 s would lose them."""
MAX_RESULTS_READ = 100
MAX_RESULT_BYTES = 32_000_000
"""Of all answers that are taken at once; an honest one holds at most 256 evaluations of 65,536 characters."""
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
"""Takes answers from the head of a list, in bounds; one that is too long to be an answer is dropped."""
MAX_RESULTS = 10
"""That are kept of one job."""
MAX_CLEANED = 1_000
"""Entries of each list that one round of maintenance looks at; the next goes on."""
MAINTENANCE_KEY = "tradeschool:maintenance"
ENQUEUE = f"""
{NOW}{DATE}
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV, 2))
redis.call('HSET', KEYS[1], 'created_at', date(), 'enqueued_at', date())
redis.call('SADD', KEYS[3], KEYS[2])
redis.call('RPUSH', KEYS[2], ARGV[1])
return 1
"""
"""In one step, because a coordinator that is killed half way would leave a job that is known and in no list."""
LEASE_EXPIRED = "the worker's lease ran out"
BATCH_REFUSED = "order refused"
"""How the reason begins of a job whose order a worker would not read: it says nothing of the trials."""
NOT_IMPORTED = "strategy not imported"
"""How it begins where a user's strategy could not be imported, or made ready; the same holds."""

log = logging.getLogger(__name__)


class JobState(Enum):
    """What has become of a job, as the coordinator needs to know it."""

    MISSING = "missing"
    """Redis does not know it."""
    WAITING = "waiting"
    """In the queue, or leased by a worker."""
    ORPHANED = "stray"
    """In no list: its worker was killed between taking and starting it."""
    FINISHED = "finished"
    CRASHED = "crashed"
    """It ended without an answer: killed, timed out, stopped or refused."""
    REFUSED = "refused"
    """A worker would not read its order: not signed as it should be, or of another version."""
    NOT_IMPORTED = "not imported"
    """A user's strategy could not be imported, or made ready."""
    LEASE_LOST = "lost"
    """Its worker's lease ran out; that says nothing about the job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobReport:
    """One look at one job."""

    state: JobState
    result: BatchResult | None = None
    """Of a finished job, where it is sound."""
    reason: str = ""
    """Of a crashed or lost job, one line."""


def connect(url: str) -> Redis:
    """A connection that has been tried.

    Raises:
        SettingsError: where the URL is of another kind than redis://, rediss:// or unix://, or has a raw # or ? in it.
        ServiceUnreachable: where nobody answers there.
    """
    if urlsplit(url).scheme not in SCHEMES:
        raise SettingsError(f"redis_url {mask_url(url)}: expected redis://, rediss:// or unix://")
    parts = urlsplit(url)
    if parts.fragment or any("=" not in option for option in parts.query.split("&") if option):
        raise SettingsError(f"redis_url {mask_url(url)}: the path ends at # or ?: write %23 for #, and %3F for ?")
    try:
        connection = Redis.from_url(
            url, socket_connect_timeout=CONNECT_SECONDS, socket_timeout=RESPONSE_SECONDS, health_check_interval=15
        )
    except ValueError as error:
        raise SettingsError(f"redis_url {mask_url(url)}: {error}") from None
    with translated(url):
        connection.ping()
    return connection


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Redis's errors as ours, in one line."""
    try:
        yield
    except RedisError as error:
        reason = str(error).partition("\n")[0]
        raise ServiceUnreachable(f"Redis {mask_url(where)}: {reason}: {remedy(error)}") from error


def results_key(study: str) -> str:
    """The list on which workers push their answers."""
    return f"tradeschool:results:{study}"


def enqueue(queue: TrialQueue, job_id: str, batch: TrialBatch, timeout_seconds: int, signer: Signer) -> bool:
    """Put the order at the end of the queue; False where a job of that id is known already."""
    job = queue.create_job(
        FUNCTION,
        args=[json.loads(signer.sign("batch", job_id, batch.model_dump_json()))],
        job_id=job_id,
        timeout=timeout_seconds,
        result_ttl=KEEP_SECONDS,
        failure_ttl=KEEP_SECONDS,
        description=job_id,
        status=JobStatus.QUEUED,
    )
    fields = [part for pair in job.to_dict().items() for part in pair]
    keys = (job.key, queue.key, queue.redis_queues_keys)
    return bool(queue.connection.eval(ENQUEUE, len(keys), *keys, job_id, *fields))


def forget(queue: TrialQueue, job_id: str) -> None:
    """Remove every trace of a job, so that its id can be enqueued again."""
    with queue.connection.pipeline() as pipeline:
        pipeline.lrem(queue.key, 0, job_id)
        pipeline.lrem(queue.intermediate_queue_key, 0, job_id)
        pipeline.zrem(queue.failed_job_registry.key, job_id)
        pipeline.zrem(queue.finished_job_registry.key, job_id)
        pipeline.delete(TrialJob.key_for(job_id), Result.get_key(job_id))
        pipeline.execute()


def put_back(queue: TrialQueue, job_id: str) -> None:
    """Move a stray job to the head of the queue."""
    with queue.connection.pipeline() as pipeline:
        pipeline.lrem(queue.intermediate_queue_key, 0, job_id)
        pipeline.lrem(queue.key, 0, job_id)
        pipeline.lpush(queue.key, job_id)
        pipeline.execute()


def pop_results(connection: Redis, study: str, wait_seconds: float, signer: Signer) -> list[BatchResult]:
    """The answers that have come, after waiting for the first of them; unreadable ones are logged and dropped."""
    key = results_key(study)
    texts: list[bytes | str] = []
    if wait_seconds > 0 and (first := connection.blpop([key], timeout=wait_seconds)):
        texts.append(first[1])
    texts += connection.eval(POP, 1, key, str(MAX_RESULTS_READ), str(MAX_RESULT_BYTES))
    results = [_parse_result(text, study, signer) for text in texts]
    return [result for result in results if result is not None]


def depth(queue: TrialQueue) -> int:
    """Jobs that wait, and jobs that are being evaluated; a look that changes nothing."""
    return int(queue.connection.llen(queue.key)) + int(queue.started_job_registry.get_job_count(cleanup=False))


def clean(queue: TrialQueue, signer: Signer = UNSIGNED) -> None:
    """Fail jobs whose lease has run out, and forget what has expired and workers that are gone.

    In place of RQ's own maintenance: that takes a lock which a killed worker holds for fifteen minutes, and reads
    dependents, groups and rate limits, which are not ours, as jobs of any kind.
    """
    _fail_expired(queue, signer)
    _drop_unknown(queue)
    _forget_workers(queue)


def clean_in_turn(queue: TrialQueue, seconds: int, signer: Signer = UNSIGNED) -> bool:
    """Clean, unless one of the workers has done so within that time; whether it was this one's turn."""
    if not take_turn(queue.connection, MAINTENANCE_KEY, seconds * 1000):
        return False
    clean(queue, signer)
    return True


def _fail_expired(queue: TrialQueue, signer: Signer) -> None:
    """A job that nobody stores a failure for, because this process is killed now, is a stray."""
    with queue.connection.pipeline() as pipeline:
        for job_id in take_expired(queue):
            _store_failure(queue, job_id, LEASE_EXPIRED, signer, pipeline)
        pipeline.execute()


def _store_failure(queue: TrialQueue, job_id: str, reason: str, signer: Signer, pipeline: Pipeline) -> None:
    """As RQ stores that of an abandoned job, signed."""
    key, job_key = Result.get_key(job_id), TrialJob.key_for(job_id)
    result = Result(job_id, Result.Type.FAILED, queue.connection, exc_string=reason).serialize()
    result |= failure_fields(reason, job_id, signer)
    stamp(pipeline, job_key, ["ended_at"], {"status": JobStatus.FAILED.value})
    pipeline.expire(job_key, KEEP_SECONDS)
    remember(pipeline, queue.failed_job_registry.key, job_id, KEEP_SECONDS)
    pipeline.xadd(key, result, maxlen=MAX_RESULTS)  # type: ignore[arg-type]  # texts and numbers
    pipeline.expire(key, KEEP_SECONDS)


def _drop_unknown(queue: TrialQueue) -> None:
    """Forget what was taken and is no job; entries are compared as they are, for a stranger's need not be text."""
    connection, taken = queue.connection, queue.intermediate_queue_key
    for entry in connection.lrange(taken, 0, MAX_CLEANED - 1):
        name = entry.decode(errors="replace") if isinstance(entry, bytes) else ""
        if not JOB_ID_PATTERN.fullmatch(name) or not connection.exists(TrialJob.key_for(name)):
            connection.lrem(taken, 0, entry)  # type: ignore[arg-type]  # takes bytes, too


def _forget_workers(queue: TrialQueue) -> None:
    """Take the names of workers that are gone out of both sets, and what is no worker's name."""
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
    """An answer of the list; it was signed for one of the study's jobs, whichever."""
    try:
        job_id = signer.signed_for(text)
        # Signed for a job of another study, it is held against a name that it was not signed for.
        content = signer.check("result", job_id if job_id.startswith(f"{study}-") else study, text)
    except ValueError:
        log.warning("answer cannot be read", extra={"action": "result_unreadable", "source": study})
        return None
    return parsed(content, study)


def parsed(content: object, source: str) -> BatchResult | None:
    """The answer that a content says; one that cannot be read is logged, and None."""
    try:
        return BatchResult.parse(content)
    except ValueError:
        log.warning("answer cannot be read", extra={"action": "result_unreadable", "source": source})
        return None
