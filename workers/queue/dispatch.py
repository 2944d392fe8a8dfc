"""How orders reach those who evaluate them, and answers come back: over the queue, or within this process."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from workers.connection.damaged_keys import key_types_of, with_damaged_keys_removed
from workers.connection.signing import UNSIGNED, Signer
from workers.queue.announcements import Announcement, publish_announcement, remove_announcement
from workers.queue.job_allowlist import TrialQueue
from workers.queue.job_reports import look_at
from workers.queue.messages import BatchResult, TrialBatch
from workers.queue.trial_queue import JobReport, clean, enqueue, forget, pop_results, put_back, results_key, translated
from workers.queue.worker_losses import count_loss, losses_key

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class JobKey:
    """One job of a study: the trials of a range, for the nth time."""

    study: str
    first: int
    last: int
    attempt: int = 1

    @property
    def job_id(self) -> str:
        """Unique in Redis, and the same for every coordinator."""
        return f"{self.study}-{self.first}-{self.last}-a{self.attempt}"

    @property
    def numbers(self) -> range:
        """The trials that it may hold."""
        return range(self.first, self.last + 1)


class Dispatcher(Protocol):
    """The way between a coordinator and those who evaluate."""

    def send(self, job_key: JobKey, batch: TrialBatch) -> bool:
        """Hand the order on; once, however often it is called. False where it was handed on before."""

    def send_again(self, job_key: JobKey, batch: TrialBatch) -> None:
        """Hand the order on although it was handed on before: nothing usable came back."""

    def collect(self, wait_seconds: float) -> list[BatchResult]:
        """The answers that have come, after waiting for the first of them."""

    def look(self, job_keys: Sequence[JobKey]) -> list[JobReport]:
        """What has become of each job."""

    def put_back(self, job_key: JobKey) -> None:
        """Return a stray job to the queue."""

    def count_loss(self, job_key: JobKey) -> int:
        """How many workers are gone that had this job, the latest one included."""

    def announce(self, announcement: Announcement) -> None:
        """Let others know how far the study is."""


log = logging.getLogger(__name__)


class QueueDispatcher:
    """Over RQ's queue, to workers on any machine.

    Every method raises ServiceUnreachable where Redis does not answer.
    """

    def __init__(
        self, queue: TrialQueue, *, study: str, url: str, job_timeout_seconds: int, signer: Signer = UNSIGNED
    ) -> None:
        self._queue, self._study, self._url, self._timeout = queue, study, url, job_timeout_seconds
        self._signer = signer

    def send(self, job_key: JobKey, batch: TrialBatch) -> bool:
        """Enqueue the job's job where it is not known; its time-out is that of all its trials together."""
        seconds = self._timeout * len(batch.numbers)
        return self._done(lambda: enqueue(self._queue, job_key.job_id, batch, seconds, self._signer))

    def send_again(self, job_key: JobKey, batch: TrialBatch) -> None:
        """Forget the job's job and enqueue it anew."""
        log.info("job sent again", extra={"action": "job_sent_again", "job": job_key.job_id})
        self._done(lambda: forget(self._queue, job_key.job_id))
        self.send(job_key, batch)

    def collect(self, wait_seconds: float) -> list[BatchResult]:
        """The answers on the study's list."""
        return self._done(lambda: pop_results(self._queue.connection, self._study, wait_seconds, self._signer))

    def look(self, job_keys: Sequence[JobKey]) -> list[JobReport]:
        """What Redis knows of each job's job, after failing those whose lease has run out."""
        self._done(lambda: clean(self._queue, self._signer))
        return self._done(lambda: look_at(self._queue, [job_key.job_id for job_key in job_keys], self._signer))

    def put_back(self, job_key: JobKey) -> None:
        """Return the job to the head of the queue."""
        log.info("stray job put back", extra={"action": "job_requeued", "job": job_key.job_id})
        self._done(lambda: put_back(self._queue, job_key.job_id))

    def count_loss(self, job_key: JobKey) -> int:
        """Counted in Redis, so that the next coordinator goes on counting."""
        return self._done(lambda: count_loss(self._queue.connection, self._study, job_key.job_id, self._signer))

    def announce(self, announcement: Announcement) -> None:
        """Put up a notice, and take it down when every trial is finished."""
        connection = self._queue.connection
        if announcement.finished < announcement.trials:
            self._done(lambda: publish_announcement(connection, self._study, announcement, self._signer))
        else:
            self._done(lambda: remove_announcement(connection, self._study))

    def _done(self, step: Callable[[], Found]) -> Found:
        """Take a step; a key that holds something else than ours is taken out of its way."""
        ours = {results_key(self._study): "list", losses_key(self._study): "hash"}
        with translated(self._url):
            return with_damaged_keys_removed(self._queue.connection, {**key_types_of(self._queue), **ours}, step)
