"""A worker: takes a job, forks, evaluates, answers. It needs Redis and candles, and no database.

It is RQ's forking worker with short leases, its own maintenance, and nothing that Redis could turn against it.
"""

import logging
import os
import signal
import socket
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic

from pydantic import JsonValue
from redis import Redis
from rq import Queue, Worker
from rq.exceptions import StopRequested
from rq.executions import Execution
from rq.job import Job
from rq.utils import now
from rq.worker import WorkerStatus

from workers.guard import JobRefused, TrialJob, TrialQueue
from workers.jobs import Answer, Arrays, Bench, Order, Prepared, evaluate_trials
from workers.parent import die_with_parent, load_prctl
from workers.queue import clean, push_answer

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """How closely a worker is watched, in whole seconds."""

    lease_seconds: int = 15
    """A job is given to another worker this long after its own was last heard of; several times the next."""
    monitoring_seconds: int = 3
    """Between two heartbeats of a worker that evaluates."""
    idle_seconds: int = 5
    """Between two heartbeats, and two rounds of maintenance, of a worker that waits."""
    hang_seconds: int = 5
    """How long after a job's time-out native code that ignores it is killed."""


class TrialWorker(Worker, Generic[Arrays, Prepared]):
    """RQ's forking worker for trials."""

    queue_class = TrialQueue  # type: ignore[assignment]  # it takes its class and serializer from nobody
    job_class = TrialJob

    def __init__(self, connection: Redis, bench: Bench[Arrays, Prepared], settings: WorkerSettings) -> None:
        self._queue = TrialQueue(connection=connection)
        super().__init__(
            [self._queue],
            name=bench.worker,
            connection=connection,
            job_monitoring_interval=settings.monitoring_seconds,
            maintenance_interval=settings.idle_seconds,
            # RQ waits for a job 15 seconds less than it says it may be silent.
            worker_ttl=settings.idle_seconds + 15,
            log_job_description=False,
        )
        self.log_result_lifespan = False
        self._bench, self._settings = bench, settings
        load_prctl()

    def bootstrap(self, *_: object, **__: object) -> None:
        """Report for work, without RQ's own log handlers and colours."""
        # RQ hears signals only after it has registered; one in between would leave a worker that is not there.
        self._install_signal_handlers()  # type: ignore[no-untyped-call]  # RQ's
        self.register_birth()  # type: ignore[no-untyped-call]  # RQ's
        self.subscribe()  # type: ignore[no-untyped-call]  # RQ's
        self.set_state(WorkerStatus.STARTED)
        log.info("worker started", extra={"action": "worker_started", "worker": self.name, "pid": os.getpid()})

    def run_maintenance_tasks(self) -> None:
        """Fail jobs whose lease has run out; see `workers.queue.clean` for what RQ's own would do."""
        clean(self._queue)
        self.last_cleaned_at = now()  # type: ignore[assignment]  # RQ's own type is that of its first value

    def get_heartbeat_ttl(self, job: Job, working_time: float = 0.0) -> int:
        """The lease, in seconds, whatever the job's own time-out."""
        return self._settings.lease_seconds

    def execute_job(self, job: Job, queue: Queue) -> None:
        """Lease the job, bring its candles into memory, fork, and watch over the horse."""
        execution = self.prepare_execution(job)
        self._make_ready(job, execution)
        self.fork_work_horse(job, queue)
        self.monitor_work_horse(job, queue, execution)
        self.set_state(WorkerStatus.IDLE)

    def main_work_horse(self, job: Job, queue: Queue) -> None:
        """In the fork: die with the worker, then evaluate."""
        die_with_parent(self.pid or 0, signal.SIGKILL)
        assert isinstance(job, TrialJob)
        job.evaluator = self._evaluate
        super().main_work_horse(job, queue)

    def maintain_heartbeats(self, job: Job, execution: Execution) -> None:
        """Renew the lease, unless the job's time is long up: then native code hangs, and only a kill helps."""
        if job.started_at and job.timeout and self._is_hanging((now() - job.started_at).total_seconds(), job.timeout):
            log.warning("hanging job killed", extra={"action": "job_killed", "worker": self.name, "job": job.id})
            self.kill_horse()
        super().maintain_heartbeats(job, execution)

    def _is_hanging(self, seconds: float, timeout: float) -> bool:
        return self.horse_pid != 0 and seconds > timeout + self._settings.hang_seconds

    def _make_ready(self, job: Job, execution: Execution) -> None:
        """Read what the horse will need, so that every fork finds it in memory; what goes wrong, it meets itself."""
        assert isinstance(job, TrialJob)
        try:
            self._bench.make_ready(Order.parse(job.order()), lambda: self.maintain_heartbeats(job, execution))
        except (JobRefused, ValueError) as error:
            log.warning("job refused", extra={"action": "job_refused", "job": job.id, "reason": str(error)[:512]})
        except Exception:  # a strategy's module is a stranger's code, and the worker must outlive it
            log.warning("level not ready", exc_info=True, extra={"action": "level_not_ready", "job": job.id})

    def _evaluate(self, payload: object) -> JsonValue:
        answer = evaluate_trials(payload, self._bench)
        parsed = Answer.parse(answer)
        push_answer(self.connection, parsed.study, parsed.model_dump_json().encode())
        return answer


def run_worker(
    connection: Redis,
    bench: Bench[Arrays, Prepared],
    settings: WorkerSettings,
    *,
    warm: Callable[[], None],
    parent: int | None = None,
) -> None:
    """Work until SIGTERM or SIGINT, which let the running job end; a second signal does not.

    `warm` compiles what would otherwise be compiled in every fork; it is called before the first job. `parent` is
    the process with which this one ends, in the same gentle way.
    """
    if parent is not None:
        die_with_parent(parent, signal.SIGTERM)
    for name in ("rq.worker", "rq.job", "rq.queue", "rq.registry"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warm()
    worker = TrialWorker(connection, bench, settings)
    try:
        worker.work(burst=False)
    except StopRequested:
        worker.teardown()  # type: ignore[no-untyped-call]  # RQ's
    log.info("worker ended", extra={"action": "worker_ended", "worker": worker.name})


def worker_name() -> str:
    """A name that no other worker has had: host, process and chance."""
    return f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
