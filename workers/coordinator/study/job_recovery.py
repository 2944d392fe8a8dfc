"""The open jobs of one study: sends them to workers and recovers those that failed or were lost."""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from tradeschool.errors import (
    DataIncomplete,
    SettingsError,
    StrategyNotImported,
    TradeschoolError,
    attempts_in_words,
)
from workers.isolation.strategy_allowlist import UserCode
from workers.queue.dispatch import Dispatcher, JobKey
from workers.queue.messages import VERSION, Batch, BatchResult
from workers.queue.trial_queue import NOT_IMPORTED, OTHER_VERSION, JobReport, JobState

MAX_LOGGED = 10
"""Reasons of put-back jobs that one search logs at most."""

log = logging.getLogger(__name__)

GivenUpCallback = Callable[[int, str], None]
"""Called with the number of a trial that is given up, and the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CoordinatorSettings:
    """Settings of a coordinator; none of them changes a result."""

    trials_per_job: int = 1
    """At most the study's lag. More than one pays off where a trial takes less than about 150 ms."""
    reconcile_seconds: float = 2.0
    """Seconds between two checks of the open jobs."""
    orphan_seconds: float = 4.0
    """Seconds that a job may be in no list before it returns to the queue."""
    attempts: int = 3
    """Crashes and time-outs after which a trial is given up."""
    losses: int = 10
    """Workers that may be lost with a job before its trials are given up."""


class JobLedger(Protocol):
    """The trials or surrogate markets of a study, by number."""

    def batch(self, numbers: range) -> Batch | None:
        """A batch of the open ones among `numbers`; None if there are none."""

    def is_open(self, number: int) -> bool:
        """Whether one was asked for and has no result."""

    def accept(self, result: BatchResult) -> None:
        """Accept the first result of each."""

    def fail(self, number: int, reason: str) -> None:
        """Give up an open one."""


class JobRecovery:
    """Sends the jobs of a study and handles the state of each until its trials have results."""

    def __init__(
        self,
        *,
        ledger: JobLedger,
        dispatcher: Dispatcher,
        settings: CoordinatorSettings,
        code: UserCode,
        given_up: GivenUpCallback = lambda number, reason: None,
        clock: Callable[[], float] = time.monotonic,
        noun: str = "trial",
    ) -> None:
        """`noun` says in messages what a number counts."""
        self.given_up = given_up
        self._ledger, self._dispatcher, self._settings = ledger, dispatcher, settings
        self._code, self._clock, self._noun = code, clock, noun
        self.next_check = clock()
        self._job_keys: dict[tuple[int, int], JobKey] = {}
        self._orphans: dict[JobKey, float] = {}
        self._closed: list[JobKey] = []
        """Jobs that have ended since the last check, without those that were given up: their reasons are listed."""
        self._sent: set[JobKey] = set()
        """Jobs that this object has sent; reports on other jobs may be left over from an earlier coordinator."""
        self._logged: set[str] = set()
        """Reasons of jobs that were put back, which have been logged."""
        self.has_results = False
        """Whether a worker has evaluated a trial, so the strategy and the candles are available."""
        self._import_failures = 0
        """Jobs whose strategy could not be imported before the first result."""

    @property
    def is_empty(self) -> bool:
        """Whether no job has been sent, or all are closed."""
        return not self._job_keys

    def send(self, job_key: JobKey) -> None:
        """Send a job once; a second call has no effect."""
        batch = self._ledger.batch(job_key.numbers)
        if batch is not None:
            self._job_keys[job_key.first, job_key.last] = job_key
            if self._dispatcher.send(job_key, batch):
                self._sent.add(job_key)

    def open_jobs(self) -> Iterator[JobKey]:
        """Yield every job with an open trial and drop the others."""
        for place, job_key in list(self._job_keys.items()):
            if any(self._ledger.is_open(number) for number in job_key.numbers):
                yield job_key
            else:
                del self._job_keys[place]
                self._orphans.pop(job_key, None)
                self._closed.append(job_key)

    def step(self, wait_seconds: float, *, announce: Callable[[], None], next_job: Callable[[], JobKey | None]) -> None:
        """Accept results, recover lost jobs when a check is due, and send every job of `next_job`.

        Raises:
            ServiceUnreachable: Redis does not answer.
            DataIncomplete, StrategyNotImported, SettingsError: As `recover`.
        """
        # Without an open job no result can come, and workers wait for the jobs that are sent below.
        for result in self._dispatcher.collect(0.0 if self.is_empty else wait_seconds):
            self._ledger.accept(result)
            self.has_results |= bool(result.trials)
        if self._clock() >= self.next_check:
            self.recover()
            announce()
            self.next_check = self._clock() + self._settings.reconcile_seconds
        while job_key := next_job():
            self.send(job_key)

    def recover(self) -> None:
        """Look up the state of every open job and handle it.

        Raises:
            DataIncomplete: Every worker that was asked lacks the candles, or holds others.
            StrategyNotImported: No worker that was asked could import the strategy.
            SettingsError: Every worker that was asked has another signing key or release.
        """
        job_keys = list(self.open_jobs())
        for job_key, report in zip(job_keys, self._dispatcher.look(job_keys), strict=False):
            if report.state is not JobState.ORPHANED:
                self._orphans.pop(job_key, None)
            if report.state is JobState.WAITING and report.reason:
                self._note_put_back(job_key, report.reason)
            self._handle(job_key, report)
        closed, self._closed = self._closed, []
        self._dispatcher.expire(closed)

    def _handle(self, job_key: JobKey, report: JobReport) -> None:
        """Act on the state of a job; one that waits or is being evaluated needs nothing."""
        match report.state:
            case JobState.MISSING:
                self._send_again(job_key)
            case JobState.ORPHANED:
                self._put_back(job_key)
            case JobState.FINISHED:
                self._accept_result(job_key, report)
            case JobState.REFUSED:
                self._retry_refused(job_key, report.reason, SettingsError)
            case JobState.NOT_IMPORTED:
                self._retry_import(job_key, report.reason)
            case JobState.CRASHED:
                self._retry(job_key, report.reason)
            case JobState.LEASE_LOST:
                self._count_loss(job_key, report.reason)

    def _send_again(self, job_key: JobKey) -> None:
        batch = self._ledger.batch(job_key.numbers)
        if batch is not None:
            self._sent.add(job_key)
            self._dispatcher.send_again(job_key, batch)

    def _put_back(self, job_key: JobKey) -> None:
        since = self._orphans.setdefault(job_key, self._clock())
        if self._clock() - since > self._settings.orphan_seconds:
            self._dispatcher.put_back(job_key)
            del self._orphans[job_key]

    def _accept_result(self, job_key: JobKey, report: JobReport) -> None:
        result = report.result
        if result is None and job_key not in self._sent:  # an earlier coordinator's, perhaps of another release
            self._send_again(job_key)
        elif result is None:
            self._retry(job_key, "its result cannot be read")
        elif result.refused is not None:
            self._retry_refused(job_key, result.refused, DataIncomplete)
        else:
            self._ledger.accept(result)
            # A result of an earlier run of the same name answers other requests: trials that are still open go out.
            self._send_again(job_key)

    def _note_put_back(self, job_key: JobKey, reason: str) -> None:
        """Log once per reason that workers put jobs of the study back; another worker may take them."""
        if reason not in self._logged and len(self._logged) < MAX_LOGGED:
            self._logged.add(reason)
            about_it = {"action": "job_put_back", "study": job_key.study, "reason": reason}
            log.warning("jobs put back by a worker", extra=about_it)

    def _retry_refused(self, job_key: JobKey, reason: str, error: type[TradeschoolError]) -> None:
        """Try another worker; after the last attempt end the run. No trial fails: the cause is in the workers."""
        if job_key not in self._sent:  # an earlier coordinator sent it: the cause may be gone
            self._send_again(job_key)
            return
        if reason.startswith(OTHER_VERSION) and not reason.startswith(f"{OTHER_VERSION} {VERSION}:"):
            # Its worker is of a release that puts no job back: this does it instead.
            self._note_put_back(job_key, reason)
            self._send_again(job_key)
            return
        if job_key.attempt >= self._settings.attempts:
            raise error(
                f"study {job_key.study}: {job_key.attempt} workers refuse {self._noun} {job_key.first}: {reason}"
            )
        self._retry(job_key, reason)

    def _retry_import(self, job_key: JobKey, reason: str) -> None:
        """Try another worker; after the last attempt end the run. No trial fails: no worker imports the strategy."""
        if job_key not in self._sent:  # an earlier coordinator sent it: the cause may be gone
            self._send_again(job_key)
            return
        self._import_failures += not self.has_results  # an import that fails for one job fails for all
        attempts = max(job_key.attempt, self._import_failures)
        if attempts >= self._settings.attempts:
            cause = reason.removeprefix(f"{NOT_IMPORTED}: {self._code.name}: ")
            raise StrategyNotImported(self._code.name, cause, attempts, self._code.kind)
        self._retry(job_key, reason, level=logging.INFO)  # the workers have warned, and the last attempt ends the run

    def _count_loss(self, job_key: JobKey, reason: str) -> None:
        losses = self._dispatcher.count_loss(job_key)
        if losses > self._settings.losses:
            self._give_up(job_key, f"{losses} workers were lost with it: {reason}")
        else:
            self._send_again(job_key)

    def _retry(self, job_key: JobKey, reason: str, *, level: int = logging.WARNING) -> None:
        """Start the next attempt with one trial per job, so that a crashing trial takes no others with it."""
        if job_key.attempt >= self._settings.attempts:
            self._give_up(job_key, f"{attempts_in_words(job_key.attempt)}: {reason}")
            return
        log.log(level, "job failed", extra={"action": "job_failed", "job": job_key.job_id, "reason": reason})
        del self._job_keys[job_key.first, job_key.last]
        for number in job_key.numbers:
            self.send(replace(job_key, first=number, last=number, attempt=job_key.attempt + 1))

    def _give_up(self, job_key: JobKey, reason: str) -> None:
        self._job_keys.pop((job_key.first, job_key.last), None)
        for number in job_key.numbers:
            if self._ledger.is_open(number):
                self._ledger.fail(number, reason)
                self.given_up(number, reason)
