"""Dispatchers: send batches to workers and collect their results."""

import logging
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from workers.connection.damaged_keys import key_types_of, with_damaged_keys_removed
from workers.connection.signing import UNSIGNED, Signer
from workers.queue.announcements import Announcement, publish_announcement, remove_announcement
from workers.queue.job_allowlist import TrialQueue
from workers.queue.job_reports import look_at
from workers.queue.messages import Batch, BatchResult
from workers.queue.study_marks import StudyMark, forget_from, mark_key, read_mark, write_mark
from workers.queue.trial_queue import (
    JobReport,
    clean,
    enqueue,
    expire,
    forget,
    pop_results,
    put_back,
    results_key,
    translated,
)
from workers.queue.worker_losses import count_loss, losses_key

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class JobKey:
    """One job of a study: a range of trials or surrogate markets, and the number of the attempt."""

    study: str
    first: int
    last: int
    attempt: int = 1

    @property
    def job_id(self) -> str:
        """The id in Redis; every coordinator derives the same."""
        return f"{self.study}-{self.first}-{self.last}-a{self.attempt}"

    @property
    def numbers(self) -> range:
        """Numbers of the trials that it may hold."""
        return range(self.first, self.last + 1)


class Dispatcher(Protocol):
    """The connection between a coordinator and its workers."""

    def send(self, job_key: JobKey, batch: Batch) -> bool:
        """Send a batch; idempotent. False if it was sent before."""

    def send_again(self, job_key: JobKey, batch: Batch) -> None:
        """Send a batch again after no usable result came back."""

    def collect(self, wait_seconds: float) -> list[BatchResult]:
        """Wait for the first result, and return all that have arrived."""

    def look(self, job_keys: Sequence[JobKey]) -> list[JobReport]:
        """The state of each job."""

    def put_back(self, job_key: JobKey) -> None:
        """Return an orphaned job to the queue."""

    def count_loss(self, job_key: JobKey) -> int:
        """Count and return the workers that were lost with this job, the latest included."""

    def expire(self, job_keys: Sequence[JobKey]) -> None:
        """Let finished jobs expire, because every trial of theirs has its result."""

    def announce(self, announcement: Announcement) -> None:
        """Publish the progress of the study."""

    def withdraw(self) -> None:
        """Remove the announcement of a study that is searched no more."""

    def last_mark(self) -> StudyMark | None:
        """What the last coordinator of the study had committed; None if it is unknown."""

    def forget_from(self, first: int) -> int:
        """Delete the study's jobs from a trial on, and its results; the number of jobs."""


log = logging.getLogger(__name__)


class QueueDispatcher:
    """Dispatches over RQ's queue to workers on any machine.

    Every method raises ServiceUnreachable if Redis does not answer.
    """

    def __init__(
        self, queue: TrialQueue, *, study: str, url: str, job_timeout_seconds: int, signer: Signer = UNSIGNED
    ) -> None:
        self._queue, self._study, self._url, self._timeout = queue, study, url, job_timeout_seconds
        self._signer = signer
        self._mark: StudyMark | None = None

    def send(self, job_key: JobKey, batch: Batch) -> bool:
        """Enqueue a job that does not exist yet; its time-out is the sum of its trials' or surrogate markets'."""
        seconds = self._timeout * len(batch.numbers)
        return self._done(lambda: enqueue(self._queue, job_key.job_id, batch, seconds, self._signer))

    def send_again(self, job_key: JobKey, batch: Batch) -> None:
        """Delete the job and enqueue it again."""
        log.info("job sent again", extra={"action": "job_sent_again", "job": job_key.job_id})
        self._done(lambda: forget(self._queue, job_key.job_id))
        self.send(job_key, batch)

    def collect(self, wait_seconds: float) -> list[BatchResult]:
        """Take the results from the study's list."""
        return self._done(lambda: pop_results(self._queue.connection, self._study, wait_seconds, self._signer))

    def look(self, job_keys: Sequence[JobKey]) -> list[JobReport]:
        """Fail jobs with an expired lease, then read the state of each job."""
        self._done(lambda: clean(self._queue, self._signer))
        return self._done(lambda: look_at(self._queue, [job_key.job_id for job_key in job_keys], self._signer))

    def put_back(self, job_key: JobKey) -> None:
        """Put the job at the head of the queue."""
        log.info("orphaned job requeued", extra={"action": "job_requeued", "job": job_key.job_id})
        self._done(lambda: put_back(self._queue, job_key.job_id))

    def count_loss(self, job_key: JobKey) -> int:
        """The count is kept in Redis, so the next coordinator continues it."""
        return self._done(lambda: count_loss(self._queue.connection, self._study, job_key.job_id, self._signer))

    def expire(self, job_keys: Sequence[JobKey]) -> None:
        """Shorten the life of the jobs and of their results, of which a long search leaves many."""
        self._done(lambda: expire(self._queue, [job_key.job_id for job_key in job_keys]))

    def announce(self, announcement: Announcement) -> None:
        """Publish an announcement and mark what is committed; remove it once every trial is finished."""
        connection = self._queue.connection
        if announcement.database:
            self._mark = StudyMark(
                database=announcement.database,
                host=socket.gethostname(),
                committed=announcement.finished,
                seen=0.0,  # the server's time is set when it is written
            )
            self._write_mark(is_active=True)
        if announcement.finished < announcement.trials:
            self._done(lambda: publish_announcement(connection, self._study, announcement, self._signer))
        else:
            self.withdraw()

    def withdraw(self) -> None:
        """Workers that start later do not check a strategy and candles of no active search."""
        self._write_mark(is_active=False)
        self._done(lambda: remove_announcement(self._queue.connection, self._study))

    def last_mark(self) -> StudyMark | None:
        """Read the mark, signed with the key of this installation."""
        return self._done(lambda: read_mark(self._queue.connection, self._study, self._signer))

    def forget_from(self, first: int) -> int:
        """Delete jobs, including those that a worker has taken, and all results that are not collected."""
        return self._done(lambda: forget_from(self._queue, self._study, first))

    def _write_mark(self, *, is_active: bool) -> None:
        if self._mark is not None:
            mark = self._mark.model_copy(update={"is_active": is_active})
            self._done(lambda: write_mark(self._queue.connection, self._study, mark, self._signer))

    def _done(self, step: Callable[[], Found]) -> Found:
        """Run a step; remove keys of a wrong type and run it again."""
        study = self._study
        ours = {results_key(study): "list", losses_key(study): "hash", mark_key(study): "string"}
        with translated(self._url):
            return with_damaged_keys_removed(self._queue.connection, {**key_types_of(self._queue), **ours}, step)
