"""Runs a search from its first trial to its end, with the workers that the command starts."""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext, suppress
from types import FrameType

from redis.exceptions import RedisError

from optimizer.curriculum.state_machine import End, Recommend, RunOutcome
from optimizer.level.spec import Level, Mode
from optimizer.runs.live_reader import StudyWatch
from optimizer.runs.run_record import RunRecord
from optimizer.validation.recommendation import needs_null_test
from tradeschool.app.context import redis_url_of, searched_candles_of
from tradeschool.app.notifications import notifications
from tradeschool.app.search.search_request import SearchOptions, draw_seed
from tradeschool.app.search.strategy_isolation import isolation
from tradeschool.app.search.worker_pool import ELSEWHERE, Look, own_workers
from tradeschool.errors import GateNotMet, SettingsError, StoreUnwritable, TradeschoolError
from tradeschool.private_folders import make_private
from tradeschool.settings.model import Settings
from tradeschool.settings.signing_key import signing_key
from tradeschool.views import run_status
from tradeschool.views.terminal import now, print_json, say
from tradeschool.views.trial_progress import show_null_test, show_trials
from workers.connection.signing import Signer
from workers.coordinator.context import RunContext
from workers.coordinator.run import run_persistence
from workers.coordinator.run.curriculum_run import EndedRun, RunControl, run_levels
from workers.coordinator.run.finalize import NULL_TEST_NAME, FinalizeOptions, NullTestCallback, read_null_runs
from workers.coordinator.study.database_age import SAME_DATABASE
from workers.coordinator.study.trial_ledger import StudyProgress
from workers.isolation.strategy_allowlist import user_strategies
from workers.monitoring.run_status import RunStatus, read_run_status
from workers.monitoring.run_status_json import as_result
from workers.monitoring.snapshot import take_snapshot
from workers.queue.job_allowlist import TrialQueue
from workers.queue.server_check import connect_to_work
from workers.queue.study_marks import host_of_run
from workers.queue.trial_queue import connect


def context_of(settings: Settings) -> RunContext:
    """Return the folders, stores and keys that a run uses.

    Raises:
        StoreUnwritable: If the state folder cannot be created.
    """
    try:
        make_private(settings.state_dir)
    except OSError as error:
        raise StoreUnwritable(
            f"cannot create {settings.state_dir}: {error.strerror}; set state_dir to a writable folder"
        ) from error
    return RunContext.of(settings, searched_candles_of(settings), Signer(signing_key(settings, make=True)))


def strategies_of(context: RunContext, levels: Sequence[Level]) -> tuple[str, ...]:
    """Return the users' code that this command's workers may import: that of settings, levels and active runs.

    Samplers are part of it, because a null test runs them on workers.
    """
    under_way = [level for record in run_persistence.under_way(context) for level in record.levels]
    return tuple(dict.fromkeys((*context.work.strategies, *user_strategies([*levels, *under_way]))))


def begin(context: RunContext, chosen: SearchOptions, run_name: str | None = None) -> str:
    """Create and store a new run of the chosen levels, and return its name.

    Raises:
        SettingsError: If a level cannot be searched, or a run with this name exists.
    """
    seed = draw_seed(chosen.seed)
    if any(level.mode is Mode.ASYNC for level in chosen.levels()):
        say("mode async: the same seed will not give the same trials again")
    for note in chosen.strategy_notes().values():
        say(note)
    name = run_name or run_persistence.new_run_name(now(), seed)
    return run_persistence.begin(context, name, chosen.levels(), seed, now(), surrogates=chosen.surrogates).name


def run_curriculum(
    context: RunContext,
    name: str,
    url: str,
    wait: Callable[[Level], None] | None = None,
    wait_for_holdout: Callable[[Callable[[], bool]], None] = lambda is_there: None,
    *,
    look: Look,
) -> EndedRun:
    """Execute a run to its end; progress is printed on standard error.

    `wait` blocks until a level's candles are sealed; without it, they must be sealed already. `wait_for_holdout` blocks
    until the holdout period is sealed or its download has ended. `look` is called repeatedly, see `enough_workers`.

    Raises:
        WorkersFailed: If the workers of this command cannot be kept running.
    """
    record = run_persistence.read_run(context, name)
    say(f"run {name}, seed {record.seed}; resume after an interruption: tradeschool optimize resume {name}")
    connect_to_work(url).close()
    say_verdicts = _new_verdicts(context, name)
    with show_trials() as show, interrupts() as stop:

        def tell(level: Level, attempt: int, progress: StudyProgress) -> None:
            say_verdicts(level.name, attempt)
            show(level, attempt, progress)
            if not progress.is_done:
                look()

        last_step = FinalizeOptions(on_null_test=with_look(show_null_test(), look), wait_for_holdout=wait_for_holdout)
        control = RunControl(stop=stop, on_progress=tell, wait_for_candles=wait, finalize=last_step)
        return run_levels(context, name, url, control)


def _new_verdicts(context: RunContext, name: str) -> Callable[[str, int], None]:
    """Return a function that prints the verdicts of the attempts before the given one once, with their retry plans."""
    told = {(row.level, row.number) for row in run_persistence.read_run(context, name).attempts if row.verdict}
    current: tuple[str, int] | None = None

    def tell(level: str, attempt: int) -> None:
        nonlocal current
        if current == (level, attempt):
            return
        current = (level, attempt)
        for row in run_persistence.read_run(context, name).attempts:
            if row.verdict and (row.level, row.number) not in told:
                told.add((row.level, row.number))
                say(f"level {row.level}, attempt {row.number}: {row.verdict.reason}")
            elif row.retry and (row.level, row.number) == current:
                say(f"level {row.level}, attempt {row.number}: retry: {row.retry.reason}")

    return tell


def with_look(tell: NullTestCallback, look: Look) -> NullTestCallback:
    """Return a callback that shows the progress of a null test, and keeps its workers running until the last market."""

    def told(done: int, wanted: int) -> None:
        tell(done, wanted)
        if done < wanted:
            look()

    return told


def show_end(context: RunContext, ended: EndedRun, *, as_json: bool) -> None:
    """Print the status of a run that has ended.

    Raises:
        GateNotMet: If a level failed its gate after all retries.
    """
    status = run_status_of(context, ended.record)
    print_json(as_result(status)) if as_json else run_status.show(status)
    say(f"files: {context.folder(ended.record.name).resolve()}")
    if ended.outcome is RunOutcome.ESCALATED:
        raise GateNotMet(ended.reason)


def search_new_run(settings: Settings, chosen: SearchOptions, run_name: str | None = None) -> EndedRun:
    """Begin a run on sealed candles and execute it to its end.

    Raises:
        SettingsError: If a level cannot be searched, or a run with this name exists.
        DataIncomplete: If candles of a level are not sealed.
        WorkersFailed: If the workers of this command cannot be kept running.
    """
    with isolation(settings):
        context, levels = context_of(settings), chosen.levels()
        for level in levels:
            context.require_candles(level)
        name = begin(context, chosen, run_name)
        with services(settings, context, levels, chosen.workers) as (url, look):
            return run_curriculum(context, name, url, look=look)


def resume_run(settings: Settings, run_name: str, workers: int | None = None, *, force: bool = False) -> EndedRun:
    """Execute an existing run to its end, exactly from where it stopped.

    Raises:
        SettingsError: If the run does not exist, or its code, settings or candles changed and `force` is not set.
        WorkersFailed: If the workers of this command cannot be kept running.
    """
    with isolation(settings):
        context = context_of(settings)
        record = _resumed(settings, context, run_name, force=force)
        needs_workers = not is_at_its_end(context, record)
        with services(settings, context, record.levels, workers, needs_workers=needs_workers) as (url, look):
            return run_curriculum(context, run_name, url, look=look)


def _resumed(settings: Settings, context: RunContext, name: str, *, force: bool) -> RunRecord:
    """Resume a run; a run that another machine searches in another database is refused with its host."""
    try:
        return run_persistence.resume(context, name, force=force)
    except SettingsError as error:
        url, host = settings.redis_server, ""
        if url is None or not str(error).startswith(f"no run {name!r}"):
            raise
        with suppress(TradeschoolError, RedisError), connect(url) as connection:
            host = host_of_run(connection, name, context.signer)
        if not host:
            raise
        raise SettingsError(
            f"{error}; a coordinator on {host} searches it in another database: {SAME_DATABASE}"
        ) from None


@contextmanager
def services(
    settings: Settings,
    context: RunContext,
    levels: Sequence[Level],
    workers: int | None,
    *,
    needs_workers: bool = True,
) -> Iterator[tuple[str, Look]]:
    """Run notifications, queue server and workers until the block ends; yield the server's URL and the check.

    `workers` is as in `enough_workers`.
    """
    strategies = strategies_of(context, levels)
    with (
        notifications(settings),
        redis_url_of(settings) as url,
        enough_workers(url, workers, strategies, context.signer) if needs_workers else nullcontext(_nothing) as look,
    ):
        yield url, look


def _nothing() -> None:
    """Check no workers."""


def is_at_its_end(context: RunContext, record: RunRecord) -> bool:
    """Return whether no trial and no surrogate market is left to evaluate."""
    action = run_persistence.next_of(context, record)
    if not isinstance(action, Recommend):
        return isinstance(action, End)
    done = len(read_null_runs(context.folder(record.name) / NULL_TEST_NAME))
    return done >= record.surrogates or not needs_null_test(record.levels, record.verdicts)


def run_status_of(context: RunContext, record: RunRecord) -> RunStatus:
    """Return the current status of a run."""
    with closing(StudyWatch(context.storage_url)) as studies:
        return read_run_status(context, record, studies, now().timestamp())


@contextmanager
def interrupts() -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether Ctrl-C was pressed.

    The flag is needed because Python drops a KeyboardInterrupt that is raised during garbage collection.
    """
    pressed = threading.Event()

    def press(number: int, frame: FrameType | None) -> None:
        del number, frame
        pressed.set()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, press)
    try:
        yield pressed.is_set
    except TradeschoolError:
        raise
    except Exception as error:  # a serializer in native code replaces KeyboardInterrupt by its own exception
        if pressed.is_set():
            raise KeyboardInterrupt from error
        raise
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def enough_workers(url: str, count: int | None, strategies: Sequence[str], signer: Signer) -> Iterator[Look]:
    """Run `count` workers until the block ends; with None, one per core if no worker is connected.

    The workers also evaluate `strategies`. The yielded function must be called repeatedly during the search; it
    restarts the pool and reports when no worker is connected.
    """
    with connect(url) as connection:
        present = take_snapshot(TrialQueue(connection=connection), signer=signer).worker_count
    if count is None:
        count = 0 if present else os.cpu_count() or 1
    if not count and not present:
        say(f"no worker is connected; {ELSEWHERE}")
    with own_workers(count, url, strategies, signer) as look:
        yield look
