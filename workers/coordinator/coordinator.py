"""The conductor: asks, hands out, takes in and commits; the only writer of its study.

It is a role (see `workers.coordinator.leadership`), not a process that must live. All that it knows is rebuilt from the
study and the queue, so another process can go on after a kill at any line.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace

from optuna.distributions import BaseDistribution

from optimizer.level.spec import Parameters
from optimizer.search.sampler import Question, Space
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
from workers.coordinator.trial_ledger import Ledger, Progress
from workers.queue.announcements import Notice
from workers.queue.dispatch import Carrier, Errand
from workers.queue.messages import VERSION, Order
from workers.queue.trial_queue import NOT_IMPORTED, Fate, JobReport

TELL_SECONDS = 60.0
"""Between two lines in the log on how far a search is."""


log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConductorSettings:
    """How a study is conducted; none of it changes a result."""

    trials_per_job: int = 1
    """More than one is worth it where a trial takes less than about 150 ms; times workers, at most the lag."""
    mend_seconds: float = 2.0
    """Between two looks at the jobs that are under way."""
    stray_seconds: float = 4.0
    """How long a job may be in no list before it is put back."""
    attempts: int = 3
    """Crashes and time-outs after which a trial is given up."""
    losses: int = 10
    """Workers that may vanish with a job before it is taken for the reason."""


class Run:
    """One study under way; rebuilt whenever something outside has gone wrong."""

    def __init__(
        self,
        *,
        study: OpenStudy,
        facts: StudyFacts,
        distributions: Mapping[str, BaseDistribution],
        repair: Callable[[Parameters], Parameters],
        digests: Mapping[str, str],
        carrier: Carrier,
        settings: ConductorSettings,
        given_up: Callable[[int, str], None] = lambda number, reason: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if settings.trials_per_job > facts.level.lag:
            raise SettingsError(
                f"trials_per_job is {settings.trials_per_job}: expected at most the study's lag, {facts.level.lag}"
            )
        """`given_up` hears the number of each trial that is given up, and why."""
        self.carrier, self.settings, self.given_up, self.clock = carrier, settings, given_up, clock
        self.next_mend = clock()
        self.is_ready = False
        """Whether the ledger has loaded what later questions need."""
        self.errands: dict[tuple[int, int], Errand] = {}
        self.strays: dict[Errand, float] = {}
        self.sent: set[Errand] = set()
        """Errands that this very run has handed on; what is known of others may be left over from another day."""
        self.is_served = False
        """Whether any worker has evaluated a trial of it: what they all need can be had."""
        self.not_imported = 0
        """Errands for which the strategy could not be imported, while nobody could."""
        self._facts, self._digests, self._study = facts, dict(digests), study
        space = Space(
            seed=facts.seed,
            lag=facts.level.lag,
            distributions=distributions,
            repair=repair,
            mode=facts.level.mode,
            first_points=facts.first_points,
        )
        self.ledger = Ledger(
            study=study,
            space=space,
            trials=facts.carried + facts.level.trials,
            order=self._order,
            clock=time.time,
            carried=facts.carried,
            early_stop=facts.level.early_stop,
        )

    def ask(self) -> Errand | None:
        """The next errand, as many trials as go into one job; None where it has to wait or all is asked.

        Jobs begin at multiples of their size, so that the next conductor names them as this one did.
        """
        first, size = self.ledger.next_number, self.settings.trials_per_job
        block = first // size * size
        if self.ledger.ask_until(block + size) is None:
            return None
        return Errand(study=self._study.name, first=block, last=block + size - 1)

    def under_way(self) -> Iterator[Errand]:
        """Every errand that some trial still waits for; the others are dropped."""
        for place, errand in list(self.errands.items()):
            if any(self.ledger.is_open(number) for number in errand.numbers):
                yield errand
            else:
                del self.errands[place]
                self.strays.pop(errand, None)

    @property
    def strategy(self) -> str:
        """Its level's, by name."""
        return self._facts.level.strategy

    def announce(self) -> None:
        """Let others know how far the study is."""
        level, progress = self._facts.level, self.ledger.progress()
        notice = Notice(
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
        self.carrier.announce(notice)

    def _order(self, questions: tuple[Question, ...]) -> Order:
        return Order(
            study=self._study.name,
            numbers=tuple(question.number for question in questions),
            parameters=tuple(question.parameters for question in questions),
            thresholds=tuple(question.thresholds for question in questions),
            level=self._facts.level,
            digests=self._digests,
        )


def advance(run: Run, wait_seconds: float = 0.0) -> Progress:
    """One step: take in, mend, ask and hand out, commit; called again after a kill, it changes nothing twice.

    Waits that long for an answer to come in.

    Raises:
        ServiceUnreachable, StudyChanged: the run is not to be used after that; make another.
        DataIncomplete: every worker that was asked lacks the candles, or holds others.
        StrategyNotImported: no worker that was asked could import the strategy.
        SettingsError: every worker that was asked has another signing key, or is of another release.
    """
    # Where nothing is under way nothing comes, and workers wait for what is asked below.
    for answer in run.carrier.collect(wait_seconds if run.errands else 0.0):
        run.ledger.accept(answer)
        run.is_served |= bool(answer.trials)
    if run.clock() >= run.next_mend:
        _mend(run)
        run.announce()
        run.next_mend = run.clock() + run.settings.mend_seconds
    while errand := run.ask():
        _send(run, errand)
    # Last, because a worker that waits for its next trial need not wait for the disk.
    run.ledger.commit()
    if not run.is_ready:
        run.ledger.get_ready()
        run.is_ready = True
    progress = run.ledger.progress()
    if progress.is_done:
        run.announce()
    return progress


def conduct(
    make: Callable[[], Run],
    *,
    outage: Outage,
    stop: Callable[[], bool],
    report: Callable[[Progress], None],
    wait_seconds: float = 0.5,
) -> Progress | None:
    """Advance until every trial is committed; None where `stop` said so before.

    After an outage, and whenever another process has written to the study, everything is dropped and made anew.

    Raises:
        ServiceUnreachable: where Redis or the database stays away for longer than the outage may last.
    """
    run, told = None, time.monotonic()
    while not stop():
        try:
            run = run or make()
            progress = advance(run, wait_seconds)
        except (ServiceUnreachable, StudyChanged) as error:
            run = None
            outage.bear(error)
            continue
        outage.end()
        report(progress)
        if time.monotonic() - told >= TELL_SECONDS:
            told = time.monotonic()
            log.info("search goes on", extra={"action": "search_goes_on", **asdict(progress)})
        if progress.is_done:
            return progress
    return None


def _send(run: Run, errand: Errand) -> None:
    order = run.ledger.order(errand.numbers)
    if order is not None:
        run.errands[errand.first, errand.last] = errand
        if run.carrier.send(errand, order):
            run.sent.add(errand)


def _send_again(run: Run, errand: Errand) -> None:
    order = run.ledger.order(errand.numbers)
    if order is not None:
        run.sent.add(errand)
        run.carrier.send_again(errand, order)


def _mend(run: Run) -> None:
    errands = list(run.under_way())
    for errand, found in zip(errands, run.carrier.look(errands), strict=False):
        if found.fate is not Fate.STRAY:
            run.strays.pop(errand, None)
        _mend_one(run, errand, found)


def _mend_one(run: Run, errand: Errand, found: JobReport) -> None:
    match found.fate:
        case Fate.MISSING:
            _send_again(run, errand)
        case Fate.STRAY:
            _put_back(run, errand)
        case Fate.FINISHED:
            _take_in(run, errand, found)
        case Fate.REFUSED | Fate.NOT_IMPORTED:
            _bear_refusal(run, errand, found)
        case Fate.CRASHED:
            _try_again(run, errand, found.reason)
        case Fate.LOST:
            _count_loss(run, errand, found.reason)
        case Fate.WAITING:
            pass


def _put_back(run: Run, errand: Errand) -> None:
    since = run.strays.setdefault(errand, run.clock())
    if run.clock() - since > run.settings.stray_seconds:
        run.carrier.put_back(errand)
        del run.strays[errand]


def _take_in(run: Run, errand: Errand, found: JobReport) -> None:
    answer = found.answer
    if answer is None:
        _try_again(run, errand, "its answer cannot be read")
    elif answer.refused is not None:
        _refused(run, errand, answer.refused, DataIncomplete)
    else:
        run.ledger.accept(answer)
        # Left over of another run under this name: it has answered other questions.
        _send_again(run, errand)


def _refused(run: Run, errand: Errand, reason: str, error: type[TradeschoolError]) -> None:
    """It says something of the workers, nothing of the trials: they are not failed, the run ends."""
    if errand not in run.sent:  # the cause may be gone since
        _send_again(run, errand)
        return
    if errand.attempt >= run.settings.attempts:
        raise error(f"study {errand.study}: {errand.attempt} workers refuse trial {errand.first}: {reason}")
    _try_again(run, errand, reason)


def _bear_refusal(run: Run, errand: Errand, found: JobReport) -> None:
    if found.fate is Fate.NOT_IMPORTED:
        _not_imported(run, errand, found.reason)
    else:
        _refused(run, errand, found.reason, SettingsError)


def _not_imported(run: Run, errand: Errand, reason: str) -> None:
    """The strategy cannot be imported in a worker: no trial is failed, the run ends after some attempts."""
    if errand not in run.sent:  # the cause may be gone since
        _send_again(run, errand)
        return
    run.not_imported += not run.is_served  # what holds for one errand holds for all
    attempts = max(errand.attempt, run.not_imported)
    if attempts >= run.settings.attempts:
        told = reason.removeprefix(f"{NOT_IMPORTED}: {run.strategy}: ")
        raise StrategyNotImported(run.strategy, told, attempts)
    _try_again(run, errand, reason)


def _count_loss(run: Run, errand: Errand, reason: str) -> None:
    losses = run.carrier.count_loss(errand)
    if losses > run.settings.losses:
        _give_up(run, errand, f"{losses} workers vanished with it: {reason}")
    else:
        _send_again(run, errand)


def _try_again(run: Run, errand: Errand, reason: str) -> None:
    """The next attempt, one trial a job: what brings a job down must not take its neighbours with it."""
    if errand.attempt >= run.settings.attempts:
        _give_up(run, errand, f"{errand.attempt} attempts: {reason}")
        return
    log.warning("job failed", extra={"action": "job_failed", "job": errand.job_id, "reason": reason})
    del run.errands[errand.first, errand.last]
    for number in errand.numbers:
        _send(run, replace(errand, first=number, last=number, attempt=errand.attempt + 1))


def _give_up(run: Run, errand: Errand, reason: str) -> None:
    for number in errand.numbers:
        if run.ledger.is_open(number):
            run.ledger.fail(number, reason)
            run.given_up(number, reason)
