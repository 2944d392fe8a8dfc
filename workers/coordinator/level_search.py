"""One attempt at a level: begun, searched by the queue's workers, judged."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from optuna.trial import FrozenTrial

from optimizer.bars.preparation import Prepared
from optimizer.curriculum.attempts import relaxed_by
from optimizer.curriculum.inheritance import first_points
from optimizer.curriculum.warm_start import carry
from optimizer.level.spec import Level, Part
from optimizer.objective.objective import repair
from optimizer.report.files import write_findings
from optimizer.runs import fingerprint
from optimizer.runs.run_store import AttemptRow, RunRecord, Verdict
from optimizer.search.reproduce import Difference, differences, evaluated_number
from optimizer.search.sampler import Space
from optimizer.search.space import distributions
from optimizer.search.study import OpenStudy, StudyFacts, open_study, read_trials
from optimizer.validation.holdout_log import log_opening
from optimizer.validation.verdict import Case, Findings, Predecessor, judge_attempt, shortfall
from optimizer.validation.winner_setup import Setup, setup_of
from tradeschool.errors import TrialDiffers
from workers.connection.reconnect import Outage
from workers.coordinator import event_log
from workers.coordinator.context import Place
from workers.coordinator.coordinator import ConductorSettings, Run, conduct
from workers.coordinator.leadership import Role, require_role
from workers.coordinator.trial_ledger import Progress
from workers.queue.dispatch import Carrier, QueueCarrier
from workers.queue.job_allowlist import TrialQueue
from workers.queue.messages import level_digests
from workers.queue.trial_queue import connect

Tell = Callable[[Level, int, Progress], None]
"""Told of a level, the number of the attempt, and how far its search is."""

Carriers = Callable[[str], Carrier]
"""Who evaluates the trials of a study, by its name."""

log = logging.getLogger(__name__)


def queue_carriers(place: Place, redis_url: str) -> Carriers:
    """The workers that listen to the queue of a Redis."""

    def carrier(study: str) -> Carrier:
        return QueueCarrier(
            TrialQueue(connection=connect(redis_url)),
            study=study,
            url=redis_url,
            job_timeout_seconds=place.work.trial_timeout_seconds,
            signer=place.signer,
        )

    return carrier


def begin_attempt(place: Place, record: RunRecord, level: str, number: int) -> AttemptRow:
    """What is fixed before an attempt's first trial."""
    before = record.before(level)
    verdict = before_verdict(record, level)
    earlier = record.attempt(level, number - 1)
    attempt = AttemptRow(
        level=level,
        number=number,
        fingerprints={
            "code": record.fingerprints["code"],
            "candles": fingerprint.of_data(place.digests(record.level(level))),
        },
        inherited=verdict.parameters if before and verdict else None,
        carried=len(read_trials(place.storage_url, record.study(level, number - 1))) if earlier else 0,
    )
    trials = record.searched_level(attempt).trials
    event_log.record(place.folder(record.name), "level_started", level=level, attempt=number, trials=trials)
    return attempt


def before_verdict(record: RunRecord, level: str) -> Verdict | None:
    """What became of the level before; None for the first."""
    before = record.before(level)
    last = record.last(before.name) if before else None
    return last.verdict if last else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What a run is gone on with."""

    carriers: Carriers
    role: Role
    outage: Outage
    tell: Tell
    """Hears of each step of a search."""
    stop: Callable[[], bool]
    """Whether to end before the run's end."""

    def require_role(self) -> None:
        """Go on only as long as nobody else may.

        Raises:
            RoleLost: where the database has given the role back.
        """
        require_role(self.role)


def search_attempt(means: Means, place: Place, record: RunRecord, attempt: AttemptRow) -> None:
    """Have every trial of an attempt evaluated and committed, those of the one before taken over first.

    Raises:
        KeyboardInterrupt: where it was told to stop before the last trial.
        RoleLost: where another process may be at work on the run.
        DataIncomplete, SettingsError, ServiceUnreachable: see `workers.coordinator.curriculum_run.carry_on`.
    """
    facts = _facts(record, attempt)
    study = open_study(place.storage_url, record.study(attempt.level, attempt.number), facts)
    try:
        _carry_over(place, record, attempt, study)
        _conduct(means, place, record, attempt, study, facts)
    finally:
        study.close()


def judge(place: Place, record: RunRecord, attempt: AttemptRow) -> AttemptRow:
    """The attempt with its verdict; its files are written, its looks at validation and test logged.

    Raises:
        TrialDiffers: where the winner, run again, does not come out as it was recorded; it is not reported then.
        DataError: where candles are missing, or changed.
    """
    level = record.searched_level(attempt)
    trials = read_trials(place.storage_url, record.study(attempt.level, attempt.number))
    case = Case(
        level=level,
        attempt=attempt.number,
        relaxed=relaxed_by(record.level(attempt.level), attempt.number),
        trials=trials,
        carried=attempt.carried,
        predecessor=_predecessor(place, record, attempt.level),
        seed=record.seed,
    )
    folder = place.folder(record.name)

    def opening(part: Part, numbers: Sequence[int]) -> None:
        log_opening(folder, part, level=level.name, attempt=attempt.number, trials=numbers, now=datetime.now(UTC))

    def repeat(number: int, train: Sequence[Prepared]) -> None:
        _insist(record, attempt, verify(place, record, attempt, number, train), number)

    findings = judge_attempt(case, place.store.arrays, opening, repeat)
    write_findings(place.results_dir, folder, findings, _setup(place, record, attempt, findings))
    return attempt.model_copy(update={"verdict": _verdict(findings)})


def verify(
    place: Place, record: RunRecord, attempt: AttemptRow, number: int, train: Sequence[Prepared]
) -> list[Difference]:
    """What differs where a trial of an attempt's study is asked for and evaluated again; nothing as a rule.

    A trial that was taken over is that of the attempt that evaluated it; one that repeats another is that other.
    `train` are the level's bars, the same for all attempts.
    """
    trials = read_trials(place.storage_url, record.study(attempt.level, attempt.number))
    number = evaluated_number(trials, number)
    if number < attempt.carried:
        earlier = record.attempt(attempt.level, attempt.number - 1)
        assert earlier is not None, "what is carried over comes from somewhere"
        return verify(place, record, earlier, number, train)
    return differences(record.searched_level(attempt), _space(record, attempt), trials, number, train)


def _setup(place: Place, record: RunRecord, attempt: AttemptRow, findings: Findings) -> Setup | None:
    """How the winner was traded; None where there is none."""
    winner = findings.winner
    if winner is None:
        return None
    return setup_of(
        findings.level,
        run=record.name,
        attempt=attempt.number,
        trial=winner.number,
        parameters=winner.parameters,
        code=fingerprint.of_code(),
        digests=place.digests(findings.level),
    )


def _insist(record: RunRecord, attempt: AttemptRow, found: Sequence[Difference], number: int) -> None:
    """A winner has to repeat; where a user has mixed code or candles by force, that it does not is only said."""
    if not found:
        return
    said = f"level {attempt.level}: trial {number} does not repeat: {'; '.join(map(str, found[:3]))}"
    if not record.forced:
        raise TrialDiffers(f"run {record.name}: {said}; its verdict cannot be given")
    log.warning("winner differs", extra={"action": "winner_differs", "run": record.name, "reason": said})


def _space(record: RunRecord, attempt: AttemptRow) -> Space:
    level, facts = record.searched_level(attempt), _facts(record, attempt)
    return Space(
        seed=record.seed,
        lag=level.lag,
        distributions=distributions(level),
        repair=lambda parameters: repair(level, parameters),
        mode=level.mode,
        first_points=facts.first_points,
    )


def _facts(record: RunRecord, attempt: AttemptRow) -> StudyFacts:
    """A retry begins with the trials that its predecessor asked, first points included."""
    level = record.searched_level(attempt)
    is_first = attempt.number == 1 and attempt.inherited is not None
    return StudyFacts(
        level=level,
        seed=record.seed,
        fingerprints=attempt.fingerprints,
        first_points=first_points(level, attempt.inherited or {}, record.seed) if is_first else (),
        carried=attempt.carried,
    )


def _carry_over(place: Place, record: RunRecord, attempt: AttemptRow, study: OpenStudy) -> None:
    earlier = record.attempt(attempt.level, attempt.number - 1)
    if earlier is None:
        return
    level, was = record.searched_level(attempt), record.searched_level(earlier)
    trials = read_trials(place.storage_url, record.study(earlier.level, earlier.number))
    carry(study, trials[: attempt.carried], distributions(level), was=was.gate, now=level.gate)


def _conduct(
    means: Means, place: Place, record: RunRecord, attempt: AttemptRow, study: OpenStudy, facts: StudyFacts
) -> None:
    level = facts.level
    settings = ConductorSettings(trials_per_job=place.work.trials_per_job)
    digests = level_digests(level, place.store)

    def given_up(number: int, reason: str) -> None:
        event_log.record(place.folder(record.name), "trial_given_up", level=level.name, trial=number, reason=reason)

    def make() -> Run:
        means.require_role()
        return Run(
            study=study,
            facts=facts,
            distributions=distributions(level),
            repair=lambda parameters: repair(level, parameters),
            digests=digests,
            carrier=means.carriers(study.name),
            settings=settings,
            given_up=given_up,
        )

    report = partial(means.tell, level, attempt.number)
    if conduct(make, outage=means.outage, stop=means.stop, report=report) is None:
        raise KeyboardInterrupt


def _predecessor(place: Place, record: RunRecord, level: str) -> Predecessor | None:
    before, verdict = record.before(level), before_verdict(record, level)
    last = record.last(before.name) if before else None
    if last is None or verdict is None or verdict.parameters is None:
        return None
    trials: list[FrozenTrial] = read_trials(place.storage_url, record.study(last.level, last.number))
    return Predecessor(level=record.searched_level(last), winner=verdict.parameters, trials=trials)


def _verdict(findings: Findings) -> Verdict:
    winner = findings.winner
    figures = {} if winner is None else {Part.TRAIN: winner.train.metrics, Part.VALIDATION: winner.validation.metrics}
    if findings.test:
        figures[Part.TEST] = findings.test.metrics
    return Verdict(
        passed=findings.passed,
        reason=findings.reason,
        finished=len(findings.trials),
        trial=winner.number if winner else None,
        parameters=winner.parameters if winner else None,
        readings=findings.readings,
        figures=figures,
        shortfall={} if findings.passed else shortfall(findings),
        relaxed=findings.case.relaxed,
    )
