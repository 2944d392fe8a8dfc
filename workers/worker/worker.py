"""The worker: takes jobs, has its work horse evaluate them and submits results. It needs Redis and candles only.

Its loop replaces RQ's: two round trips to Redis per job, and no code path that data in Redis can choose.
"""

import logging
import os
import random
import signal
import socket
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from types import FrameType
from typing import Any, Generic, TypeVar

from redis import Redis
from redis.exceptions import RedisError, ResponseError
from rq import Worker
from rq.exceptions import StopRequested
from rq.results import Result
from rq.worker import WorkerStatus
from rq.worker_registration import register

from optimizer.runs.fingerprint import release
from tradeschool.log import about
from workers.connection.damaged_keys import is_damage, is_wrong_type, key_types_of, remove_damaged_keys
from workers.connection.redis_outage import RedisOutage, may_pass
from workers.connection.server_time import server_now
from workers.connection.signing import UNSIGNED, Signer
from workers.processes.heartbeat import Activity, own_heartbeat
from workers.processes.parent_death import die_with_parent, load_prctl
from workers.queue.job_allowlist import TrialJob, TrialQueue
from workers.queue.job_names import about_job, study_of
from workers.queue.job_results import failure_fields
from workers.queue.messages import Arrays, OtherRelease, Prepared
from workers.queue.trial_queue import clean_in_turn, results_key
from workers.work_horse.evaluator import Evaluator
from workers.work_horse.lifecycle import BatchNotStarted, WorkHorseManager, WorkHorseSettings
from workers.worker.batch_evaluation import BatchEvaluation
from workers.worker.job_lease import LeaseClient, LeasedJob
from workers.worker.other_release import OtherReleases
from workers.worker.preflight_check import check_in
from workers.worker.resource_usage import used
from workers.worker.suspension import Suspension

MAX_REPAIRED = 100
"""Consecutive errors during repair after which a worker ends; its pool starts another."""

log = logging.getLogger(__name__)

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings(WorkHorseSettings):
    """Timing of a worker and its work horse, in whole seconds."""

    lease_seconds: int = 15
    """Time after the last heartbeat at which a job goes to another worker; several times `idle_seconds`."""
    idle_seconds: int = 5
    """Time between two heartbeats, and two rounds of maintenance, of an idle worker."""
    refusal_seconds: float = 1.0
    """Pause after a refused batch, in which other workers can take it."""


class TrialWorker(Worker, Generic[Arrays, Prepared]):
    """RQ's worker for trials."""

    queue_class = TrialQueue  # type: ignore[assignment]  # its classes and serializer are fixed
    job_class = TrialJob

    def __init__(
        self, connection: Redis, evaluator: Evaluator[Arrays, Prepared], settings: WorkerSettings, signer: Signer
    ) -> None:
        self._queue = TrialQueue(connection=connection)
        super().__init__([self._queue], name=evaluator.worker, connection=connection)
        self._settings, self._signer, self._others = settings, signer, OtherReleases()
        self._leases = LeaseClient(
            self._queue,
            name=self.name,
            key=self.key,
            lease_seconds=settings.lease_seconds,
            silence_seconds=4 * settings.idle_seconds + settings.lease_seconds,
        )
        self._horses = WorkHorseManager(evaluator, settings, connection.connection_pool.disconnect)
        self._batches = BatchEvaluation(
            evaluator, self._horses, signer, worker=self.name, refusal_seconds=settings.refusal_seconds
        )
        self._is_waiting, self._signals, self._next_usage, self._job_id = False, 0, 0.0, ""
        self._suspension, self._outage, self._heartbeat = Suspension(worker=self.name), RedisOutage(), own_heartbeat()
        load_prctl()

    # The options are those of RQ's loop; none applies here.
    def work(self, *_: Any, **__: Any) -> bool:
        """Process jobs until SIGTERM or SIGINT, which let the running job end; a second signal kills it."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        self._retry(self._register)
        log.info("worker started", extra={"action": "worker_started", "worker": self.name, "pid": os.getpid()})
        try:
            next_job = None
            while not self._signals:
                next_job = self._run(next_job) if next_job else self._wait()
        except StopRequested:
            log.info("worker stops", extra={"action": "worker_stops", "worker": self.name})
        finally:
            self._horses.retire()
            self._sign_off()
        return True

    @property
    def horse_pid(self) -> int:
        """Process id of the work horse, 0 if there is none."""
        return self._horses.pid

    def _set_ip_address(self, connection: Redis) -> None:
        """Ask the server for this client's address; redis-py cannot read that of a socket with a space in its path."""
        try:
            super()._set_ip_address(connection)
        except ValueError:
            self.ip_address = "unknown"

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signals += 1
        if self._signals > 1:
            self._horses.kill()
        if self._is_waiting or self._signals > 1:
            raise StopRequested

    def _wait(self) -> str | None:
        """Maintain the queue, then wait for the next job; None after `idle_seconds` without one."""
        if self._retry(lambda: clean_in_turn(self._queue, self._settings.idle_seconds, self._signer)):
            log.debug("maintenance done", extra={"action": "maintenance_done", "worker": self.name})
        state = self._suspension.note(is_on=self._retry(self._leases.is_suspended))
        if not self._retry(lambda: self._leases.heartbeat(state)):
            self._retry(self._register)
        self._report_usage()
        self._heartbeat.beat(Activity.SUSPENDED if self._suspension.is_on else Activity.IDLE)
        # Jitter: workers that were started together do not wake together.
        seconds = self._settings.idle_seconds * random.uniform(0.8, 1.0)  # noqa: S311  # not a secret
        self._is_waiting = True
        try:
            if pause := self._others.seconds_left:
                time.sleep(min(pause, seconds))
                return None
            if not self._suspension.is_on:
                return self._retry(lambda: self._leases.wait(seconds))
            self._suspension.pause()
            return None
        finally:
            self._is_waiting = False

    def _run(self, job_id: str) -> str | None:
        """Process one job; the next job, if there is one."""
        self._job_id = job_id
        leased = self._retry(lambda: self._leases.begin(job_id))
        if leased is None:
            return None
        self._heartbeat.beat(Activity.BUSY)
        with about(**about_job(job_id)):
            began = time.monotonic()
            try:
                study, outcome = self._batches.evaluate(
                    leased.job, renew=lambda: self._renew(leased), is_ending=lambda: self._signals > 0
                )
            except OtherRelease as error:
                reason = str(error)
                queued = self._retry(lambda: self._leases.put_back(leased, reason))
                self._others.note_put_back(study_of(job_id), reason, queued)
                return None
            except BatchNotStarted:
                log.info("job released", extra={"action": "job_released", "job": job_id})
                return self._retry(lambda: self._leases.release(leased))
            self._others.note_evaluated()
            log.info("job done", extra={"action": "job_done", "seconds": round(time.monotonic() - began, 3)})
        self._report_usage()
        take_next = not self._signals
        if outcome.result is not None:
            result = self._signer.sign("result", job_id, outcome.result.decode(errors="replace")).encode()
            return self._retry(lambda: self._leases.submit(leased, study, result, take_next=take_next))
        reason = outcome.failure or "no reason was recorded"
        about_it = {"action": "job_failed", "job": job_id, "reason": reason}
        log.log(self._batches.log_level_of(reason, study), "job failed", extra=about_it)
        signed = failure_fields(reason, job_id, self._signer)
        return self._retry(lambda: self._leases.fail(leased, reason, signed, take_next=take_next))

    def _report_usage(self) -> None:
        """Publish this worker's processor time and memory every `idle_seconds`."""
        if time.monotonic() < self._next_usage:
            return
        self._next_usage = time.monotonic() + self._settings.idle_seconds
        self._retry(lambda: self.connection.hset(self.key, mapping=used(self.horse_pid).fields()))

    def _renew(self, leased: LeasedJob) -> None:
        """Renew the lease; if Redis does not answer, the result is submitted later all the same."""
        self._heartbeat.beat(Activity.BUSY)
        try:
            if not self._leases.renew(leased):
                self._register()
        except RedisError as error:
            self._handle_error(error)

    def _handle_error(self, error: RedisError) -> None:
        """Start an outage for a temporary error; repair the keys for a permanent one, up to `MAX_REPAIRED` times."""
        for _ in range(MAX_REPAIRED):
            if may_pass(error):
                self._outage.begin(error)
                return
            if not isinstance(error, ResponseError):
                break
            try:
                self._remove_damaged_keys(error)
            except RedisError as another:
                if another is error:
                    break
                error = another
            else:
                return
        raise error

    def _sign_off(self) -> None:
        """Remove this worker from Redis; where that fails, its entry expires."""
        try:
            self.register_death()  # type: ignore[no-untyped-call]  # RQ's
        except RedisError as error:
            log.warning("worker not deregistered", extra={"action": "not_signed_off", "reason": str(error)[:512]})

    def _register(self) -> None:
        """Register this worker; called again after its entry has expired, or Redis has lost its data."""
        self.last_heartbeat = datetime.fromtimestamp(server_now(self.connection), UTC)
        self.birth_date = self.birth_date or self.last_heartbeat
        with self.connection.pipeline() as pipeline:
            pipeline.hset(self.key, mapping={**self.serialize(), "release": release()})
            register(self, pipeline)
            pipeline.execute()
        self._leases.heartbeat(WorkerStatus.IDLE)

    def _retry(self, step: Callable[[], Found]) -> Found:
        """Repeat a step until Redis accepts it; after a signal, stop instead."""
        while True:
            try:
                found = step()
            except RedisError as error:
                self._handle_error(error)
                if self._signals and may_pass(error):
                    raise StopRequested from error
                self._heartbeat.beat(Activity.OUTAGE)
                time.sleep(self._outage.pause())
            else:
                self._outage.end()
                return found

    def _remove_damaged_keys(self, error: ResponseError) -> None:
        """Remove keys of a wrong type; any other error is raised again."""
        if not is_damage(error):
            raise error
        job, study = self._job_id, study_of(self._job_id)
        ours = {TrialJob.key_for(job): "hash", Result.get_key(job): "stream", results_key(study): "list"}
        remove_damaged_keys(self.connection, {**key_types_of(self._queue), **ours, self.key: "hash"})
        if not is_wrong_type(error):  # a counter of this worker that is no number
            self.connection.delete(self.key)
        self._register()


def run_worker(
    connection: Redis,
    evaluator: Evaluator[Arrays, Prepared],
    settings: WorkerSettings,
    *,
    warm: Callable[[], None],
    signer: Signer = UNSIGNED,
    parent: int | None = None,
) -> None:
    """Run a worker until SIGTERM or SIGINT, which let the running job end; a second signal kills it.

    `warm` compiles what each fork would otherwise compile; it is called before the first job. When the process
    `parent` ends, this one receives SIGTERM.

    Raises:
        SettingsError: An active study names a strategy that this worker may not import.
        DataError: Its candles are missing here, or differ.
    """
    if parent is not None:
        die_with_parent(parent, signal.SIGTERM)
    for name in ("rq.worker", "rq.job", "rq.queue", "rq.registry"):
        logging.getLogger(name).setLevel(logging.WARNING)
    check_in(connection, evaluator, signer)
    warm()
    worker = TrialWorker(connection, evaluator, settings, signer)
    with about(worker=worker.name):
        worker.work()
        log.info("worker ended", extra={"action": "worker_ended"})


def worker_name() -> str:
    """A unique name: host, process id and random digits."""
    return f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
