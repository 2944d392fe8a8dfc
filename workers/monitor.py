"""One look at queue and workers that changes nothing: RQ's own counts would fail jobs while they count.

Two round trips, whatever there is to see; what is listed is bounded, what is counted is not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from pydantic import JsonValue
from rq.utils import as_text, str_to_date
from rq.worker_registration import WORKERS_BY_QUEUE_KEY

from workers import board
from workers.guard import TrialJob, TrialQueue
from workers.names import level_of, trials_of
from workers.queue import KEEP_SECONDS
from workers.server_time import unix_time

MINUTE = 60
MOST_FLIGHTS = 256
"""Jobs under way that are listed."""
MOST_WORKERS = 1_024


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
    working_seconds: float = 0.0
    """Spent on jobs, since it was started."""
    job: str = ""
    """What it evaluates now; empty where nothing."""
    cpu_seconds: float = 0.0
    """Of processor time, since it was started; 0 where it does not say."""
    memory_bytes: int = 0
    """At its largest; 0 where it does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flight:
    """One job that a worker evaluates."""

    job: str
    worker: str
    seconds: float
    """Since it was begun."""

    def to_json(self) -> dict[str, JsonValue]:
        """With the trials that it holds."""
        return {**asdict(self), "trials": trials_of(self.job), "level": level_of(self.job)}


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
    flights: tuple[Flight, ...] = ()
    """Longest first."""
    most_jobs: int | None = None
    """That the studies under way can have in hand at once; None where none is under way."""

    @property
    def advice(self) -> str:
        """What to do where there are more workers than what is searched can keep busy; empty where there are not."""
        if self.most_jobs is None or len(self.workers) <= self.most_jobs:
            return ""
        return (
            f"{len(self.workers) - self.most_jobs} of {len(self.workers)} workers can get nothing to do: what is "
            f"searched has at most {self.most_jobs} jobs in hand at once, its lag over work.trials_per_job. A level "
            "with a larger lag keeps more busy and learns later: up to 12 it finds as much, from 16 on clearly less"
        )

    @property
    def eta_seconds(self) -> float | None:
        """Until what is queued and started is done at the pace of the last minute; None where nothing moves."""
        left = self.queued + self.started
        if not left:
            return 0.0
        return left / self.throughput_per_minute * MINUTE if self.throughput_per_minute else None

    def to_json(self) -> dict[str, JsonValue]:
        """The object of `queue status --json`."""
        return {
            **asdict(self),
            "workers": [asdict(worker) for worker in self.workers],
            "flights": [flight.to_json() for flight in self.flights],
            "eta_seconds": self.eta_seconds,
            "advice": self.advice,
        }


def take_snapshot(queue: TrialQueue, now: float | None = None) -> Snapshot:
    """The queue and its workers as Redis knows them; `now` is Unix time in seconds, the server's own by default."""
    with queue.connection.pipeline(transaction=False) as pipeline:
        pipeline.llen(queue.key)
        for registry in (
            queue.started_job_registry,
            queue.finished_job_registry,
            queue.failed_job_registry,
            queue.deferred_job_registry,
            queue.scheduled_job_registry,
        ):
            pipeline.zcard(registry.key)
        pipeline.time()
        pipeline.lindex(queue.key, 0)
        pipeline.zrange(queue.started_job_registry.key, 0, MOST_FLIGHTS - 1)
        pipeline.smembers(WORKERS_BY_QUEUE_KEY % queue.name)
        pipeline.hgetall(board.KEY)
        *counts, head, leases, keys, hung = pipeline.execute()
    queued, started, finished, failed, deferred, scheduled, time = counts
    now = unix_time(time) if now is None else now
    studies = board.parse_notices(hung, now).values()
    lately, oldest, flights, workers = _details(queue, head, leases, sorted(keys)[:MOST_WORKERS], now)
    return Snapshot(
        queued=queued,
        started=started,
        finished=finished,
        failed=failed,
        deferred=deferred,
        scheduled=scheduled,
        oldest_seconds=oldest,
        throughput_per_minute=lately,
        workers=workers,
        flights=flights,
        most_jobs=sum(study.most_jobs for study in studies) if studies else None,
    )


def _details(
    queue: TrialQueue, head: object, leases: Sequence[bytes], keys: Sequence[bytes], now: float
) -> tuple[int, float, tuple[Flight, ...], tuple[WorkerSnapshot, ...]]:
    jobs = list(dict.fromkeys(_text(lease).partition(":")[0] for lease in leases))
    with queue.connection.pipeline(transaction=False) as pipeline:
        # A finished job's score is the time at which it is to be forgotten.
        pipeline.zcount(queue.finished_job_registry.key, now + KEEP_SECONDS - MINUTE, "+inf")
        pipeline.hget(TrialJob.key_for(_text(head)), "enqueued_at")
        for job in jobs:
            pipeline.hmget(TrialJob.key_for(job), "worker_name", "started_at")
        for key in keys:
            pipeline.hgetall(key)
        lately, enqueued, *found = pipeline.execute()
    flights = tuple(
        Flight(job=job, worker=_text(worker), seconds=_age(started, now))
        for job, (worker, started) in zip(jobs, found, strict=False)
    )
    busy = {flight.worker: flight.job for flight in flights}
    workers = tuple(
        _worker(as_text(key).rpartition(":")[2], fields, busy, now)
        for key, fields in zip(keys, found[len(jobs) :], strict=True)
        if fields
    )
    return lately, _age(enqueued, now), tuple(sorted(flights, key=lambda flight: -flight.seconds)), workers


def _worker(name: str, fields: Mapping[bytes, bytes], busy: Mapping[str, str], now: float) -> WorkerSnapshot:
    return WorkerSnapshot(
        name=name,
        host=_text(fields.get(b"hostname")),
        state=_text(fields.get(b"state")),
        heartbeat_age_seconds=_age(fields.get(b"last_heartbeat"), now),
        done=int(fields.get(b"successful_job_count", 0)),
        failed=int(fields.get(b"failed_job_count", 0)),
        working_seconds=float(fields.get(b"total_working_time", 0)),
        job=busy.get(name, ""),
        cpu_seconds=float(fields.get(b"cpu_seconds", 0)),
        memory_bytes=int(fields.get(b"memory_bytes", 0)),
    )


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else ""


def _age(date: object, now: float) -> float:
    if not isinstance(date, bytes):
        return 0.0
    try:
        return max(0.0, now - str_to_date(date).timestamp())
    except ValueError:
        return 0.0
