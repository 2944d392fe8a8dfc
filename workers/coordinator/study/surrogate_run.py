"""The null test of a run on the queue: surrogate markets as jobs, their results in a file.

Each market is run by one job, by whichever worker takes it, and its result does not depend on the worker. A result is
appended to the file before the next is taken, so a kill loses nothing that was collected; what a worker has finished
meanwhile is kept in Redis.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from pydantic import ValidationError

from optimizer.level.spec import Level
from optimizer.runs.fingerprint import release
from optimizer.validation.evidence import NullRun
from tradeschool.errors import ServiceUnreachable
from tradeschool.plain_text import plain
from workers.coordinator.study.job_recovery import CoordinatorSettings, JobRecovery
from workers.coordinator.study.trial_ledger import StudyProgress
from workers.isolation.strategy_allowlist import UserCode, user_code
from workers.queue.announcements import Announcement
from workers.queue.dispatch import Dispatcher, JobKey
from workers.queue.messages import VERSION, BatchResult, SurrogateBatch, TrialResult

MOST_OPEN = 32
"""Surrogate markets that are on the queue at once; more would delay the trials of other runs."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingMarkets:
    """The surrogate markets that a null test lacks, and the curriculum that runs in each of them."""

    study: str
    levels: tuple[Level, ...]
    seed: int
    digests: Mapping[str, str]
    """Digests of the curriculum's candles."""
    numbers: Sequence[int]

    def batch(self, numbers: tuple[int, ...]) -> SurrogateBatch:
        """The batch of these numbers."""
        return SurrogateBatch(
            study=self.study, numbers=numbers, levels=self.levels, seed=self.seed, digests=dict(self.digests)
        )


class SurrogateLedger:
    """The surrogate markets of a null test: finished, open, given up and not yet asked for."""

    def __init__(self, markets: MissingMarkets, on_run: Callable[[NullRun], None]) -> None:
        self._markets, self._on_run, self._given_up = markets, on_run, 0
        self._open: dict[int, None] = {}
        self._waiting = [*markets.numbers]
        self._planned, self._finished = len(markets.numbers), 0

    def next_number(self) -> int | None:
        """Open the next surrogate market; None while enough are open, or none is left."""
        if not self._waiting or len(self._open) >= MOST_OPEN:
            return None
        number = self._waiting.pop(0)
        self._open[number] = None
        return number

    def batch(self, numbers: range) -> SurrogateBatch | None:
        """A batch of the open markets among `numbers`; None if there are none."""
        wanted = tuple(number for number in numbers if self.is_open(number))
        return self._markets.batch(wanted) if wanted else None

    def is_open(self, number: int) -> bool:
        """Whether a market was asked for and has no result."""
        return number in self._open

    def accept(self, result: BatchResult) -> None:
        """Accept the first result of each market; a result of another request is ignored."""
        for found in result.trials:
            if not self.is_open(found.number) or found.request_digest != self._request_digest(found.number):
                log.info("result ignored", extra={"action": "result_ignored", "surrogate": found.number})
                continue
            self._take(found)

    def fail(self, number: int, reason: str) -> None:
        """Give up an open market; it is left out of the null test."""
        del self._open[number]
        self._given_up += 1
        extra = {"action": "surrogate_given_up", "surrogate": number, "reason": reason}
        log.error("surrogate market given up", extra=extra)

    def progress(self) -> StudyProgress:
        """The progress of the missing markets."""
        return StudyProgress(
            trials=self._planned, complete=self._finished, pruned=0, failed=self._given_up, open=len(self._open)
        )

    def _take(self, found: TrialResult) -> None:
        try:
            null_run = NullRun.model_validate_json(found.evaluation or "")
        except ValidationError:
            self.fail(found.number, plain(found.failure or "its result cannot be read")[:512])
            return
        if null_run.surrogate != found.number:
            self.fail(found.number, f"its result is that of surrogate market {null_run.surrogate}")
            return
        del self._open[found.number]
        self._finished += 1
        self._on_run(null_run)

    def _request_digest(self, number: int) -> str:
        return self._markets.batch((number,)).request_digests()[0]


class SurrogateRun:
    """The missing surrogate markets of one null test; replaced by a new object after an outage."""

    def __init__(
        self,
        markets: MissingMarkets,
        *,
        dispatcher: Dispatcher,
        settings: CoordinatorSettings,
        on_run: Callable[[NullRun], None],
        given_up: Callable[[int, str], None] = lambda number, reason: None,
    ) -> None:
        self._markets, self._dispatcher = markets, dispatcher
        self.ledger = SurrogateLedger(markets, on_run)
        self._jobs = JobRecovery(
            ledger=self.ledger,
            dispatcher=dispatcher,
            settings=settings,
            code=next(iter(user_code(markets.levels)), UserCode(markets.levels[0].strategy)),
            given_up=given_up,
            noun="surrogate market",
        )

    def reconcile(self, wait_seconds: float = 0.0) -> StudyProgress:
        """Take one step: accept results, recover lost jobs and send new ones. Idempotent after a kill.

        Raises:
            ServiceUnreachable: Redis does not answer; make a new object.
            DataIncomplete, StrategyNotImported, SettingsError: Every worker refuses, see `JobRecovery.recover`.
        """
        self._jobs.step(wait_seconds, announce=self._announce, next_job=self._next_job)
        progress = self.ledger.progress()
        if progress.is_done:
            self.withdraw()
        return progress

    def _next_job(self) -> JobKey | None:
        number = self.ledger.next_number()
        return None if number is None else JobKey(study=self._markets.study, first=number, last=number)

    def withdraw(self) -> None:
        """Remove the announcement of the null test; where Redis does not answer, it expires."""
        with suppress(ServiceUnreachable):
            self._dispatcher.withdraw()

    def _announce(self) -> None:
        """Publish the progress; without a level, because a worker checks the whole curriculum with its first job."""
        progress = self.ledger.progress()
        announcement = Announcement(
            v=VERSION,
            release=release(),
            seen=0.0,  # the dispatcher sets the server's time
            trials=progress.trials,
            finished=progress.finished,
            complete=progress.complete,
            failed=progress.failed,
            lag=MOST_OPEN,
        )
        self._dispatcher.announce(announcement)
