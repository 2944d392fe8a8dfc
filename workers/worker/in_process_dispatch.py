"""Dispatch without a queue: trials are evaluated in this process."""

from collections.abc import Sequence
from typing import Generic

from tradeschool.errors import DataIncomplete
from workers.queue.announcements import Notice
from workers.queue.dispatch import Errand
from workers.queue.messages import Answer, Arrays, Order, Prepared
from workers.queue.trial_queue import JobReport
from workers.work_horse.evaluator import Bench


class BenchCarrier(Generic[Arrays, Prepared]):
    """Within this process, one order after another; nothing is ever lost."""

    def __init__(self, bench: Bench[Arrays, Prepared]) -> None:
        self._bench = bench
        self._answers: list[Answer] = []

    def send(self, errand: Errand, order: Order) -> bool:
        """Evaluate the order here and now.

        Raises:
            DataIncomplete: where the bench refuses it: there is no other worker to ask.
        """
        answer = self._bench.answer(order)
        if answer.refused is not None:
            raise DataIncomplete(answer.refused)
        self._answers.append(answer)
        return True

    def send_again(self, errand: Errand, order: Order) -> None:
        """The same as `send`."""
        self.send(errand, order)

    def collect(self, wait_seconds: float) -> list[Answer]:
        """The answers since the last call."""
        answers, self._answers = self._answers, []
        return answers

    def look(self, errands: Sequence[Errand]) -> list[JobReport]:
        """Nothing is under way: every order was answered when it was sent."""
        return []

    def put_back(self, errand: Errand) -> None:
        """Nothing strays."""

    def count_loss(self, errand: Errand) -> int:
        """Nothing is lost."""
        return 0

    def announce(self, notice: Notice) -> None:
        """Nobody else has a part in it."""
