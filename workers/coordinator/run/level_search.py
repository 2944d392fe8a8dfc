"""The search of an attempt, or of a window of its walk-forward."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from optimizer.curriculum.earlier_choices import window_before
from optimizer.curriculum.inheritance import starting_points
from optimizer.curriculum.warm_start import copy_trials
from optimizer.level.spec import Level, Parameters
from optimizer.level.walk_forward import last_search
from optimizer.runs.database_identity import database_identity
from optimizer.runs.run_record import AttemptRow, RunRecord, WindowRow
from optimizer.search.space import distributions, search_space
from optimizer.search.study import OpenStudy, StudyFacts, open_study
from workers.connection.reconnect import Outage
from workers.coordinator.context import RunContext
from workers.coordinator.leadership import LeadershipLock, require_leadership
from workers.coordinator.recorded_run import RecordedRun
from workers.coordinator.study.coordinator import StudyRun, coordinate
from workers.coordinator.study.database_age import check_age
from workers.coordinator.study.job_recovery import CoordinatorSettings
from workers.coordinator.study.trial_ledger import StudyProgress
from workers.queue.dispatch import Dispatcher, QueueDispatcher
from workers.queue.job_allowlist import TrialQueue
from workers.queue.job_names import is_null_study
from workers.queue.messages import level_digests
from workers.queue.trial_queue import connect

ProgressCallback = Callable[[Level, int, StudyProgress], None]
"""Called with a level, the number of the attempt, and the progress of its search."""

DispatcherFactory = Callable[[str], Dispatcher]
"""Makes the dispatcher of a study, by its name."""


def queue_dispatchers(context: RunContext, redis_url: str) -> DispatcherFactory:
    """Dispatchers to the workers of a Redis queue."""
    work = context.work

    def dispatcher(study: str) -> Dispatcher:
        return QueueDispatcher(
            TrialQueue(connection=connect(redis_url)),
            study=study,
            url=redis_url,
            job_timeout_seconds=work.surrogate_timeout_seconds if is_null_study(study) else work.trial_timeout_seconds,
            signer=context.signer,
        )

    return dispatcher


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchContext:
    """The lock, the dispatchers and the callbacks of a run in this process."""

    dispatchers: DispatcherFactory
    leadership: LeadershipLock
    outage: Outage
    on_progress: ProgressCallback
    """Called at each step of a search."""
    stop: Callable[[], bool]
    """Whether to stop before the end of the run."""

    def require_leadership(self) -> None:
        """Check that the lock is still held.

        Raises:
            LeadershipLost: The database has released it.
        """
        require_leadership(self.leadership)


def search(search_context: SearchContext, run: RecordedRun, attempt: AttemptRow, window: WindowRow | None) -> None:
    """Evaluate and commit every trial of an attempt's search, or of a window's, after copying the reused ones.

    Raises:
        KeyboardInterrupt: `stop` has returned True before the last trial.
        LeadershipLost: Another process may execute the run.
        DataIncomplete, SettingsError, ServiceUnreachable: See `workers.coordinator.run.curriculum_run.run_levels`.
    """
    facts = study_facts(run.record, attempt, window)
    name = run.record.study(attempt.level, attempt.number, window.number if window else None)
    study = open_study(run.context.storage_url, name, facts)
    try:
        _carry_over(run, attempt, window, study)
        _coordinate(search_context, run, attempt, study, facts)
    finally:
        study.close()


def study_facts(record: RunRecord, attempt: AttemptRow, window: WindowRow | None = None) -> StudyFacts:
    """The facts of an attempt's study, or of a window's."""
    level = record.study_level(attempt, window)
    return StudyFacts(
        level=level,
        seed=record.seed,
        fingerprints=attempt.fingerprints,
        first_points=_first_points(record, attempt, window, level),
        reused=(window or attempt).reused,
    )


def _first_points(
    record: RunRecord, attempt: AttemptRow, window: WindowRow | None, level: Level
) -> tuple[Parameters, ...]:
    """The first points of a search: around the choice of the window before, then around what it inherits."""
    number = window.number if window else last_search(record.level(attempt.level))
    before = window_before(attempt.windows, number)
    choices = [before.parameters if before else None, (window or attempt).inherited]
    return starting_points(level, attempt.number, choices, record.seed)


def _carry_over(run: RecordedRun, attempt: AttemptRow, window: WindowRow | None, study: OpenStudy) -> None:
    record, earlier = run.record, run.record.attempt(attempt.level, attempt.number - 1)
    if earlier is None:
        return
    level, was = record.study_level(attempt, window), record.searched_level(earlier)
    trials = run.trials(earlier, earlier.window(window.number) if window else None)
    reused = (window or attempt).reused
    copy_trials(study, trials[:reused], distributions(level), was=was.gate, now=level.gate)


def _coordinate(
    search_context: SearchContext, run: RecordedRun, attempt: AttemptRow, study: OpenStudy, facts: StudyFacts
) -> None:
    level = facts.level
    settings = CoordinatorSettings(trials_per_job=run.context.work.trials_per_job)
    digests = level_digests(level, run.context.searched(level)) | run.context.module_digests([level])
    database = database_identity(run.context.storage_url)

    def given_up(number: int, reason: str) -> None:
        run.log_event("trial_given_up", level=level.name, trial=number, reason=reason)

    def older(was: int, now: int) -> None:
        run.log_event("database_older", level=level.name, committed=was, stored=now)

    def make() -> StudyRun:
        search_context.require_leadership()
        made = StudyRun(
            study=study,
            facts=facts,
            space=search_space(level, facts.seed, facts.first_points),
            digests=digests,
            dispatcher=search_context.dispatchers(study.name),
            settings=settings,
            given_up=given_up,
            database=database,
        )
        committed = made.ledger.progress().finished
        check_age(made.dispatcher, study.name, database=database, committed=committed, older=older)
        return made

    report = partial(search_context.on_progress, level, attempt.number)
    if coordinate(make, outage=search_context.outage, stop=search_context.stop, report=report) is None:
        raise KeyboardInterrupt
