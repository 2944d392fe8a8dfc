"""Lists failed jobs with their reasons, and requeues them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from pydantic import JsonValue
from redis.exceptions import RedisError
from rq.job import JOB_ID_PATTERN
from rq.results import Result

from workers.connection.bounded_reads import log_once, number, parse_key, read_key, text
from workers.connection.damaged_keys import key_types_of, with_damaged_keys_removed
from workers.connection.signing import UNSIGNED
from workers.queue.job_allowlist import TrialJob, TrialQueue
from workers.queue.job_names import attempt_of, level_of, trials_of
from workers.queue.job_results import latest_result
from workers.queue.trial_queue import KEEP_SECONDS

MAX_LISTED = 200
MAX_REQUEUED = 10_000
LATEST = 4_102_444_800.0
"""Unix time of the year 2100."""

# Atomic: two simultaneous requests, or a coordinator that sends the job again, queue it once.
_REQUEUE = """
local queued, jobs, results = {}, ARGV[1], ARGV[2]
for place = 3, #ARGV do
    local job = ARGV[place]
    if redis.call('ZREM', KEYS[1], job) == 1 and redis.call('EXISTS', jobs .. job) == 1 then
        redis.call('HSET', jobs .. job, 'status', 'queued')
        redis.call('DEL', results .. job)
        redis.call('RPUSH', KEYS[2], job)
        queued[#queued + 1] = job
    end
end
return queued
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedJob:
    """One job that ended without a result in the last day."""

    job: str
    reason: str
    """One line."""
    ended: float
    """Unix time in seconds."""

    def to_json(self) -> dict[str, JsonValue]:
        """As JSON, with trials, level and attempt."""
        names = {"trials": trials_of(self.job), "level": level_of(self.job), "attempt": attempt_of(self.job)}
        return {**asdict(self), **names}


def failed_jobs(queue: TrialQueue, most: int = MAX_LISTED) -> list[FailedJob]:
    """The latest failed jobs, the newest first."""
    key = queue.failed_job_registry.key
    with queue.connection.pipeline(transaction=False) as pipeline:
        read_key(pipeline, key, "zset", most=most, newest=True)
        (reply,) = pipeline.execute(raise_on_error=False)
    if isinstance(reply, RedisError):
        raise reply
    found = parse_key(key, "zset", reply)
    if found.error:
        log_once(key, found.error)
    return [
        # A failed job's score is the time of its removal.
        FailedJob(job=text(name), reason=_reason(queue, text(name)), ended=_moment(number(score)))
        for name, score in found.pairs
        if JOB_ID_PATTERN.fullmatch(text(name))
    ]


def requeue(queue: TrialQueue, jobs: Sequence[str] | None = None) -> list[str]:
    """Put failed jobs at the end of the queue and return their ids; all of them if `jobs` is None.

    A job that has not failed, or was requeued by another process, is skipped.
    """
    return with_damaged_keys_removed(queue.connection, key_types_of(queue), lambda: _requeue(queue, jobs))


def _requeue(queue: TrialQueue, jobs: Sequence[str] | None) -> list[str]:
    failed, queued = queue.failed_job_registry.key, list[bytes]()
    prefixes = (TrialJob.key_for(""), Result.get_key(""))
    names: Sequence[object] = queue.connection.zrange(failed, 0, MAX_REQUEUED - 1) if jobs is None else jobs
    for start in range(0, len(names), 500):
        queued += queue.connection.eval(_REQUEUE, 2, failed, queue.key, *prefixes, *names[start : start + 500])  # type: ignore[arg-type]  # texts and bytes
    return [name.decode(errors="replace") for name in queued]


def _reason(queue: TrialQueue, job_id: str) -> str:
    result = latest_result(queue.connection, job_id, UNSIGNED)
    return (result.reason if result else "")[:512] or "its details have expired"


def _moment(score: float) -> float:
    """Time at which a job ended; 0 for an implausible score."""
    return score - KEEP_SECONDS if KEEP_SECONDS <= score <= LATEST else 0.0
