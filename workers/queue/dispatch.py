"""How orders reach those who evaluate them, and answers come back: over the queue, or within this process."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from workers.connection.damaged_keys import kinds_of, mended
from workers.connection.signing import UNSIGNED, Signer
from workers.queue.announcements import Notice, put_up, take_down
from workers.queue.job_allowlist import TrialQueue
from workers.queue.job_reports import look_at
from workers.queue.messages import Answer, Order
from workers.queue.trial_queue import JobReport, clean, enqueue, forget, pop_answers, put_back, results_key, translated
from workers.queue.worker_losses import count_loss, losses_key

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Errand:
    """One job of a study: the trials of a range, for the nth time."""

    study: str
    first: int
    last: int
    attempt: int = 1

    @property
    def job_id(self) -> str:
        """Unique in Redis, and the same for every conductor."""
        return f"{self.study}-{self.first}-{self.last}-a{self.attempt}"

    @property
    def numbers(self) -> range:
        """The trials that it may hold."""
        return range(self.first, self.last + 1)


class Carrier(Protocol):
    """The way between a conductor and those who evaluate."""

    def send(self, errand: Errand, order: Order) -> bool:
        """Hand the order on; once, however often it is called. False where it was handed on before."""

    def send_again(self, errand: Errand, order: Order) -> None:
        """Hand the order on although it was handed on before: nothing usable came back."""

    def collect(self, wait_seconds: float) -> list[Answer]:
        """The answers that have come, after waiting for the first of them."""

    def look(self, errands: Sequence[Errand]) -> list[JobReport]:
        """What has become of each errand."""

    def put_back(self, errand: Errand) -> None:
        """Return a stray job to the queue."""

    def count_loss(self, errand: Errand) -> int:
        """How many workers are gone that had this errand, the latest one included."""

    def announce(self, notice: Notice) -> None:
        """Let others know how far the study is."""


log = logging.getLogger(__name__)


class QueueCarrier:
    """Over RQ's queue, to workers on any machine.

    Every method raises ServiceUnreachable where Redis does not answer.
    """

    def __init__(
        self, queue: TrialQueue, *, study: str, url: str, job_timeout_seconds: int, signer: Signer = UNSIGNED
    ) -> None:
        self._queue, self._study, self._url, self._timeout = queue, study, url, job_timeout_seconds
        self._signer = signer

    def send(self, errand: Errand, order: Order) -> bool:
        """Enqueue the errand's job where it is not known; its time-out is that of all its trials together."""
        seconds = self._timeout * len(order.numbers)
        return self._done(lambda: enqueue(self._queue, errand.job_id, order, seconds, self._signer))

    def send_again(self, errand: Errand, order: Order) -> None:
        """Forget the errand's job and enqueue it anew."""
        log.info("job sent again", extra={"action": "job_sent_again", "job": errand.job_id})
        self._done(lambda: forget(self._queue, errand.job_id))
        self.send(errand, order)

    def collect(self, wait_seconds: float) -> list[Answer]:
        """The answers on the study's list."""
        return self._done(lambda: pop_answers(self._queue.connection, self._study, wait_seconds, self._signer))

    def look(self, errands: Sequence[Errand]) -> list[JobReport]:
        """What Redis knows of each errand's job, after failing those whose lease has run out."""
        self._done(lambda: clean(self._queue, self._signer))
        return self._done(lambda: look_at(self._queue, [errand.job_id for errand in errands], self._signer))

    def put_back(self, errand: Errand) -> None:
        """Return the job to the head of the queue."""
        log.info("stray job put back", extra={"action": "job_put_back", "job": errand.job_id})
        self._done(lambda: put_back(self._queue, errand.job_id))

    def count_loss(self, errand: Errand) -> int:
        """Counted in Redis, so that the next conductor goes on counting."""
        return self._done(lambda: count_loss(self._queue.connection, self._study, errand.job_id, self._signer))

    def announce(self, notice: Notice) -> None:
        """Put up a notice, and take it down when every trial is finished."""
        connection = self._queue.connection
        if notice.finished < notice.trials:
            self._done(lambda: put_up(connection, self._study, notice, self._signer))
        else:
            self._done(lambda: take_down(connection, self._study))

    def _done(self, step: Callable[[], Found]) -> Found:
        """Take a step; a key that holds something else than ours is taken out of its way."""
        ours = {results_key(self._study): "list", losses_key(self._study): "hash"}
        with translated(self._url):
            return mended(self._queue.connection, {**kinds_of(self._queue), **ours}, step)
