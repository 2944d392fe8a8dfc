"""Evaluation of a job's batch: checks its signature and strategy, has the work horse evaluate it, explains errors."""

import logging
import time
from collections.abc import Callable
from typing import Generic, NoReturn

from redis.exceptions import RedisError
from rq.exceptions import StopRequested

from tradeschool.errors import DataError, ServiceUnreachable
from tradeschool.object_storage.waiting import during_waits
from tradeschool.plain_text import plain, plain_error
from workers.connection.signing import Signer
from workers.isolation.strategy_allowlist import StrategyNotAllowed
from workers.queue.job_allowlist import JobRefused, TrialJob
from workers.queue.messages import BATCHES, Arrays, Batch, BatchResult, Prepared, require_release
from workers.queue.trial_queue import BATCH_REFUSED, NOT_IMPORTED
from workers.work_horse.evaluator import Evaluator
from workers.work_horse.lifecycle import BatchNotStarted, WorkHorseManager
from workers.work_horse.process import WorkHorseResult

BATCH_SECONDS = 604_800.0
"""Maximum age of a signed batch; the coordinator signs and sends a refused one again."""

log = logging.getLogger(__name__)


class BatchEvaluation(Generic[Arrays, Prepared]):
    """Evaluates the batches of jobs in one worker's work horse."""

    def __init__(
        self,
        evaluator: Evaluator[Arrays, Prepared],
        horses: WorkHorseManager[Arrays, Prepared],
        signer: Signer,
        *,
        worker: str,
        refusal_seconds: float,
    ) -> None:
        """`refusal_seconds` is the pause after a refused batch, in which other workers can take it."""
        self._evaluator, self._horses, self._signer = evaluator, horses, signer
        self._worker, self._refusal_seconds = worker, refusal_seconds
        self._not_imported = ""
        """The last study whose strategy could not be imported."""

    def evaluate(
        self, job: TrialJob, *, renew: Callable[[], None], is_ending: Callable[[], bool]
    ) -> tuple[str, WorkHorseResult]:
        """The study of a job and the outcome of its batch; any error becomes a refusal or failure.

        `renew` is called again and again meanwhile; `is_ending` says whether the worker was told to end.

        Raises:
            BatchNotStarted, OtherRelease, StopRequested, RedisError: The job was not evaluated.
        """
        try:
            batch = self._parsed(job)
            self._provide(batch, renew)
        except (JobRefused, StrategyNotAllowed, ValueError) as error:
            time.sleep(self._refusal_seconds)
            return "", WorkHorseResult(failure=plain(f"{BATCH_REFUSED}: {' '.join(str(error).split())}")[:512])
        is_first, timeout = job.id.endswith("-a1"), int(job.timeout or 1)
        try:
            outcome = self._horses.evaluate(batch, timeout, is_first=is_first, renew=renew, is_ending=is_ending)
        except DataError as error:
            return batch.study, self._refuse(batch, error)
        except ServiceUnreachable as error:  # the bucket of the candles; the job goes back to the queue
            self._release(batch, error)
        except (StopRequested, RedisError, BatchNotStarted):
            raise
        except Exception as error:  # preparing a level may fail in many ways; the worker survives them
            log.warning("level not ready", exc_info=True, extra={"action": "level_not_ready", "job": job.id})
            return batch.study, WorkHorseResult(failure=plain_error(error)[:512])
        if outcome.failure and outcome.failure.startswith(NOT_IMPORTED):
            time.sleep(self._refusal_seconds)  # another worker may succeed
        return batch.study, outcome

    def log_level_of(self, reason: str, study: str) -> int:
        """The log level of a failure: a failed import concerns every job of a study, so only the first warns."""
        if not reason.startswith(NOT_IMPORTED):
            return logging.WARNING
        is_known, self._not_imported = study == self._not_imported, study
        return logging.INFO if is_known else logging.WARNING

    def _provide(self, batch: Batch, renew: Callable[[], None]) -> None:
        """Check that the users' code of a batch may be imported, and fetch modules that are missing here."""
        try:
            with during_waits(renew):
                self._evaluator.require_code(batch)
        except ServiceUnreachable as error:
            self._release(batch, error)

    def _parsed(self, job: TrialJob) -> Batch:
        """The batch of a job, with a valid signature for its kind."""
        payload = job.payload()
        form = BATCHES[job.function]
        content = self._signer.check(form.kind, job.id, payload, now=time.time(), seconds=BATCH_SECONDS)
        require_release(content)
        return form.parse(content)

    def _release(self, batch: Batch, error: ServiceUnreachable) -> NoReturn:
        """Return a job to the queue, because the bucket of candles and modules does not answer."""
        log.error("job released", extra={"action": "bucket_awaited", "study": batch.study, "reason": str(error)})
        time.sleep(self._refusal_seconds)  # the pause of a refusal, in which other workers can take it
        raise BatchNotStarted from error

    def _refuse(self, batch: Batch, error: DataError) -> WorkHorseResult:
        log.error("batch refused", extra={"action": "batch_refused", "study": batch.study, "reason": str(error)})
        time.sleep(self._refusal_seconds)
        refusal = BatchResult(study=batch.study, worker=self._worker, refused=plain(str(error))[:512])
        return WorkHorseResult(result=refusal.model_dump_json().encode())
