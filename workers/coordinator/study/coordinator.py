"""The coordinator: samples trials, sends them to workers, accepts results and commits them to the study.

It is the only writer of its study, and holds the run's lock meanwhile (see `workers.coordinator.leadership`). Its
state can be rebuilt from the study and the queue, so another process can continue after a kill at any line.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Protocol

from optimizer.runs.fingerprint import release
from optimizer.search.sampler import SearchSpace, TrialRequest
from optimizer.search.study import OpenStudy, StudyFacts
from tradeschool.errors import LeadershipLost, ServiceUnreachable, SettingsError, StudyChanged, TradeschoolError
from workers.connection.reconnect import Outage
from workers.coordinator.study.job_recovery import CoordinatorSettings, GivenUpCallback, JobRecovery
from workers.coordinator.study.trial_ledger import StudyProgress, TrialLedger
from workers.isolation.strategy_allowlist import trial_code_label
from workers.queue.announcements import Announcement
from workers.queue.dispatch import Dispatcher, JobKey
from workers.queue.messages import VERSION, TrialBatch

LOG_SECONDS = 60.0
"""Seconds between two log lines on the progress of a search."""

log = logging.getLogger(__name__)


class StudyRun:
    """The search of one study; replaced by a new object after an outage."""

    def __init__(
        self,
        *,
        study: OpenStudy,
        facts: StudyFacts,
        space: SearchSpace,
        digests: Mapping[str, str],
        dispatcher: Dispatcher,
        settings: CoordinatorSettings,
        given_up: GivenUpCallback = lambda number, reason: None,
        database: str = "",
    ) -> None:
        """`database` is the identity of the study's database; empty: the study is not marked in the queue."""
        level = facts.level
        if settings.trials_per_job > level.lag:
            raise SettingsError(
                f"trials_per_job is {settings.trials_per_job}: expected at most the study's lag, {level.lag}"
            )
        self.dispatcher, self._settings = dispatcher, settings
        self._facts, self._digests, self._study, self._database = facts, dict(digests), study, database
        self.is_ready = False
        """Whether the ledger has loaded what the sampler needs for later trials."""
        self.ledger = TrialLedger(
            study=study,
            space=space,
            trials=facts.reused + level.trials,
            batch=self._batch,
            clock=time.time,
            reused=facts.reused,
            early_stop=level.early_stop,
        )
        self.jobs = JobRecovery(
            ledger=self.ledger,
            dispatcher=dispatcher,
            settings=settings,
            code=trial_code_label(level),
            given_up=given_up,
        )

    def next_job(self) -> JobKey | None:
        """Sample the trials of the next job; None where it has to wait for results, or every trial is sampled.

        Jobs begin at multiples of their size, so every coordinator gives them the same names.
        """
        first, size = self.ledger.next_number, self._settings.trials_per_job
        block = first // size * size
        if self.ledger.ask_until(block + size) is None:
            return None
        return JobKey(study=self._study.name, first=block, last=block + size - 1)

    def open_jobs(self) -> Iterator[JobKey]:
        """Yield every job with an open trial."""
        return self.jobs.open_jobs()

    def reconcile(self, wait_seconds: float = 0.0) -> StudyProgress:
        """Take one step: accept results, recover lost jobs, send new ones and commit. Idempotent after a kill.

        Waits up to `wait_seconds` for the first result.

        Raises:
            ServiceUnreachable, StudyChanged: Redis, the database or the study failed; make a new object.
            DataIncomplete, StrategyNotImported, SettingsError: Every worker refuses, see `JobRecovery.recover`.
        """
        self.jobs.step(wait_seconds, announce=self.announce, next_job=self.next_job)
        # Last: a worker that waits for its next job does not also wait for the disk.
        self.ledger.commit()
        if not self.is_ready:
            self.ledger.get_ready()
            self.is_ready = True
        progress = self.ledger.progress()
        if progress.is_done:
            self.announce()
        return progress

    def announce(self) -> None:
        """Publish the progress of the study."""
        level, progress = self._facts.level, self.ledger.progress()
        announcement = Announcement(
            v=VERSION,
            release=release(),
            database=self._database,
            seen=0.0,  # the dispatcher sets the server's time
            trials=progress.trials,
            finished=progress.finished,
            complete=progress.complete,
            pruned=progress.pruned,
            failed=progress.failed,
            lag=level.lag,
            trials_per_job=self._settings.trials_per_job,
            level=level,
            digests=self._digests,
        )
        self.dispatcher.announce(announcement)

    def withdraw(self) -> None:
        """Remove the announcement of the study; where Redis does not answer, it expires."""
        with suppress(ServiceUnreachable):
            self.dispatcher.withdraw()

    def _batch(self, trial_requests: tuple[TrialRequest, ...]) -> TrialBatch:
        return TrialBatch(
            study=self._study.name,
            numbers=tuple(trial_request.number for trial_request in trial_requests),
            parameters=tuple(trial_request.parameters for trial_request in trial_requests),
            thresholds=tuple(trial_request.thresholds for trial_request in trial_requests),
            level=self._facts.level,
            digests=self._digests,
        )


class Reconciled(Protocol):
    """A study or a null test that is taken one step further by each call."""

    def reconcile(self, wait_seconds: float = 0.0) -> StudyProgress:
        """Take one step; see `StudyRun.reconcile`."""

    def withdraw(self) -> None:
        """Remove its announcement."""


def coordinate(
    make: Callable[[], Reconciled],
    *,
    outage: Outage,
    stop: Callable[[], bool],
    report: Callable[[StudyProgress], None],
    wait_seconds: float = 0.5,
) -> StudyProgress | None:
    """Reconcile until every trial is committed; None where `stop` returns True before that.

    After an outage, or where another process has written to the study, `make` builds a new object. A search that ends
    early withdraws its announcement, unless another process may go on with it.

    Raises:
        ServiceUnreachable: Redis or the database stays away for longer than the outage may last.
    """
    run, logged = None, time.monotonic()
    while not stop():
        try:
            run = run or make()
            progress = run.reconcile(wait_seconds)
        except (ServiceUnreachable, StudyChanged) as error:
            run = None
            outage.wait(error)
            continue
        except TradeschoolError as error:
            if run is not None and not isinstance(error, LeadershipLost):
                run.withdraw()
            raise
        outage.end()
        report(progress)
        if time.monotonic() - logged >= LOG_SECONDS:
            logged = time.monotonic()
            log.info("search progress", extra={"action": "search_goes_on", **asdict(progress)})
        if progress.is_done:
            return progress
    if run is not None:
        run.withdraw()
    return None
