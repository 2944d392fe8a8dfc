"""Reads the stored result of a job within limits, and checks the signature of a failure."""

from base64 import b64decode
from binascii import Error as NotBase64
from dataclasses import dataclass

from redis import Redis
from redis.exceptions import RedisError
from rq.results import Result

from tradeschool.plain_text import plain
from workers.connection.bounded_reads import Bounded, parse_key, read_key, unpacked
from workers.connection.signing import Signer

MAX_STORED_RESULT_BYTES = 32_000_000
"""Limit of a stored result: up to 256 evaluations of 65,536 characters, in base64."""
MAX_REASON_BYTES = 16_384
"""Limit of a stored reason, decompressed."""
PROOF = "proof"
"""The field beside a failure that holds its signature."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredResult:
    """The latest result of a job."""

    returned: bytes | None = None
    """The value of a job that succeeded."""
    reason: str = ""
    """The last line of the stored text of a job that failed."""
    is_ours: bool = True
    """Whether the signature of a failure is valid; a returned value carries its own signature."""


def latest_result(connection: Redis, job_id: str, signer: Signer) -> StoredResult | None:
    """The newest result of a job; None if there is none that can be read.

    Raises:
        RedisError: Redis does not answer.
    """
    key = Result.get_key(job_id)
    with connection.pipeline(transaction=False) as pipeline:
        read_key(pipeline, key, "stream", most=1, most_bytes=MAX_STORED_RESULT_BYTES)
        (reply,) = pipeline.execute(raise_on_error=False)
    if isinstance(reply, RedisError):
        raise reply
    return _stored(parse_key(key, "stream", reply), job_id, signer)


def failure_fields(reason: str, job_id: str, signer: Signer) -> dict[str, str]:
    """The fields that are stored with a failure in addition to RQ's."""
    proof = signer.proof("failure", job_id, reason)
    return {PROOF: proof} if proof else {}


def _stored(found: Bounded, job_id: str, signer: Signer) -> StoredResult | None:
    if not found.entries:
        return None
    fields = found.entries[0]
    if fields.get(b"type") == str(Result.Type.SUCCESSFUL.value).encode():
        return StoredResult(returned=_decoded(fields.get(b"return_value")))
    whole = unpacked(fields[b"exc_string"], MAX_REASON_BYTES) if b"exc_string" in fields else ""
    proof = fields.get(PROOF.encode(), b"").decode(errors="replace")
    lines = whole.strip().splitlines()
    return StoredResult(
        reason=plain(lines[-1]) if lines else "", is_ours=signer.is_proof("failure", job_id, whole, proof)
    )


def _decoded(value: bytes | None) -> bytes | None:
    try:
        return b64decode(value) if value else None
    except NotBase64:
        return None
