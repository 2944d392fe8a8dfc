"""A worker's access to the queue: takes jobs, renews leases and submits results, each step in one transaction.

The keys and fields are RQ's, so its tools show these jobs and workers like any others. Executions and message
channels, which RQ also writes, are left out.
"""

import time
import uuid
from base64 import b64encode
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from redis.client import Pipeline
from rq.exceptions import NoSuchJobError
from rq.job import JOB_ID_PATTERN, JobStatus
from rq.results import Result
from rq.suspension import WORKERS_SUSPENDED
from rq.worker import WorkerStatus
from rq.worker_registration import WORKERS_BY_QUEUE_KEY

from workers.connection.server_time import CLOCK_KEY, remember, stamp
from workers.queue.job_allowlist import TrialJob, TrialQueue, fields_read, read_fields
from workers.queue.leases import BEAT, BEGIN, RENEW
from workers.queue.trial_queue import KEEP_SECONDS, MAX_RESULTS, PUT_BACK, put_back, results_key
from workers.queue.turns import take_next as add_take


@dataclass(frozen=True, slots=True, kw_only=True)
class LeasedJob:
    """A job that this worker holds the lease of."""

    job: TrialJob
    lease: str
    """Its entry in the registry of started jobs."""
    began: float
    """Monotonic time of the start in seconds."""


class LeaseClient:
    """One worker's side of the queue."""

    def __init__(self, queue: TrialQueue, *, name: str, key: str, lease_seconds: int, silence_seconds: int) -> None:
        self._queue, self._name, self._key = queue, name, key
        self._lease_seconds, self._silence_seconds = lease_seconds, silence_seconds
        self._leases = queue.started_job_registry.key
        self._renew = queue.connection.register_script(RENEW)

    def wait(self, seconds: float) -> str | None:
        """Wait for the next job's id; None after `seconds`, or if the workers are suspended."""
        connection = self._queue.connection
        taken = connection.blmove(self._queue.key, self._queue.intermediate_queue_key, seconds)  # type: ignore[arg-type]  # Redis takes fractions
        found = self._taken(taken)
        if found is not None and self.is_suspended():  # since the check before
            put_back(self._queue, found)
            return None
        return found

    def is_suspended(self) -> bool:
        """Whether `rq suspend` is in effect."""
        return bool(self._queue.connection.exists(WORKERS_SUSPENDED))

    def begin(self, job_id: str) -> LeasedJob | None:
        """Lease a job that was taken; None if it does not exist."""
        job, lease = TrialJob(job_id, connection=self._queue.connection), f"{job_id}:{uuid.uuid4().hex}"
        keys = (job.key, self._leases, CLOCK_KEY, self._queue.intermediate_queue_key, self._key)
        values = (job_id, lease, self._lease_seconds, self._name, self._silence_seconds)
        with self._queue.connection.pipeline() as pipeline:
            read_fields(pipeline, job.key)
            pipeline.eval(BEGIN, len(keys), *keys, *values)
            found, _ = pipeline.execute()
        with suppress(NoSuchJobError):
            job.restore(fields_read(found))
            return LeasedJob(job=job, lease=lease, began=time.monotonic())
        return None

    def renew(self, leased: LeasedJob) -> bool:
        """Renew the lease; False if Redis no longer knows this worker, which must register again."""
        return not self._renew(
            keys=[self._leases, CLOCK_KEY, self._key],
            args=[leased.lease, self._lease_seconds, self._silence_seconds],
        )

    def heartbeat(self, state: WorkerStatus) -> bool:
        """Send a heartbeat with this worker's state; False if Redis no longer knows it, and it must register again."""
        with self._queue.connection.pipeline() as pipeline:
            pipeline.eval(BEAT, 1, self._key, state.value, self._silence_seconds)
            # Submitting a result also creates the worker's entry, so the entry alone does not prove it is registered.
            pipeline.sadd(WORKERS_BY_QUEUE_KEY % self._queue.name, self._key)
            is_new, is_named = pipeline.execute()
        return not (is_new or is_named)

    def release(self, leased: LeasedJob) -> None:
        """Return a job of which no trial has started to the head of the queue."""
        with self._queue.connection.pipeline() as pipeline:
            pipeline.zrem(self._leases, leased.lease)
            stamp(pipeline, leased.job.key, ["enqueued_at"], {"status": JobStatus.QUEUED.value})
            pipeline.execute()
        put_back(self._queue, leased.job.id)

    def put_back(self, leased: LeasedJob, reason: str) -> int:
        """Return a job of another release to the end of the queue, with the reason; the length of the queue."""
        queue, job = self._queue, leased.job
        with queue.connection.pipeline() as pipeline:
            pipeline.zrem(self._leases, leased.lease)
            stamp(pipeline, job.key, [], {"status": JobStatus.QUEUED.value, PUT_BACK: reason})
            pipeline.lrem(queue.intermediate_queue_key, 0, job.id)
            pipeline.lrem(queue.key, 0, job.id)
            pipeline.rpush(queue.key, job.id)
            *_, length = pipeline.execute()
        return int(length)

    def submit(self, leased: LeasedJob, study: str, result: bytes, *, take_next: bool) -> str | None:
        """Push a result, store it with the job, and take the next job if there is one."""
        with self._queue.connection.pipeline() as pipeline:
            pipeline.rpush(results_key(study), result)
            pipeline.expire(results_key(study), KEEP_SECONDS)
            fields = {"type": Result.Type.SUCCESSFUL.value, "return_value": b64encode(result)}
            self._end(pipeline, leased, JobStatus.FINISHED, fields)
            pipeline.hincrby(self._key, "successful_job_count", 1)
            return self._execute(pipeline, leased, take_next=take_next)

    def fail(self, leased: LeasedJob, reason: str, signed: Mapping[str, str], *, take_next: bool) -> str | None:
        """Store the signed reason of a failure, and take the next job if there is one."""
        with self._queue.connection.pipeline() as pipeline:
            job = leased.job
            remember(pipeline, self._queue.failed_job_registry.key, job.id, KEEP_SECONDS)
            result = Result(job.id, Result.Type.FAILED, self._queue.connection, exc_string=reason).serialize()
            self._end(pipeline, leased, JobStatus.FAILED, {**result, **signed, "worker_name": self._name})
            pipeline.hincrby(self._key, "failed_job_count", 1)
            return self._execute(pipeline, leased, take_next=take_next)

    def _end(self, pipeline: Pipeline, leased: LeasedJob, status: JobStatus, result: dict[str, object]) -> None:
        job, results = leased.job, Result.get_key(leased.job.id)
        pipeline.xadd(results, {"worker_name": self._name, **result}, maxlen=MAX_RESULTS)  # type: ignore[dict-item]  # strings and numbers
        pipeline.expire(results, KEEP_SECONDS)
        stamp(pipeline, job.key, ["ended_at"], {"status": status.value})
        pipeline.expire(job.key, KEEP_SECONDS)
        if status is JobStatus.FINISHED:
            remember(pipeline, self._queue.finished_job_registry.key, job.id, KEEP_SECONDS)
        pipeline.zrem(self._leases, leased.lease)
        pipeline.hincrbyfloat(self._key, "total_working_time", time.monotonic() - leased.began)

    def _execute(self, pipeline: Pipeline, leased: LeasedJob, *, take_next: bool) -> str | None:
        self._heartbeat(pipeline, WorkerStatus.IDLE)
        if take_next:
            add_take(pipeline, self._queue, leased.job.id, time.monotonic() - leased.began)
        *_, last = pipeline.execute()
        return self._taken(last) if take_next else None

    def _taken(self, entry: object) -> str | None:
        """The job id of a queue entry; an entry that is no job id is removed."""
        if not isinstance(entry, bytes) or JOB_ID_PATTERN.fullmatch(entry.decode(errors="replace")):
            return entry.decode() if isinstance(entry, bytes) else None
        self._queue.connection.lrem(self._queue.intermediate_queue_key, 0, entry)  # type: ignore[arg-type]  # takes bytes, too
        return None

    def _heartbeat(self, pipeline: Pipeline, state: WorkerStatus) -> None:
        stamp(pipeline, self._key, ["last_heartbeat"], {"state": state.value})
        pipeline.expire(self._key, self._silence_seconds)
