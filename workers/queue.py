"""The queue of trials in Redis: connection, enqueue, answers, and what has become of a job.

A job's id is `{study}-{first}-{last}-a{attempt}`. RQ retries nothing: attempts belong to the conductor.
"""

import json
import logging
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from urllib.parse import urlsplit

from pydantic import JsonValue
from redis import Redis
from redis.exceptions import RedisError
from rq.job import JobStatus
from rq.results import Result
from rq.serializers import JSONSerializer
from rq.utils import as_text
from rq.worker_registration import clean_worker_registry

from tradeschool.errors import ServiceUnreachable, SettingsError
from tradeschool.urls import mask_url
from workers.guard import TrialJob, TrialQueue
from workers.jobs import FUNCTION, Answer, Order
from workers.leases import take_expired
from workers.redis_outage import remedy
from workers.server_time import DATE, NOW, remember, stamp, take_turn
from workers.signing import UNSIGNED, Signer

SCHEMES = ("redis", "rediss", "unix")
CONNECT_SECONDS = 5
ANSWER_SECONDS = 10
"""How long a command may take; longer than any wait for an answer from a list."""
KEEP_SECONDS = 86_400
"""How long a finished job and an uncollected answer stay: RQ's own 500 s would lose them."""
MOST_ANSWERS = 100
MOST_RESULTS = 10
"""That RQ keeps of one job."""
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
"""In one step, because a conductor that is killed half way would leave a job that is known and in no list."""
LEASE_EXPIRED = "the worker's lease ran out"
ORDER_REFUSED = "order refused"
"""How the reason begins of a job whose order a worker would not read: it says nothing of the trials."""

log = logging.getLogger(__name__)


class Fate(Enum):
    """What has become of a job, as the conductor needs to know it."""

    MISSING = "missing"
    """Redis does not know it."""
    WAITING = "waiting"
    """In the queue, or leased by a worker."""
    STRAY = "stray"
    """In no list: its worker was killed between taking and starting it."""
    FINISHED = "finished"
    CRASHED = "crashed"
    """It ended without an answer: killed, timed out, stopped or refused."""
    REFUSED = "refused"
    """A worker would not read its order: not signed as it should be, or of another version."""
    LOST = "lost"
    """Its worker's lease ran out; that says nothing about the job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobReport:
    """One look at one job."""

    fate: Fate
    answer: Answer | None = None
    """Of a finished job, where it is sound."""
    reason: str = ""
    """Of a crashed or lost job, one line."""


def connect(url: str) -> Redis:
    """A connection that has been tried.

    Raises:
        SettingsError: where the URL is of another kind than redis://, rediss:// or unix://.
        ServiceUnreachable: where nobody answers there.
    """
    if urlsplit(url).scheme not in SCHEMES:
        raise SettingsError(f"redis_url {mask_url(url)}: expected redis://, rediss:// or unix://")
    try:
        connection = Redis.from_url(
            url, socket_connect_timeout=CONNECT_SECONDS, socket_timeout=ANSWER_SECONDS, health_check_interval=15
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


def losses_key(study: str) -> str:
    """The hash that counts how often each job was lost."""
    return f"tradeschool:lost:{study}"


def enqueue(queue: TrialQueue, job_id: str, order: Order, timeout_seconds: int, signer: Signer) -> bool:
    """Put the order at the end of the queue; False where a job of that id is known already."""
    job = queue.create_job(
        FUNCTION,
        args=[json.loads(signer.sign("order", order.model_dump_json()))],
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


def pop_answers(connection: Redis, study: str, wait_seconds: float, signer: Signer) -> list[Answer]:
    """The answers that have come, after waiting for the first of them; unreadable ones are logged and dropped."""
    key = results_key(study)
    texts: list[bytes | str] = []
    if wait_seconds > 0 and (first := connection.blpop([key], timeout=wait_seconds)):
        texts.append(first[1])
    more = connection.lpop(key, MOST_ANSWERS)
    texts += more if isinstance(more, list) else []
    answers = [_parse_answer(text, study, signer) for text in texts]
    return [answer for answer in answers if answer is not None]


def depth(queue: TrialQueue) -> int:
    """Jobs that wait, and jobs that are being evaluated; a look that changes nothing."""
    return int(queue.connection.llen(queue.key)) + int(queue.started_job_registry.get_job_count(cleanup=False))


def clean(queue: TrialQueue) -> None:
    """Fail jobs whose lease has run out, and forget what has expired and workers that are gone.

    In place of RQ's own maintenance: that takes a lock which a killed worker holds for fifteen minutes, and reads
    dependents, groups and rate limits, which are not ours, as jobs of any kind.
    """
    _fail_expired(queue)
    _drop_unknown(queue)
    clean_worker_registry(queue)


def clean_in_turn(queue: TrialQueue, seconds: int) -> bool:
    """Clean, unless one of the workers has done so within that time; whether it was this one's turn."""
    if not take_turn(queue.connection, MAINTENANCE_KEY, seconds * 1000):
        return False
    clean(queue)
    return True


def look_at(queue: TrialQueue, job_ids: Sequence[str], signer: Signer = UNSIGNED) -> list[JobReport]:
    """What has become of these jobs, in their order; one round trip, and one more for each that has ended."""
    with queue.connection.pipeline() as pipeline:
        pipeline.lrange(queue.key, 0, -1)
        pipeline.zrange(queue.started_job_registry.key, 0, -1)
        for job_id in job_ids:
            pipeline.hget(TrialJob.key_for(job_id), "status")
        queued, leases, *statuses = pipeline.execute(raise_on_error=False)
    for listed in (queued, leases):
        if isinstance(listed, RedisError):
            raise listed
    held = {entry.partition(b":")[0] for entry in leases} | set(queued)
    looks = zip(job_ids, statuses, strict=True)
    return [_report(queue, job_id, status, signer, is_held=job_id.encode() in held) for job_id, status in looks]


def _fail_expired(queue: TrialQueue) -> None:
    """A job that nobody stores a failure for, because this process is killed now, is a stray."""
    with queue.connection.pipeline() as pipeline:
        for job_id in take_expired(queue):
            results = Result.get_key(job_id)
            failure = Result(job_id, Result.Type.FAILED, queue.connection, exc_string=LEASE_EXPIRED).serialize()
            stamp(pipeline, TrialJob.key_for(job_id), ["ended_at"], {"status": JobStatus.FAILED.value})
            pipeline.expire(TrialJob.key_for(job_id), KEEP_SECONDS)
            pipeline.xadd(results, failure, maxlen=MOST_RESULTS)  # type: ignore[arg-type]  # a dict's keys are invariant
            pipeline.expire(results, KEEP_SECONDS)
            remember(pipeline, queue.failed_job_registry.key, job_id, KEEP_SECONDS)
        pipeline.execute()


def _drop_unknown(queue: TrialQueue) -> None:
    connection, taken = queue.connection, queue.intermediate_queue_key
    for entry in connection.lrange(taken, 0, -1):
        if not connection.exists(TrialJob.key_for(as_text(entry))):
            connection.lrem(taken, 0, as_text(entry))


def _report(queue: TrialQueue, job_id: str, status: object, signer: Signer, *, is_held: bool) -> JobReport:
    match status:
        case b"finished":
            return JobReport(fate=Fate.FINISHED, answer=_returned(queue, job_id, signer))
        case b"failed" | b"stopped" | b"canceled":
            return _failure(queue, job_id)
        case b"queued" | b"started":
            return JobReport(fate=Fate.WAITING if is_held else Fate.STRAY)
    # No hash, or one that no conductor writes.
    return JobReport(fate=Fate.MISSING)


def _returned(queue: TrialQueue, job_id: str, signer: Signer) -> Answer | None:
    result = _latest(queue, job_id)
    if result is None or result.type is not Result.Type.SUCCESSFUL:
        return None
    value: JsonValue = result.return_value
    return _parse_answer(value, job_id, signer)


def _failure(queue: TrialQueue, job_id: str) -> JobReport:
    result = _latest(queue, job_id)
    lines = (result.exc_string or "").strip().splitlines() if result else []
    reason = lines[-1] if lines else "no reason was left behind"
    fates = {LEASE_EXPIRED: Fate.LOST, ORDER_REFUSED: Fate.REFUSED}
    fate = next((fate for begin, fate in fates.items() if reason.startswith(begin)), Fate.CRASHED)
    return JobReport(fate=fate, reason=reason[:512])


def _latest(queue: TrialQueue, job_id: str) -> Result | None:
    job = TrialJob(job_id, connection=queue.connection)
    try:
        return Result.fetch_latest(job, serializer=JSONSerializer)
    except (ValueError, KeyError, RecursionError, zlib.error):
        log.warning("result cannot be read", extra={"action": "result_unreadable", "job": job_id})
        return None


def _parse_answer(text: object, source: str, signer: Signer) -> Answer | None:
    try:
        return Answer.parse(signer.check("answer", text))
    except (ValueError, RecursionError):
        log.warning("answer cannot be read", extra={"action": "answer_unreadable", "source": source})
        return None
