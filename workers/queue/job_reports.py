"""Reports the state of the jobs that a coordinator has sent."""

import logging
from collections.abc import Mapping, Sequence

from redis.exceptions import RedisError

from workers.connection.bounded_reads import parse_hash, read_hash, text
from workers.connection.signing import UNSIGNED, Signer
from workers.queue.job_allowlist import TrialJob, TrialQueue
from workers.queue.job_results import latest_result
from workers.queue.messages import MAX_REASON
from workers.queue.trial_queue import (
    BATCH_REFUSED,
    LEASE_EXPIRED,
    NOT_IMPORTED,
    PUT_BACK,
    JobReport,
    JobState,
    parsed,
)

MAX_LISTED = 10_000
"""Entries of the queue, and leases, that are searched; a job beyond them counts as orphaned."""
READ = ("status", PUT_BACK)
"""Fields of a job that are read."""
FIND_LISTED = """
local most, found, place = tonumber(ARGV[1]), {}, {}
for number = 2, #ARGV do found[number - 1], place[ARGV[number]] = 0, number - 1 end
for _, entry in ipairs(redis.call('LRANGE', KEYS[1], 0, most - 1)) do
    if place[entry] then found[place[entry]] = 1 end
end
for _, entry in ipairs(redis.call('ZRANGE', KEYS[2], 0, most - 1)) do
    local job = string.match(entry, '^[^:]*')
    if place[job] then found[place[job]] = 1 end
end
return found
"""
"""Finds which of the named jobs are queued or leased; runs on the server to keep the reply small."""


log = logging.getLogger(__name__)


def look_at(queue: TrialQueue, job_ids: Sequence[str], signer: Signer = UNSIGNED) -> list[JobReport]:
    """The reports of these jobs in order; takes one round trip, and one more per ended job."""
    with queue.connection.pipeline() as pipeline:
        pipeline.eval_ro(FIND_LISTED, 2, queue.key, queue.started_job_registry.key, str(MAX_LISTED), *job_ids)
        for job_id in job_ids:
            read_hash(pipeline, TrialJob.key_for(job_id), READ)
        held, *replies = pipeline.execute(raise_on_error=False)
    if isinstance(held, RedisError):
        raise held
    looks = zip(job_ids, replies, held, strict=True)
    return [
        _report(queue, job_id, parse_hash(READ, reply) or {}, signer, is_held=bool(is_held))
        for job_id, reply, is_held in looks
    ]


def _report(
    queue: TrialQueue, job_id: str, fields: Mapping[bytes, bytes], signer: Signer, *, is_held: bool
) -> JobReport:
    match fields.get(b"status"):
        case b"finished":
            return _finished(queue, job_id, signer)
        case b"failed" | b"stopped" | b"canceled":
            return _failure(queue, job_id, signer)
        case b"queued" | b"started":
            state = JobState.WAITING if is_held else JobState.ORPHANED
            return JobReport(state=state, reason=text(fields.get(PUT_BACK.encode()), MAX_REASON))
    # No hash, or an unknown status.
    return JobReport(state=JobState.MISSING)


def _finished(queue: TrialQueue, job_id: str, signer: Signer) -> JobReport:
    result = latest_result(queue.connection, job_id, signer)
    try:
        content = signer.check("result", job_id, result.returned if result and result.returned else b"")
    except ValueError:
        log.warning("result unreadable", extra={"action": "result_unreadable", "source": job_id})
        # With a signing key, a result without a valid signature is a forgery and says nothing about the job.
        return JobReport(state=JobState.MISSING if signer.key else JobState.FINISHED)
    return JobReport(state=JobState.FINISHED, result=parsed(content, job_id))


def _failure(queue: TrialQueue, job_id: str, signer: Signer) -> JobReport:
    result = latest_result(queue.connection, job_id, signer)
    reason = (result.reason if result else "") or "no reason was recorded"
    states = {LEASE_EXPIRED: JobState.LEASE_LOST, BATCH_REFUSED: JobState.REFUSED, NOT_IMPORTED: JobState.NOT_IMPORTED}
    state = next((state for begin, state in states.items() if reason.startswith(begin)), JobState.CRASHED)
    is_ours = signer.key is None or (result is not None and result.is_ours)
    # A worker with another key, or none, refuses batches, and cannot sign its refusal.
    if not is_ours and state is not JobState.REFUSED:
        log.warning("failure ignored", extra={"action": "failure_unsigned", "job": job_id, "reason": reason[:512]})
        return JobReport(state=JobState.MISSING)
    return JobReport(state=state, reason=reason[:512])
