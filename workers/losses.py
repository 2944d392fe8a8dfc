"""How often each job of a study was lost with its worker; kept in Redis, so that another conductor counts on."""

from contextlib import suppress

from redis import Redis

from workers.queue import KEEP_SECONDS
from workers.signing import Signer

MOST_LOSSES = 1_000_000


def losses_key(study: str) -> str:
    """The hash that counts how often each job was lost."""
    return f"tradeschool:lost:{study}"


def count_loss(connection: Redis, study: str, job_id: str, signer: Signer) -> int:
    """Count that a job was lost once more; how often that is. A count that was not signed as it should be is none."""
    key, before = losses_key(study), 0
    with suppress(ValueError):
        stored = signer.check("losses", job_id, connection.hget(key, job_id) or "0")
        before = stored if isinstance(stored, int) and 0 <= stored <= MOST_LOSSES else 0
    connection.hset(key, job_id, signer.sign("losses", job_id, str(before + 1)))
    connection.expire(key, KEEP_SECONDS)
    return before + 1
