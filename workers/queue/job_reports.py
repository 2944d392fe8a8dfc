"""What has become of the jobs that a conductor has handed on."""

import logging
from collections.abc import Sequence

from redis.exceptions import RedisError

from workers.connection.signing import UNSIGNED, Signer
from workers.queue.job_allowlist import TrialJob, TrialQueue
from workers.queue.job_results import latest_result
from workers.queue.trial_queue import LEASE_EXPIRED, NOT_IMPORTED, ORDER_REFUSED, Fate, JobReport, parsed

MOST_LISTED = 10_000
"""Entries of the queue, and leases, among which jobs are looked for; beyond, they are put back at its head."""
HELD = """
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
        pipeline.eval_ro(HELD, 2, queue.key, queue.started_job_registry.key, str(MOST_LISTED), *job_ids)
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
            return JobReport(fate=Fate.WAITING if is_held else Fate.STRAY)
    # No hash, or one that no conductor writes.
    return JobReport(fate=Fate.MISSING)


def _finished(queue: TrialQueue, job_id: str, signer: Signer) -> JobReport:
    result = latest_result(queue.connection, job_id, signer)
    try:
        content = signer.check("answer", job_id, result.returned if result and result.returned else b"")
    except ValueError:
        log.warning("answer cannot be read", extra={"action": "answer_unreadable", "source": job_id})
        # Where there is a key, nobody who has it wrote this: it says nothing of the job.
        return JobReport(fate=Fate.MISSING if signer.key else Fate.FINISHED)
    return JobReport(fate=Fate.FINISHED, answer=parsed(content, job_id))


def _failure(queue: TrialQueue, job_id: str, signer: Signer) -> JobReport:
    result = latest_result(queue.connection, job_id, signer)
    reason = (result.reason if result else "") or "no reason was left behind"
    fates = {LEASE_EXPIRED: Fate.LOST, ORDER_REFUSED: Fate.REFUSED, NOT_IMPORTED: Fate.NOT_IMPORTED}
    fate = next((fate for begin, fate in fates.items() if reason.startswith(begin)), Fate.CRASHED)
    is_ours = signer.key is None or (result is not None and result.is_ours)
    # A worker that has another key, or none, refuses orders, and cannot sign that it does.
    if not is_ours and fate is not Fate.REFUSED:
        log.warning("failure ignored", extra={"action": "failure_unsigned", "job": job_id, "reason": reason[:512]})
        return JobReport(fate=Fate.MISSING)
    return JobReport(fate=fate, reason=reason[:512])
