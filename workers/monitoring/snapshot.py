"""Read-only snapshot of the queue and its workers. RQ's own counts are not used: they move expired jobs to failed.

A snapshot takes two round trips, or three with more workers than are listed. Lists are bounded, counts are not.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from pydantic import JsonValue
from redis.client import Pipeline
from redis.exceptions import RedisError
from rq.suspension import WORKERS_SUSPENDED
from rq.worker_registration import WORKERS_BY_QUEUE_KEY

from workers.connection.bounded_reads import number, parse_hash, parse_key, read_hash, read_key, text
from workers.connection.damaged_keys import is_damage
from workers.connection.signing import UNSIGNED, Signer
from workers.monitoring.stall_detection import SILENT_SECONDS, Stall, eta_seconds, find_stall
from workers.monitoring.study_snapshot import StudySnapshot, study_snapshots
from workers.monitoring.worker_snapshot import WORKER_FIELDS, WorkerSnapshot, age, parse_worker
from workers.queue import announcements
from workers.queue.job_allowlist import TrialJob, TrialQueue
from workers.queue.job_names import level_of, trials_of
from workers.queue.trial_queue import KEEP_SECONDS

MINUTE = 60
MAX_RUNNING_JOBS = 256
"""Maximum number of running jobs that are listed."""
MAX_COUNTED = 4_096
"""Maximum number of queued, and of running, jobs that are counted by study."""
MAX_WORKERS = 1_024
MAX_KNOWN = 4_096
"""Maximum number of worker names that are read."""
NOT_REPORTED = frozenset({"workers_not_listed", "left_out", "releases"})
WORKER_PREFIX = "rq:worker:"
RUNNING_JOB_FIELDS = ("worker_name", "started_at")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningJob:
    """One job that a worker evaluates."""

    job: str
    worker: str
    seconds: float
    """Time since its start."""

    def to_json(self) -> dict[str, JsonValue]:
        """Return the fields with the trials and the level of the job."""
        return {**asdict(self), "trials": trials_of(self.job), "level": level_of(self.job)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """State of the trial queue and its workers. Counts are in jobs; a job has one or more trials."""

    queued: int
    started: int
    finished: int
    """In the last day."""
    failed: int
    deferred: int
    scheduled: int
    oldest_seconds: float
    """Time since the job at the head of the queue was queued; 0 if the queue is empty."""
    throughput_per_minute: int
    """Jobs finished in the last minute."""
    workers: tuple[WorkerSnapshot, ...]
    running_jobs: tuple[RunningJob, ...] = ()
    """Running jobs, longest first."""
    studies: tuple[StudySnapshot, ...] = ()
    """Active studies, and others with jobs, by name."""
    workers_not_listed: int = 0
    """Number of workers beyond `MAX_WORKERS`, which are only counted."""
    most_jobs: int | None = None
    """Maximum number of open jobs of the active studies; None if no study is active."""
    is_suspended: bool = False
    """Whether the workers are suspended: from `rq suspend` until `rq resume`."""
    idle_seconds: float | None = None
    """Time since the last job finished; None if none has in the last day."""
    releases: frozenset[str] = frozenset()
    """Releases of the active studies; empty if one of them names none."""
    left_out: tuple[str, ...] = ()
    """One line for each key that was not read completely, because of its size or its type."""

    @property
    def connected(self) -> int:
        """Number of workers with a recent heartbeat."""
        return sum(worker.heartbeat_age_seconds <= SILENT_SECONDS for worker in self.workers)

    @property
    def stall(self) -> Stall | None:
        """Reason why the pending jobs or active studies are stalled; None if they are not."""
        is_pending = self.queued + self.started > 0 or self.most_jobs is not None
        served = {each.release for each in self.workers if each.heartbeat_age_seconds <= SILENT_SECONDS}
        is_other = bool(self.releases) and not self.releases & served and not self.workers_not_listed
        return find_stall(
            is_pending=is_pending,
            connected=self.connected,
            is_suspended=self.is_suspended,
            is_other_release=is_other,
        )

    @property
    def worker_count(self) -> int:
        """Number of all registered workers, listed or not."""
        return len(self.workers) + self.workers_not_listed

    @property
    def advice(self) -> str:
        """Hints on incomplete lists and on more workers than the studies can use; empty if there are none."""
        return "; ".join((*self.left_out, *filter(None, [self._advice_on_workers])))

    @property
    def _advice_on_workers(self) -> str:
        if self.most_jobs is None or self.worker_count <= self.most_jobs:
            return ""
        return (
            f"{self.worker_count - self.most_jobs} of {self.worker_count} workers stay idle: the active "
            f"studies have at most {self.most_jobs} open jobs (lag / work.trials_per_job). A level with a larger lag "
            "uses more workers, but its sampler learns later: up to a lag of 12 it finds as much, from 16 clearly less"
        )

    @property
    def eta_seconds(self) -> float | None:
        """Seconds until all queued and running jobs finish at the pace of the last minute; None if stalled."""
        left = self.queued + self.started
        if left and self.stall:
            return None
        return eta_seconds(left, self.throughput_per_minute, self.idle_seconds)

    def to_json(self) -> dict[str, JsonValue]:
        """Return the object of `queue status --json`."""
        return {
            **{name: value for name, value in asdict(self).items() if name not in NOT_REPORTED},
            "workers": [asdict(worker) for worker in self.workers],
            "studies": [study.to_json() for study in self.studies],
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
    """Return the state of the queue and its workers; read-only. Entries of a foreign format are ignored.

    `now` is Unix time in seconds, by default the time of the Redis server. The signer verifies the announcements of
    studies. At most `most_workers` workers are listed; all are counted. Raises RedisError if Redis does not answer.
    """
    *counts, head, leases, keys, latest, clock, hung = _request_queue(queue)
    queued, started, finished, failed, deferred, scheduled, suspended = map(_count, counts)
    now = announcements.server_time(clock) if now is None else now
    announced = announcements.parse_announcements(clock, hung, signer)
    studies = announced.values()
    parts = [
        parse_key(key, kind, reply) for (key, kind, _), reply in zip(_listed(queue), (head, leases, keys), strict=True)
    ]
    names = sorted(name for name in parts[2].texts if name.startswith(WORKER_PREFIX.encode()))
    listed, others = names[:most_workers], names[most_workers:]
    leased = parts[1].pairs[:MAX_RUNNING_JOBS]
    lately, oldest, running_jobs, workers = _details(queue, parts[0].texts, leased, listed, now)
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
        studies=study_snapshots(announced, map(text, parts[0].texts), _jobs_of(parts[1].pairs)),
        most_jobs=sum(study.most_jobs for study in studies) if studies else None,
        # Without parts[0]: the length of the queue is known, and only its first jobs are read.
        left_out=tuple(part.error for part in parts[1:] if part.error),
        is_suspended=bool(suspended),
        releases=frozenset(found) if all(found := [study.release for study in studies]) else frozenset(),
        idle_seconds=_idle_seconds(queue, latest, now),
    )


def _request_queue(queue: TrialQueue) -> list[object]:
    """Return the replies of the first round trip: the counts, the lists, the last finished job and the studies."""
    with queue.connection.pipeline(transaction=False) as pipeline:
        pipeline.llen(queue.key)
        pipeline.zcard(queue.started_job_registry.key)
        pipeline.zcard(queue.finished_job_registry.key)
        pipeline.zcard(queue.failed_job_registry.key)
        pipeline.zcard(queue.deferred_job_registry.key)
        pipeline.zcard(queue.scheduled_job_registry.key)
        pipeline.exists(WORKERS_SUSPENDED)
        for key, kind, most in _listed(queue):
            read_key(pipeline, key, kind, most=most)
        read_key(pipeline, queue.finished_job_registry.key, "zset", most=1, newest=True)
        announcements.request_announcements(pipeline)
        return _replies(pipeline)


def _idle_seconds(queue: TrialQueue, latest: object, now: float) -> float | None:
    """Return the seconds since the last job finished; its score is the time at which its result expires."""
    expiries = [number(score) for _, score in parse_key(queue.finished_job_registry.key, "zset", latest).pairs]
    return max(0.0, now - (expiries[0] - KEEP_SECONDS)) if expiries and expiries[0] else None


def _listed(queue: TrialQueue) -> tuple[tuple[str, str, int], ...]:
    """Return the keys whose entries are read: key, type and maximum number of entries."""
    return (
        (queue.key, "list", MAX_COUNTED),
        (queue.started_job_registry.key, "zset", MAX_COUNTED),
        (WORKERS_BY_QUEUE_KEY % queue.name, "set", MAX_KNOWN),
    )


def _replies(pipeline: Pipeline) -> list[object]:
    """Return the replies of a pipeline; the reply for a key of another type is the error."""
    found: list[object] = pipeline.execute(raise_on_error=False)
    for each in found:
        if isinstance(each, RedisError) and not is_damage(each):
            raise each
    return found


def _count(answer: object) -> int:
    return answer if isinstance(answer, int) else 0


def _details(
    queue: TrialQueue, head: Sequence[bytes], leases: Sequence[tuple[bytes, bytes]], names: Sequence[bytes], now: float
) -> tuple[int, float, tuple[RunningJob, ...], tuple[WorkerSnapshot, ...]]:
    first = text(head[0]) if head else ""
    jobs = _jobs_of(leases)
    workers = sorted(name for each in names if (name := text(each)).startswith(WORKER_PREFIX))
    with queue.connection.pipeline(transaction=False) as pipeline:
        # The score of a finished job is the time at which its result expires.
        pipeline.zcount(queue.finished_job_registry.key, now + KEEP_SECONDS - MINUTE, "+inf")
        read_hash(pipeline, TrialJob.key_for(first), ("enqueued_at",))
        for job in jobs:
            read_hash(pipeline, TrialJob.key_for(job), RUNNING_JOB_FIELDS)
        for name in workers:
            read_hash(pipeline, name, WORKER_FIELDS)
        lately, enqueued, *found = _replies(pipeline)
    running_jobs = tuple(_running_job(job, reply, now) for job, reply in zip(jobs, found, strict=False))
    busy = {running_job.worker: running_job.job for running_job in running_jobs}
    known = tuple(
        parse_worker(name.removeprefix(WORKER_PREFIX), fields, busy, now)
        for name, reply in zip(workers, found[len(jobs) :], strict=True)
        if (fields := parse_hash(WORKER_FIELDS, reply))
    )
    oldest = age((parse_hash(("enqueued_at",), enqueued) or {}).get(b"enqueued_at"), now)
    return _count(lately), oldest, tuple(sorted(running_jobs, key=lambda running_job: -running_job.seconds)), known


def _jobs_of(leases: Iterable[tuple[bytes, bytes]]) -> list[str]:
    """Return the job of each lease once."""
    return list(dict.fromkeys(text(lease).partition(":")[0] for lease, _ in leases))


def _running_job(job: str, reply: object, now: float) -> RunningJob:
    fields = parse_hash(RUNNING_JOB_FIELDS, reply) or {}
    return RunningJob(job=job, worker=text(fields.get(b"worker_name")), seconds=age(fields.get(b"started_at"), now))
