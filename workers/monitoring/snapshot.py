"""One look at queue and workers that changes nothing: RQ's own counts would fail jobs while they count.

Two round trips, a third where more workers are there than are listed; what is counted is not bounded.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from pydantic import JsonValue
from redis.client import Pipeline
from redis.exceptions import RedisError
from rq.suspension import WORKERS_SUSPENDED
from rq.utils import str_to_date
from rq.worker_registration import WORKERS_BY_QUEUE_KEY

from workers.connection.bounded_reads import number, parse_hash, parse_key, read_hash, read_key, text
from workers.connection.damaged_keys import is_damage
from workers.connection.signing import UNSIGNED, Signer
from workers.monitoring.stall_detection import SILENT_SECONDS, Stall, eta_seconds, find_stall
from workers.queue import announcements
from workers.queue.job_allowlist import TrialJob, TrialQueue
from workers.queue.job_names import level_of, trials_of
from workers.queue.trial_queue import KEEP_SECONDS

MINUTE = 60
MAX_RUNNING_JOBS = 256
"""Jobs under way that are listed."""
MAX_WORKERS = 1_024
MAX_KNOWN = 4_096
"""Names of workers that are looked up."""
NOT_REPORTED = frozenset({"workers_not_listed", "left_out"})
WORKER_PREFIX = "rq:worker:"
RUNNING_JOB_FIELDS = ("worker_name", "started_at")
WORKER_FIELDS = (
    "hostname",
    "state",
    "last_heartbeat",
    "successful_job_count",
    "failed_job_count",
    "total_working_time",
    "cpu_seconds",
    "memory_bytes",
)


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
class RunningJob:
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
    running_jobs: tuple[RunningJob, ...] = ()
    """Longest first."""
    workers_not_listed: int = 0
    """Workers beyond `MAX_WORKERS`, which are counted only."""
    most_jobs: int | None = None
    """That the studies under way can have in hand at once; None where none is under way."""
    is_suspended: bool = False
    """Whether workers take no job: after `rq suspend`, until `rq resume`."""
    idle_seconds: float | None = None
    """Since the latest job finished; None where none has in the last day."""

    left_out: tuple[str, ...] = ()
    """What Redis holds and is not listed here: too much of it, or of another type; a line each."""

    @property
    def connected(self) -> int:
        """The workers that were heard of lately."""
        return sum(worker.heartbeat_age_seconds <= SILENT_SECONDS for worker in self.workers)

    @property
    def stall(self) -> Stall | None:
        """Why the jobs or the studies under way cannot go on; None where they can."""
        is_pending = self.queued + self.started > 0 or self.most_jobs is not None
        return find_stall(is_pending=is_pending, connected=self.connected, is_suspended=self.is_suspended)

    @property
    def worker_count(self) -> int:
        """All workers that are there, listed or not."""
        return len(self.workers) + self.workers_not_listed

    @property
    def advice(self) -> str:
        """What was left out, and what to do where there are more workers than can be kept busy; else empty."""
        return "; ".join((*self.left_out, *filter(None, [self._advice_on_workers])))

    @property
    def _advice_on_workers(self) -> str:
        if self.most_jobs is None or self.worker_count <= self.most_jobs:
            return ""
        return (
            f"{self.worker_count - self.most_jobs} of {self.worker_count} workers can get nothing to do: what is "
            f"searched has at most {self.most_jobs} jobs in hand at once, its lag over work.trials_per_job. A level "
            "with a larger lag keeps more busy and learns later: up to 12 it finds as much, from 16 on clearly less"
        )

    @property
    def eta_seconds(self) -> float | None:
        """Until what is queued and started is done at the pace of the last minute; None where nothing moves."""
        left = self.queued + self.started
        if left and self.stall:
            return None
        return eta_seconds(left, self.throughput_per_minute, self.idle_seconds)

    def to_json(self) -> dict[str, JsonValue]:
        """The object of `queue status --json`."""
        return {
            **{name: value for name, value in asdict(self).items() if name not in NOT_REPORTED},
            "workers": [asdict(worker) for worker in self.workers],
            "running_jobs": [running_job.to_json() for running_job in self.running_jobs],
            "worker_count": self.worker_count,
            "eta_seconds": self.eta_seconds,
            "advice": self.advice,
            "connected": self.connected,
            "stalled": self.stall,
        }


def take_snapshot(
    queue: TrialQueue, now: float | None = None, signer: Signer = UNSIGNED, *, most_workers: int = MAX_WORKERS
) -> Snapshot:
    """The queue and its workers as Redis knows them; `now` is Unix time in seconds, the server's own by default.

    `most_workers` are listed at most; all are counted. What a key holds that is not ours counts for nothing, and
    what is left out is said.
    """
    done = queue.finished_job_registry.key
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
        pipeline.exists(WORKERS_SUSPENDED)
        for key, kind, most in _listed(queue):
            read_key(pipeline, key, kind, most=most)
        read_key(pipeline, done, "zset", most=1, newest=True)
        announcements.request_announcements(pipeline)
        *counts, head, leases, keys, latest, clock, hung = _replies(pipeline)
    queued, started, finished, failed, deferred, scheduled, suspended = map(_count, counts)
    now = announcements.server_time(clock) if now is None else now
    studies = announcements.parse_announcements(clock, hung, signer).values()
    parts = [
        parse_key(key, kind, reply) for (key, kind, _), reply in zip(_listed(queue), (head, leases, keys), strict=True)
    ]
    names = sorted(name for name in parts[2].texts if name.startswith(WORKER_PREFIX.encode()))
    listed, others = names[:most_workers], names[most_workers:]
    lately, oldest, running_jobs, workers = _details(queue, parts[0].texts, parts[1].pairs, listed, now=now)
    last = [number(score) for _, score in parse_key(done, "zset", latest).pairs]
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
        workers_not_listed=int(queue.connection.exists(*others)) if others else 0,
        running_jobs=running_jobs,
        most_jobs=sum(study.most_jobs for study in studies) if studies else None,
        # Of the queue only its head is read.
        left_out=tuple(part.trouble for part in parts[1:] if part.trouble),
        is_suspended=bool(suspended),
        idle_seconds=max(0.0, now - (last[0] - KEEP_SECONDS)) if last and last[0] else None,
    )


def _listed(queue: TrialQueue) -> tuple[tuple[str, str, int], ...]:
    """What is listed: key, type, and how many entries at most."""
    return (
        (queue.key, "list", 1),
        (queue.started_job_registry.key, "zset", MAX_RUNNING_JOBS),
        (WORKERS_BY_QUEUE_KEY % queue.name, "set", MAX_KNOWN),
    )


def _replies(pipeline: Pipeline) -> list[object]:
    """What Redis answers; a key of another type is an error in the place of its answer."""
    found: list[object] = pipeline.execute(raise_on_error=False)
    for each in found:
        if isinstance(each, RedisError) and not is_damage(each):
            raise each
    return found


def _count(answer: object) -> int:
    return answer if isinstance(answer, int) else 0


def _details(
    queue: TrialQueue,
    head: Sequence[bytes],
    leases: Sequence[tuple[bytes, bytes]],
    names: Sequence[bytes],
    *,
    now: float,
) -> tuple[int, float, tuple[RunningJob, ...], tuple[WorkerSnapshot, ...]]:
    first = text(head[0]) if head else ""
    jobs = list(dict.fromkeys(text(lease).partition(":")[0] for lease, _ in leases))
    workers = sorted(name for each in names if (name := text(each)).startswith(WORKER_PREFIX))
    with queue.connection.pipeline(transaction=False) as pipeline:
        # A finished job's score is the time at which it is to be forgotten.
        pipeline.zcount(queue.finished_job_registry.key, now + KEEP_SECONDS - MINUTE, "+inf")
        read_hash(pipeline, TrialJob.key_for(first), ("enqueued_at",))
        for job in jobs:
            read_hash(pipeline, TrialJob.key_for(job), RUNNING_JOB_FIELDS)
        for name in workers:
            read_hash(pipeline, name, WORKER_FIELDS)
        lately, enqueued, *found = _replies(pipeline)
    running_jobs = tuple(_running_job(job, reply, now) for job, reply in zip(jobs, found, strict=False))
    busy = {running_job.worker: running_job.job for running_job in running_jobs}
    told_of = zip(workers, found[len(jobs) :], strict=True)
    known = tuple(
        _worker(name.removeprefix(WORKER_PREFIX), fields, busy, now)
        for name, reply in told_of
        if (fields := parse_hash(WORKER_FIELDS, reply))
    )
    oldest = _age((parse_hash(("enqueued_at",), enqueued) or {}).get(b"enqueued_at"), now)
    return _count(lately), oldest, tuple(sorted(running_jobs, key=lambda running_job: -running_job.seconds)), known


def _running_job(job: str, reply: object, now: float) -> RunningJob:
    fields = parse_hash(RUNNING_JOB_FIELDS, reply) or {}
    return RunningJob(job=job, worker=text(fields.get(b"worker_name")), seconds=_age(fields.get(b"started_at"), now))


def _worker(name: str, fields: Mapping[bytes, bytes], busy: Mapping[str, str], now: float) -> WorkerSnapshot:
    return WorkerSnapshot(
        name=name,
        host=text(fields.get(b"hostname")),
        state=text(fields.get(b"state")),
        heartbeat_age_seconds=_age(fields.get(b"last_heartbeat"), now),
        done=int(number(fields.get(b"successful_job_count"))),
        failed=int(number(fields.get(b"failed_job_count"))),
        working_seconds=number(fields.get(b"total_working_time")),
        job=busy.get(name, ""),
        cpu_seconds=number(fields.get(b"cpu_seconds")),
        memory_bytes=int(number(fields.get(b"memory_bytes"))),
    )


def _age(date: object, now: float) -> float:
    if not isinstance(date, bytes):
        return 0.0
    try:
        return max(0.0, now - str_to_date(date).timestamp())
    except (ValueError, OverflowError):
        return 0.0
