"""Dispatch without a queue: trials are evaluated in this process."""

from collections.abc import Sequence
from typing import Generic

from tradeschool.errors import DataIncomplete
from workers.queue.announcements import Announcement
from workers.queue.dispatch import JobKey
from workers.queue.messages import Arrays, Batch, BatchResult, Prepared
from workers.queue.study_marks import StudyMark
from workers.queue.trial_queue import JobReport
from workers.work_horse.evaluator import Evaluator


class InProcessDispatcher(Generic[Arrays, Prepared]):
    """Evaluates each batch when it is sent; no job can be lost."""

    def __init__(self, evaluator: Evaluator[Arrays, Prepared]) -> None:
        self._evaluator = evaluator
        self._results: list[BatchResult] = []

    def send(self, job_key: JobKey, batch: Batch) -> bool:
        """Evaluate the batch.

        Raises:
            DataIncomplete: The evaluator refuses it; there is no other worker to try.
        """
        result = self._evaluator.evaluate(batch)
        if result.refused is not None:
            raise DataIncomplete(result.refused)
        self._results.append(result)
        return True

    def send_again(self, job_key: JobKey, batch: Batch) -> None:
        """The same as `send`."""
        self.send(job_key, batch)

    def collect(self, wait_seconds: float) -> list[BatchResult]:
        """The results since the last call."""
        results, self._results = self._results, []
        return results

    def look(self, job_keys: Sequence[JobKey]) -> list[JobReport]:
        """No reports: every batch has its result when `send` returns."""
        return []

    def put_back(self, job_key: JobKey) -> None:
        """No effect: there are no orphaned jobs."""

    def count_loss(self, job_key: JobKey) -> int:
        """Always 0."""
        return 0

    def expire(self, job_keys: Sequence[JobKey]) -> None:
        """No effect: no job is stored."""

    def announce(self, announcement: Announcement) -> None:
        """No effect: no other process takes part."""

    def withdraw(self) -> None:
        """No effect: no other process takes part."""

    def last_mark(self) -> StudyMark | None:
        """Always None: nothing outlives this process."""
        return None

    def forget_from(self, first: int) -> int:
        """No effect: there are no jobs."""
        return 0
