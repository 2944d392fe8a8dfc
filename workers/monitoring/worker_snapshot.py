"""The state of one worker as its entry in Redis says it."""

from collections.abc import Mapping
from dataclasses import dataclass

from rq.utils import str_to_date

from workers.connection.bounded_reads import number, text

WORKER_FIELDS = (
    "hostname",
    "state",
    "last_heartbeat",
    "successful_job_count",
    "failed_job_count",
    "total_working_time",
    "cpu_seconds",
    "memory_bytes",
    "release",
)
"""Fields of a worker that are read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSnapshot:
    """State of one worker at its last heartbeat."""

    name: str
    host: str
    state: str
    """started, idle, busy or suspended."""
    heartbeat_age_seconds: float
    done: int
    """Jobs since its start, like `failed`."""
    failed: int
    working_seconds: float = 0.0
    """Time spent on jobs since its start."""
    job: str = ""
    """Job that it evaluates now; empty if none."""
    cpu_seconds: float = 0.0
    """CPU time since its start; 0 if it is not reported."""
    memory_bytes: int = 0
    """Peak memory; 0 if it is not reported."""
    release: str = ""
    """Release of the program; empty if it is not reported."""


def parse_worker(name: str, fields: Mapping[bytes, bytes], busy: Mapping[str, str], now: float) -> WorkerSnapshot:
    """Parse the fields of a worker's hash; `busy` names the job that each worker evaluates."""
    return WorkerSnapshot(
        name=name,
        host=text(fields.get(b"hostname")),
        state=text(fields.get(b"state")),
        heartbeat_age_seconds=age(fields.get(b"last_heartbeat"), now),
        done=int(number(fields.get(b"successful_job_count"))),
        failed=int(number(fields.get(b"failed_job_count"))),
        working_seconds=number(fields.get(b"total_working_time")),
        job=busy.get(name, ""),
        cpu_seconds=number(fields.get(b"cpu_seconds")),
        memory_bytes=int(number(fields.get(b"memory_bytes"))),
        release=text(fields.get(b"release"), 80),
    )


def age(date: object, now: float) -> float:
    """Return the seconds since a date in RQ's format; 0 if it is none."""
    if not isinstance(date, bytes):
        return 0.0
    try:
        return max(0.0, now - str_to_date(date).timestamp())
    except (ValueError, OverflowError):
        return 0.0
