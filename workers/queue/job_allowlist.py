"""A job and a queue class that run nothing but the functions of `BATCHES`, whatever Redis holds.

RQ trusts what it reads: a hash may name any function, callback or web address, and with the default serializer a
pickle. Here only an allowlist of fields is read, each is validated, and the function's name is compared with
those of `BATCHES`, never imported. A job that is not allowed fails.
"""

import re
import zlib
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from redis import Redis
from redis.client import Pipeline
from rq import Queue
from rq.exceptions import NoSuchJobError
from rq.job import JOB_ID_PATTERN, Job, JobStatus
from rq.serializers import JSONSerializer
from rq.utils import as_text, str_to_date

from tradeschool.errors import TradeschoolError
from workers.connection.bounded_reads import MAX_BYTES, TOO_LONG, read_hash
from workers.connection.signing import loads
from workers.queue.messages import BATCHES

QUEUE = "trials"
NOT_ALLOWED = b'["refused", null, [], {}]'


class JobRefused(TradeschoolError):
    """A job does not have the form that a coordinator writes; it is not executed."""


def _seconds(value: bytes) -> None:
    if not re.fullmatch(rb"[1-9][0-9]{0,5}", value):
        raise ValueError(f"expected seconds, was {value[:40]!r}")


def _text(value: bytes) -> None:
    value.decode()


def _packed(value: bytes) -> None:
    unpacker = zlib.decompressobj()
    try:
        unpacker.decompress(value, MAX_BYTES)
    except zlib.error:
        raise ValueError("the data is not packed") from None
    if not unpacker.eof:
        raise ValueError(f"the data is longer than {MAX_BYTES} bytes, or cut")


def _date(value: bytes) -> None:
    str_to_date(value)


def _status(value: bytes) -> None:
    JobStatus(value.decode())


FIELDS: Mapping[str, Callable[[bytes], None]] = {
    "data": _packed,
    "status": _status,
    "origin": _text,
    "description": _text,
    "worker_name": _text,
    "created_at": _date,
    "enqueued_at": _date,
    "started_at": _date,
    "ended_at": _date,
    "last_heartbeat": _date,
    "timeout": _seconds,
    "result_ttl": _seconds,
    "failure_ttl": _seconds,
    "ttl": _seconds,
}
"""The fields that are read, with their checks; not read: meta, callback, webhook, repeat, retry, dependency, group."""


def read_fields(connection: Pipeline | Redis, key: str) -> object:
    """Read, or add to a pipeline the read of, the fields of a job; `fields_read` parses the reply."""
    return read_hash(connection, key, tuple(FIELDS), most_bytes=MAX_BYTES)


def fields_read(reply: object) -> dict[bytes, bytes]:
    """The fields of a reply to `read_fields`; empty if there is no hash. A field that is too long is invalid."""
    match reply:
        case [b"hash", int(), [*values]]:
            pairs = zip(FIELDS, values, strict=True)
            kept = {name.encode(): b"too long" if value == TOO_LONG else value for name, value in pairs}
            return {name: value for name, value in kept.items() if isinstance(value, bytes)}
    return {}


class TrialJob(Job):
    """A job that names a function of `BATCHES` and carries one JSON argument, or is refused."""

    function = ""
    """The function that it names; known after `payload`."""
    refusal: str | None = None
    _payload: object = None

    def __init__(self, id: str | None = None, connection: Redis | None = None, serializer: object = None) -> None:
        super().__init__(id, connection=connection, serializer=JSONSerializer)

    @classmethod
    def fetch(cls, id: str, connection: Redis | None = None, serializer: object = None) -> "TrialJob":
        """The job of that id.

        Raises:
            NoSuchJobError: There is none, the id is invalid, or its key is no hash.
        """
        if not JOB_ID_PATTERN.fullmatch(id.partition(":")[0]):
            raise NoSuchJobError(f"not a job's id: {id[:80]!r}")
        job = cls(id, connection=connection)
        job.restore(fields_read(read_fields(job.connection, job.key)))
        return job

    def restore(self, raw_data: Mapping[bytes, bytes]) -> None:
        """Load the valid fields; an invalid one is the reason to refuse the job."""
        fields = {as_text(name): value for name, value in raw_data.items() if _is_field(name)}
        if b"data" not in raw_data:
            raise NoSuchJobError(f"job {self.id} has no data")
        sound = {name: value for name, value in fields.items() if not value or self._is_sound(name, value)}
        sound.setdefault("data", zlib.compress(NOT_ALLOWED))
        super().restore({name.encode(): value for name, value in sound.items()})
        # There is one queue: the name of another in the hash is ignored.
        self.origin = QUEUE

    def payload(self) -> object:
        """The job's argument, not yet parsed.

        Raises:
            JobRefused: The job names another function, or has another form.
        """
        if self.refusal is None:
            self.refusal = self._reason_to_refuse()
        if self.refusal is not None:
            raise JobRefused(f"job {self.id} is not allowed: {self.refusal}")
        return self._payload

    def _execute(self) -> NoReturn:
        self.payload()
        raise JobRefused(f"job {self.id}: only a trial worker may execute it")

    def _is_sound(self, name: str, value: bytes) -> bool:
        try:
            FIELDS[name](value)
        except ValueError as error:
            self.refusal = f"{name}: {error}"
        return self.refusal is None or not self.refusal.startswith(f"{name}:")

    def _reason_to_refuse(self) -> str | None:
        try:
            content = loads(self.data)
        except ValueError:
            return "its data is not JSON"
        match content:
            case [str() as name, None, [batch], {**rest}] if name in BATCHES and not rest:
                self._payload, self.function = batch, name
                return None
            case [str() as name, *_] if name not in BATCHES:
                return f"it names the function {name[:80]!r}, expected {' or '.join(BATCHES)}"
        return "its data has another form"


class TrialQueue(Queue):
    """The queue of trials; its jobs are always `TrialJob`s in JSON."""

    job_class = TrialJob

    # RQ passes a class and a serializer through many constructors; both are fixed here.
    def __init__(self, name: str = QUEUE, connection: Redis | None = None, **options: Any) -> None:
        options |= {"serializer": JSONSerializer, "job_class": TrialJob}
        super().__init__(name, connection=connection, **options)


def _is_field(name: bytes) -> bool:
    return name.decode(errors="replace") in FIELDS
