"""Dispatch without a queue: trials are evaluated in this process."""

from collections.abc import Sequence
from typing import Generic

from tradeschool.errors import DataIncomplete
from workers.queue.announcements import Announcement
from workers.queue.dispatch import JobKey
from workers.queue.messages import Arrays, BatchResult, Prepared, TrialBatch
from workers.queue.trial_queue import JobReport
from workers.work_horse.evaluator import Evaluator


class InProcessDispatcher(Generic[Arrays, Prepared]):
    """Within this process, one order after another; nothing is ever lost."""

    def __init__(self, evaluator: Evaluator[Arrays, Prepared]) -> None:
        self._evaluator = evaluator
        self._results: list[BatchResult] = []

    def send(self, job_key: JobKey, batch: TrialBatch) -> bool:
        """Evaluate the order here and now.

        Raises:
            DataIncomplete: where the bench refuses it: there is no other worker to ask.
        """
        result = self._evaluator.evaluate(batch)
        if result.refused is not None:
            raise DataIncomplete(result.refused)
        self._results.append(result)
        return True

    def send_again(self, job_key: JobKey, batch: TrialBatch) -> None:
        """The same as `send`."""
        self.send(job_key, batch)

    def collect(self, wait_seconds: float) -> list[BatchResult]:
        """The answers since the last call."""
        results, self._results = self._results, []
        return results

    def look(self, job_keys: Sequence[JobKey]) -> list[JobReport]:
        """Nothing is under way: every order was answered when it was sent."""
        return []

    def put_back(self, job_key: JobKey) -> None:
        """Nothing strays."""

    def count_loss(self, job_key: JobKey) -> int:
        """Nothing is lost."""
        return 0

    def announce(self, announcement: Announcement) -> None:
        """Nobody else has a part in it."""
