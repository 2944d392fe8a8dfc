"""Failed jobs: which there are and why, and back into the queue with them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from pydantic import JsonValue
from rq.results import Result
from rq.utils import as_text

from workers.guard import TrialJob, TrialQueue
from workers.names import attempt_of, level_of, trials_of
from workers.queue import KEEP_SECONDS, look_at

MOST_LISTED = 200

# In one step: a job that two people requeue at once, or that a conductor takes up meanwhile, is queued once.
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
    """One job that ended without an answer, in the last day."""

    job: str
    reason: str
    """One line."""
    ended: float
    """Unix time in seconds."""

    def to_json(self) -> dict[str, JsonValue]:
        """With the trials that it holds."""
        told = {"trials": trials_of(self.job), "level": level_of(self.job), "attempt": attempt_of(self.job)}
        return {**asdict(self), **told}


def failed_jobs(queue: TrialQueue, most: int = MOST_LISTED) -> list[FailedJob]:
    """The latest failed jobs, the newest first."""
    # Redis' client says that an answer may be of any of its kinds; with scores it is this one.
    found: list[tuple[bytes, float]] = queue.connection.zrevrange(  # type: ignore[assignment]
        queue.failed_job_registry.key, 0, most - 1, withscores=True
    )
    names = [name.decode(errors="replace") for name, _ in found]
    return [
        # A failed job's score is the time at which it is to be forgotten.
        FailedJob(job=name, reason=report.reason or "its details are gone", ended=score - KEEP_SECONDS)
        for name, (_, score), report in zip(names, found, look_at(queue, names), strict=True)
    ]


def requeue(queue: TrialQueue, jobs: Sequence[str] | None = None) -> list[str]:
    """Put failed jobs at the end of the queue, all where none is named; those that were put there.

    One that did not fail, or that another has taken up meanwhile, is left alone.
    """
    failed = queue.failed_job_registry.key
    names = [as_text(name) for name in queue.connection.zrange(failed, 0, -1)] if jobs is None else list(jobs)  # type: ignore[arg-type]  # bytes, without scores
    prefixes = (TrialJob.key_for(""), Result.get_key(""))
    queued: list[bytes] = []
    for start in range(0, len(names), 500):
        queued += queue.connection.eval(_REQUEUE, 2, failed, queue.key, *prefixes, *names[start : start + 500])
    return [name.decode() for name in queued]
