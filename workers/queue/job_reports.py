"""What has become of the jobs that a coordinator has handed on."""

import logging
from collections.abc import Sequence

from redis.exceptions import RedisError

from workers.connection.signing import UNSIGNED, Signer
from workers.queue.job_allowlist import TrialJob, TrialQueue
from workers.queue.job_results import latest_result
from workers.queue.trial_queue import BATCH_REFUSED, LEASE_EXPIRED, NOT_IMPORTED, JobReport, JobState, parsed

MAX_LISTED = 10_000
"""Entries of the queue, and leases, among which jobs are looked for; beyond, they are put back at its head."""
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
"""Which of the named jobs are in the queue or leased, of what is listed first: nothing else travels."""


log = logging.getLogger(__name__)


def look_at(queue: TrialQueue, job_ids: Sequence[str], signer: Signer = UNSIGNED) -> list[JobReport]:
    """What has become of these jobs, in their order; one round trip, and one more for each that has ended."""
    with queue.connection.pipeline() as pipeline:
        pipeline.eval_ro(FIND_LISTED, 2, queue.key, queue.started_job_registry.key, str(MAX_LISTED), *job_ids)
        for job_id in job_ids:
            pipeline.hget(TrialJob.key_for(job_id), "status")
        held, *statuses = pipeline.execute(raise_on_error=False)
    if isinstance(held, RedisError):
        raise held
    looks = zip(job_ids, statuses, held, strict=True)
    return [_report(queue, job_id, status, signer, is_held=bool(is_held)) for job_id, status, is_held in looks]


def _report(queue: TrialQueue, job_id: str, status: object, signer: Signer, *, is_held: bool) -> JobReport:
    match status:
        case b"finished":
            return _finished(queue, job_id, signer)
        case b"failed" | b"stopped" | b"canceled":
            return _failure(queue, job_id, signer)
        case b"queued" | b"started":
            return JobReport(state=JobState.WAITING if is_held else JobState.ORPHANED)
    # No hash, or one that no coordinator writes.
    return JobReport(state=JobState.MISSING)


def _finished(queue: TrialQueue, job_id: str, signer: Signer) -> JobReport:
    result = latest_result(queue.connection, job_id, signer)
    try:
        content = signer.check("result", job_id, result.returned if result and result.returned else b"")
    except ValueError:
        log.warning("answer cannot be read", extra={"action": "result_unreadable", "source": job_id})
        # Where there is a key, nobody who has it wrote this: it says nothing of the job.
        return JobReport(state=JobState.MISSING if signer.key else JobState.FINISHED)
    return JobReport(state=JobState.FINISHED, result=parsed(content, job_id))


def _failure(queue: TrialQueue, job_id: str, signer: Signer) -> JobReport:
    result = latest_result(queue.connection, job_id, signer)
    reason = (result.reason if result else "") or "no reason was left behind"
    states = {LEASE_EXPIRED: JobState.LEASE_LOST, BATCH_REFUSED: JobState.REFUSED, NOT_IMPORTED: JobState.NOT_IMPORTED}
    state = next((state for begin, state in states.items() if reason.startswith(begin)), JobState.CRASHED)
    is_ours = signer.key is None or (result is not None and result.is_ours)
    # A worker that has another key, or none, refuses orders, and cannot sign that it does.
    if not is_ours and state is not JobState.REFUSED:
        log.warning("failure ignored", extra={"action": "failure_unsigned", "job": job_id, "reason": reason[:512]})
        return JobReport(state=JobState.MISSING)
    return JobReport(state=state, reason=reason[:512])
