"""The coordinator: asks, hands out, takes in and commits; the only writer of its study.

It is a role (see `workers.coordinator.leadership`), not a process that must live. All that it knows is rebuilt from the
study and the queue, so another process can go on after a kill at any line.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace

from optuna.distributions import BaseDistribution

from optimizer.level.spec import Parameters
from optimizer.search.sampler import SearchSpace, TrialRequest
from optimizer.search.study import OpenStudy, StudyFacts
from tradeschool.errors import (
    DataIncomplete,
    ServiceUnreachable,
    SettingsError,
    StrategyNotImported,
    StudyChanged,
    TradeschoolError,
)
from workers.connection.reconnect import Outage
from workers.coordinator.trial_ledger import StudyProgress, TrialLedger
from workers.queue.announcements import Announcement
from workers.queue.dispatch import Dispatcher, JobKey
from workers.queue.messages import VERSION, TrialBatch
from workers.queue.trial_queue import NOT_IMPORTED, JobReport, JobState

LOG_SECONDS = 60.0
"""Between two lines in the log on how far a search is."""


log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CoordinatorSettings:
    """How a study is conducted; none of it changes a result."""

    trials_per_job: int = 1
    """More than one is worth it where a trial takes less than about 150 ms; times workers, at most the lag."""
    reconcile_seconds: float = 2.0
    """Between two looks at the jobs that are under way."""
    orphan_seconds: float = 4.0
    """How long a job may be in no list before it is put back."""
    attempts: int = 3
    """Crashes and time-outs after which a trial is given up."""
    losses: int = 10
    """Workers that may vanish with a job before it is taken for the reason."""


class StudyRun:
    """One study under way; rebuilt whenever something outside has gone wrong."""

    def __init__(
        self,
        *,
        study: OpenStudy,
        facts: StudyFacts,
        distributions: Mapping[str, BaseDistribution],
        repair: Callable[[Parameters], Parameters],
        digests: Mapping[str, str],
        dispatcher: Dispatcher,
        settings: CoordinatorSettings,
        given_up: Callable[[int, str], None] = lambda number, reason: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if settings.trials_per_job > facts.level.lag:
            raise SettingsError(
                f"trials_per_job is {settings.trials_per_job}: expected at most the study's lag, {facts.level.lag}"
            )
        """`given_up` hears the number of each trial that is given up, and why."""
        self.dispatcher, self.settings, self.given_up, self.clock = dispatcher, settings, given_up, clock
        self.next_reconcile = clock()
        self.is_ready = False
        """Whether the ledger has loaded what later questions need."""
        self.job_keys: dict[tuple[int, int], JobKey] = {}
        self.orphans: dict[JobKey, float] = {}
        self.sent: set[JobKey] = set()
        """Jobs that this very run has handed on; what is known of others may be left over from another day."""
        self.is_served = False
        """Whether any worker has evaluated a trial of it: what they all need can be had."""
        self.not_imported = 0
        """Jobs for which the strategy could not be imported, while nobody could."""
        self._facts, self._digests, self._study = facts, dict(digests), study
        space = SearchSpace(
            seed=facts.seed,
            lag=facts.level.lag,
            distributions=distributions,
            repair=repair,
            mode=facts.level.mode,
            first_points=facts.first_points,
        )
        self.ledger = TrialLedger(
            study=study,
            space=space,
            trials=facts.reused + facts.level.trials,
            batch=self._batch,
            clock=time.time,
            reused=facts.reused,
            early_stop=facts.level.early_stop,
        )

    def next_job(self) -> JobKey | None:
        """The next job, as many trials as go into one job; None where it has to wait or all is asked.

        Jobs begin at multiples of their size, so that the next coordinator names them as this one did.
        """
        first, size = self.ledger.next_number, self.settings.trials_per_job
        block = first // size * size
        if self.ledger.ask_until(block + size) is None:
            return None
        return JobKey(study=self._study.name, first=block, last=block + size - 1)

    def open_jobs(self) -> Iterator[JobKey]:
        """Every job that some trial still waits for; the others are dropped."""
        for place, job_key in list(self.job_keys.items()):
            if any(self.ledger.is_open(number) for number in job_key.numbers):
                yield job_key
            else:
                del self.job_keys[place]
                self.orphans.pop(job_key, None)

    @property
    def strategy(self) -> str:
        """Its level's, by name."""
        return self._facts.level.strategy

    def announce(self) -> None:
        """Let others know how far the study is."""
        level, progress = self._facts.level, self.ledger.progress()
        announcement = Announcement(
            v=VERSION,
            seen=0.0,  # its carrier knows what time it is where others look
            trials=progress.trials,
            finished=progress.finished,
            complete=progress.complete,
            pruned=progress.pruned,
            failed=progress.failed,
            lag=level.lag,
            trials_per_job=self.settings.trials_per_job,
            level=level,
            digests=self._digests,
        )
        self.dispatcher.announce(announcement)

    def _batch(self, trial_requests: tuple[TrialRequest, ...]) -> TrialBatch:
        return TrialBatch(
            study=self._study.name,
            numbers=tuple(trial_request.number for trial_request in trial_requests),
            parameters=tuple(trial_request.parameters for trial_request in trial_requests),
            thresholds=tuple(trial_request.thresholds for trial_request in trial_requests),
            level=self._facts.level,
            digests=self._digests,
        )


def reconcile(run: StudyRun, wait_seconds: float = 0.0) -> StudyProgress:
    """One step: take in, mend, ask and hand out, commit; called again after a kill, it changes nothing twice.

    Waits that long for an answer to come in.

    Raises:
        ServiceUnreachable, StudyChanged: the run is not to be used after that; make another.
        DataIncomplete: every worker that was asked lacks the candles, or holds others.
        StrategyNotImported: no worker that was asked could import the strategy.
        SettingsError: every worker that was asked has another signing key, or is of another release.
    """
    # Where nothing is under way nothing comes, and workers wait for what is asked below.
    for result in run.dispatcher.collect(wait_seconds if run.job_keys else 0.0):
        run.ledger.accept(result)
        run.is_served |= bool(result.trials)
    if run.clock() >= run.next_reconcile:
        _reconcile_jobs(run)
        run.announce()
        run.next_reconcile = run.clock() + run.settings.reconcile_seconds
    while job_key := run.next_job():
        _send(run, job_key)
    # Last, because a worker that waits for its next trial need not wait for the disk.
    run.ledger.commit()
    if not run.is_ready:
        run.ledger.get_ready()
        run.is_ready = True
    progress = run.ledger.progress()
    if progress.is_done:
        run.announce()
    return progress


def coordinate(
    make: Callable[[], StudyRun],
    *,
    outage: Outage,
    stop: Callable[[], bool],
    report: Callable[[StudyProgress], None],
    wait_seconds: float = 0.5,
) -> StudyProgress | None:
    """Advance until every trial is committed; None where `stop` said so before.

    After an outage, and whenever another process has written to the study, everything is dropped and made anew.

    Raises:
        ServiceUnreachable: where Redis or the database stays away for longer than the outage may last.
    """
    run, told = None, time.monotonic()
    while not stop():
        try:
            run = run or make()
            progress = reconcile(run, wait_seconds)
        except (ServiceUnreachable, StudyChanged) as error:
            run = None
            outage.wait(error)
            continue
        outage.end()
        report(progress)
        if time.monotonic() - told >= LOG_SECONDS:
            told = time.monotonic()
            log.info("search goes on", extra={"action": "search_goes_on", **asdict(progress)})
        if progress.is_done:
            return progress
    return None


def _send(run: StudyRun, job_key: JobKey) -> None:
    batch = run.ledger.batch(job_key.numbers)
    if batch is not None:
        run.job_keys[job_key.first, job_key.last] = job_key
        if run.dispatcher.send(job_key, batch):
            run.sent.add(job_key)


def _send_again(run: StudyRun, job_key: JobKey) -> None:
    batch = run.ledger.batch(job_key.numbers)
    if batch is not None:
        run.sent.add(job_key)
        run.dispatcher.send_again(job_key, batch)


def _reconcile_jobs(run: StudyRun) -> None:
    job_keys = list(run.open_jobs())
    for job_key, found in zip(job_keys, run.dispatcher.look(job_keys), strict=False):
        if found.state is not JobState.ORPHANED:
            run.orphans.pop(job_key, None)
        _reconcile_job(run, job_key, found)


def _reconcile_job(run: StudyRun, job_key: JobKey, found: JobReport) -> None:
    match found.state:
        case JobState.MISSING:
            _send_again(run, job_key)
        case JobState.ORPHANED:
            _put_back(run, job_key)
        case JobState.FINISHED:
            _accept_result(run, job_key, found)
        case JobState.REFUSED | JobState.NOT_IMPORTED:
            _bear_refusal(run, job_key, found)
        case JobState.CRASHED:
            _try_again(run, job_key, found.reason)
        case JobState.LEASE_LOST:
            _count_loss(run, job_key, found.reason)
        case JobState.WAITING:
            pass


def _put_back(run: StudyRun, job_key: JobKey) -> None:
    since = run.orphans.setdefault(job_key, run.clock())
    if run.clock() - since > run.settings.orphan_seconds:
        run.dispatcher.put_back(job_key)
        del run.orphans[job_key]


def _accept_result(run: StudyRun, job_key: JobKey, found: JobReport) -> None:
    result = found.result
    if result is None:
        _try_again(run, job_key, "its answer cannot be read")
    elif result.refused is not None:
        _retry_refused(run, job_key, result.refused, DataIncomplete)
    else:
        run.ledger.accept(result)
        # Left over of another run under this name: it has answered other questions.
        _send_again(run, job_key)


def _retry_refused(run: StudyRun, job_key: JobKey, reason: str, error: type[TradeschoolError]) -> None:
    """It says something of the workers, nothing of the trials: they are not failed, the run ends."""
    if job_key not in run.sent:  # the cause may be gone since
        _send_again(run, job_key)
        return
    if job_key.attempt >= run.settings.attempts:
        raise error(f"study {job_key.study}: {job_key.attempt} workers refuse trial {job_key.first}: {reason}")
    _try_again(run, job_key, reason)


def _bear_refusal(run: StudyRun, job_key: JobKey, found: JobReport) -> None:
    if found.state is JobState.NOT_IMPORTED:
        _not_imported(run, job_key, found.reason)
    else:
        _retry_refused(run, job_key, found.reason, SettingsError)


def _not_imported(run: StudyRun, job_key: JobKey, reason: str) -> None:
    """The strategy cannot be imported in a worker: no trial is failed, the run ends after some attempts."""
    if job_key not in run.sent:  # the cause may be gone since
        _send_again(run, job_key)
        return
    run.not_imported += not run.is_served  # what holds for one job holds for all
    attempts = max(job_key.attempt, run.not_imported)
    if attempts >= run.settings.attempts:
        told = reason.removeprefix(f"{NOT_IMPORTED}: {run.strategy}: ")
        raise StrategyNotImported(run.strategy, told, attempts)
    _try_again(run, job_key, reason)


def _count_loss(run: StudyRun, job_key: JobKey, reason: str) -> None:
    losses = run.dispatcher.count_loss(job_key)
    if losses > run.settings.losses:
        _give_up(run, job_key, f"{losses} workers vanished with it: {reason}")
    else:
        _send_again(run, job_key)


def _try_again(run: StudyRun, job_key: JobKey, reason: str) -> None:
    """The next attempt, one trial a job: what brings a job down must not take its neighbours with it."""
    if job_key.attempt >= run.settings.attempts:
        _give_up(run, job_key, f"{job_key.attempt} attempts: {reason}")
        return
    log.warning("job failed", extra={"action": "job_failed", "job": job_key.job_id, "reason": reason})
    del run.job_keys[job_key.first, job_key.last]
    for number in job_key.numbers:
        _send(run, replace(job_key, first=number, last=number, attempt=job_key.attempt + 1))


def _give_up(run: StudyRun, job_key: JobKey, reason: str) -> None:
    for number in job_key.numbers:
        if run.ledger.is_open(number):
            run.ledger.fail(number, reason)
            run.given_up(number, reason)
