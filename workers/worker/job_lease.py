"""Where a worker takes jobs and hands them in: every step is one transaction, and one way to Redis and back.

The keys and fields are RQ's own, so its tools see these jobs and workers as any others. What RQ writes besides, and
nobody here reads, is left out: a record of every execution, and a message channel for every worker.
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
from workers.queue.trial_queue import KEEP_SECONDS, MAX_RESULTS, put_back, results_key

TAKE = """
if redis.call('EXISTS', KEYS[3]) == 1 then return false end
return redis.call('LMOVE', KEYS[1], KEYS[2], 'LEFT', 'RIGHT')
"""
"""The next job, none while the workers are suspended; in one step with what is handed in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeasedJob:
    """A job that this worker has a lease on."""

    job: TrialJob
    lease: str
    """Its entry in the registry of started jobs."""
    began: float
    """By this process' clock that only runs, in seconds."""


class LeaseClient:
    """One worker's side of the queue."""

    def __init__(self, queue: TrialQueue, *, name: str, key: str, lease_seconds: int, silence_seconds: int) -> None:
        self._queue, self._name, self._key = queue, name, key
        self._lease_seconds, self._silence_seconds = lease_seconds, silence_seconds
        self._leases = queue.started_job_registry.key
        self._renew = queue.connection.register_script(RENEW)

    def wait(self, seconds: float) -> str | None:
        """The next job's id, as soon as there is one; None after so long, and where the workers are suspended."""
        connection = self._queue.connection
        taken = connection.blmove(self._queue.key, self._queue.intermediate_queue_key, seconds)  # type: ignore[arg-type]  # Redis takes fractions
        found = self._taken(taken)
        if found is not None and self.is_suspended():  # meanwhile
            put_back(self._queue, found)
            return None
        return found

    def is_suspended(self) -> bool:
        """Whether `rq suspend` has told all workers to take no job."""
        return bool(self._queue.connection.exists(WORKERS_SUSPENDED))

    def begin(self, job_id: str) -> LeasedJob | None:
        """Lease the job that was taken; None where there is no job of that id."""
        job, lease = TrialJob(job_id, connection=self._queue.connection), f"{job_id}:{uuid.uuid4().hex}"
        keys = (job.key, self._leases, CLOCK_KEY, self._queue.intermediate_queue_key, self._key)
        words = (job_id, lease, self._lease_seconds, self._name, self._silence_seconds)
        with self._queue.connection.pipeline() as pipeline:
            read_fields(pipeline, job.key)
            pipeline.eval(BEGIN, len(keys), *keys, *words)
            found, _ = pipeline.execute()
        with suppress(NoSuchJobError):
            job.restore(fields_read(found))
            return LeasedJob(job=job, lease=lease, began=time.monotonic())
        return None

    def renew(self, leased: LeasedJob) -> bool:
        """Keep the lease; False where this worker is not known any more, and has to register again."""
        return not self._renew(
            keys=[self._leases, CLOCK_KEY, self._key],
            args=[leased.lease, self._lease_seconds, self._silence_seconds],
        )

    def heartbeat(self, state: WorkerStatus) -> bool:
        """Say what this worker does; False where it is not known any more, and has to register again."""
        with self._queue.connection.pipeline() as pipeline:
            pipeline.eval(BEAT, 1, self._key, state.value, self._silence_seconds)
            # What was handed in writes to the worker's own entry, too, after a server has forgotten its name.
            pipeline.sadd(WORKERS_BY_QUEUE_KEY % self._queue.name, self._key)
            is_new, is_named = pipeline.execute()
        return not (is_new or is_named)

    def release(self, leased: LeasedJob) -> None:
        """Return a job of which no trial has begun to the head of the queue."""
        with self._queue.connection.pipeline() as pipeline:
            pipeline.zrem(self._leases, leased.lease)
            stamp(pipeline, leased.job.key, ["enqueued_at"], {"status": JobStatus.QUEUED.value})
            pipeline.execute()
        put_back(self._queue, leased.job.id)

    def submit(self, leased: LeasedJob, study: str, answer: bytes, *, go_on: bool) -> str | None:
        """Push the answer, store it as the job's result, and take the next job where there is one."""
        with self._queue.connection.pipeline() as pipeline:
            pipeline.rpush(results_key(study), answer)
            pipeline.expire(results_key(study), KEEP_SECONDS)
            result = {"type": Result.Type.SUCCESSFUL.value, "return_value": b64encode(answer)}
            self._end(pipeline, leased, JobStatus.FINISHED, result)
            pipeline.hincrby(self._key, "successful_job_count", 1)
            return self._execute(pipeline, go_on=go_on)

    def fail(self, leased: LeasedJob, reason: str, signed: Mapping[str, str], *, go_on: bool) -> str | None:
        """Store why there is no answer, with its signature, and take the next job where there is one."""
        with self._queue.connection.pipeline() as pipeline:
            job = leased.job
            remember(pipeline, self._queue.failed_job_registry.key, job.id, KEEP_SECONDS)
            result = Result(job.id, Result.Type.FAILED, self._queue.connection, exc_string=reason).serialize()
            self._end(pipeline, leased, JobStatus.FAILED, {**result, **signed, "worker_name": self._name})
            pipeline.hincrby(self._key, "failed_job_count", 1)
            return self._execute(pipeline, go_on=go_on)

    def _end(self, pipeline: Pipeline, leased: LeasedJob, status: JobStatus, result: dict[str, object]) -> None:
        job, results = leased.job, Result.get_key(leased.job.id)
        pipeline.xadd(results, {"worker_name": self._name, **result}, maxlen=MAX_RESULTS)  # type: ignore[dict-item]  # texts and numbers
        pipeline.expire(results, KEEP_SECONDS)
        stamp(pipeline, job.key, ["ended_at"], {"status": status.value})
        pipeline.expire(job.key, KEEP_SECONDS)
        if status is JobStatus.FINISHED:
            remember(pipeline, self._queue.finished_job_registry.key, job.id, KEEP_SECONDS)
        pipeline.zrem(self._leases, leased.lease)
        pipeline.hincrbyfloat(self._key, "total_working_time", time.monotonic() - leased.began)

    def _execute(self, pipeline: Pipeline, *, go_on: bool) -> str | None:
        self._heartbeat(pipeline, WorkerStatus.IDLE)
        if go_on:
            keys = (self._queue.key, self._queue.intermediate_queue_key, WORKERS_SUSPENDED)
            pipeline.eval(TAKE, len(keys), *keys)
        *_, last = pipeline.execute()
        return self._taken(last) if go_on else None

    def _taken(self, entry: object) -> str | None:
        """The id that was taken; what is no job's id is dropped here."""
        if not isinstance(entry, bytes) or JOB_ID_PATTERN.fullmatch(entry.decode(errors="replace")):
            return entry.decode() if isinstance(entry, bytes) else None
        self._queue.connection.lrem(self._queue.intermediate_queue_key, 0, entry)  # type: ignore[arg-type]  # takes bytes, too
        return None

    def _heartbeat(self, pipeline: Pipeline, state: WorkerStatus) -> None:
        stamp(pipeline, self._key, ["last_heartbeat"], {"state": state.value})
        pipeline.expire(self._key, self._silence_seconds)
