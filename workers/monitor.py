"""One look at queue and workers that changes nothing: RQ's own counts would fail jobs while they count."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from pydantic import JsonValue
from rq.registry import BaseRegistry
from rq.utils import as_text, str_to_date
from rq.worker_registration import WORKERS_BY_QUEUE_KEY

from workers.guard import TrialJob, TrialQueue
from workers.queue import KEEP_SECONDS

MINUTE = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSnapshot:
    """One worker as it was last heard of."""

    name: str
    host: str
    state: str
    """started, idle, busy or suspended."""
    heartbeat_age_seconds: float
    done: int
    """Jobs, since it was started."""
    failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The queue of trials, in jobs; a job holds one trial or several."""

    queued: int
    started: int
    finished: int
    """In the last day."""
    failed: int
    deferred: int
    scheduled: int
    oldest_seconds: float
    """How long the job at the head of the queue has waited; 0 where none waits."""
    throughput_per_minute: int
    """Jobs finished in the last minute."""
    workers: tuple[WorkerSnapshot, ...]

    def to_json(self) -> dict[str, JsonValue]:
        """The object of `queue status --json`."""
        return {**asdict(self), "workers": [asdict(worker) for worker in self.workers]}


def take_snapshot(queue: TrialQueue, now: float) -> Snapshot:
    """The queue and its workers as Redis knows them; `now` is Unix time in seconds."""
    return Snapshot(
        queued=queue.connection.llen(queue.key),
        started=_count(queue.started_job_registry),
        finished=_count(queue.finished_job_registry),
        failed=_count(queue.failed_job_registry),
        deferred=_count(queue.deferred_job_registry),
        scheduled=_count(queue.scheduled_job_registry),
        oldest_seconds=_oldest_seconds(queue, now),
        throughput_per_minute=_throughput(queue, now),
        workers=_workers(queue, now),
    )


def _count(registry: BaseRegistry) -> int:
    return int(registry.get_job_count(cleanup=False))


def _oldest_seconds(queue: TrialQueue, now: float) -> float:
    head = queue.connection.lindex(queue.key, 0)
    if not isinstance(head, bytes):
        return 0.0
    enqueued = queue.connection.hget(TrialJob.key_for(head.decode(errors="replace")), "enqueued_at")
    return _age(enqueued, now)


def _throughput(queue: TrialQueue, now: float) -> int:
    # A finished job's score is the time at which it is to be forgotten.
    return int(queue.connection.zcount(queue.finished_job_registry.key, now + KEEP_SECONDS - MINUTE, "+inf"))


def _workers(queue: TrialQueue, now: float) -> tuple[WorkerSnapshot, ...]:
    keys = sorted(queue.connection.smembers(WORKERS_BY_QUEUE_KEY % queue.name))
    with queue.connection.pipeline(transaction=False) as pipeline:
        for key in keys:
            pipeline.hgetall(key)
        found = pipeline.execute()
    pairs = zip(keys, found, strict=True)
    return tuple(_worker(as_text(key).rpartition(":")[2], fields, now) for key, fields in pairs if fields)


def _worker(name: str, fields: Mapping[bytes, bytes], now: float) -> WorkerSnapshot:
    return WorkerSnapshot(
        name=name,
        host=fields.get(b"hostname", b"").decode(),
        state=fields.get(b"state", b"").decode(),
        heartbeat_age_seconds=_age(fields.get(b"last_heartbeat"), now),
        done=int(fields.get(b"successful_job_count", 0)),
        failed=int(fields.get(b"failed_job_count", 0)),
    )


def _age(date: object, now: float) -> float:
    if not isinstance(date, bytes):
        return 0.0
    try:
        return max(0.0, now - str_to_date(date).timestamp())
    except ValueError:
        return 0.0
