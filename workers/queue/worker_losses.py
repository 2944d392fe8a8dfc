"""Counts the workers that were lost with each job; kept in Redis, so the next coordinator continues the count."""

import json
from contextlib import suppress

from redis import Redis
from rq.utils import as_text

from workers.connection.signing import UNSIGNED, Signer
from workers.queue.job_allowlist import TrialJob
from workers.queue.trial_queue import KEEP_SECONDS

MAX_NAME = 128
MAX_NAMES = 64
"""Names that are kept per job."""
WORKER_PREFIX = "rq:worker:"


def losses_key(study: str) -> str:
    """The hash that names, for each job, the workers that had it when their lease ran out."""
    return f"tradeschool:losses:{study}"


def count_loss(connection: Redis, study: str, job_id: str, signer: Signer = UNSIGNED) -> int:
    """Add the latest worker whose lease on this job expired, and return the number of recorded workers that have ended.

    A worker that is registered again was only delayed or cut off, and does not count. Names with a wrong signature
    are ignored.
    """
    key, before = losses_key(study), ""
    with suppress(ValueError):
        stored = signer.check("losses", job_id, connection.hget(key, job_id) or '""')
        before = stored if isinstance(stored, str) else ""
    worker = as_text(connection.hget(TrialJob.key_for(job_id), "worker_name") or b"")[:MAX_NAME]
    names = [*dict.fromkeys([*before.split(), *worker.split()])][-MAX_NAMES:]
    connection.hset(key, job_id, signer.sign("losses", job_id, json.dumps(" ".join(names))))
    connection.expire(key, KEEP_SECONDS)
    return sum(not connection.exists(f"{WORKER_PREFIX}{name}") for name in names)
