"""Runs a search from its first trial to its end, with the workers that the command starts."""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from types import FrameType

from optimizer.curriculum.level_files import find_level
from optimizer.curriculum.state_machine import End, Recommend, RunOutcome
from optimizer.level.spec import Level, Mode
from optimizer.runs.live_reader import StudyWatch
from optimizer.runs.run_store import AttemptRow, RunRecord
from tradeschool.app.context import searched_candles_of
from tradeschool.app.search.search_request import SearchOptions, draw_seed
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
from workers.coordinator.run import curriculum_run, run_record
from workers.coordinator.run.finalize import FinalizeOptions
from workers.coordinator.study.trial_ledger import StudyProgress
from workers.isolation.strategy_allowlist import user_strategies
from workers.monitoring.run_status import RunStatus, read_run_status
from workers.monitoring.run_status_json import as_result
from workers.monitoring.snapshot import take_snapshot
from workers.queue.job_allowlist import TrialQueue
from workers.queue.server_check import connect_to_work
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
    """Return the strategies that this command's workers may import: those of settings, levels and active runs."""
    under_way = [level for record in run_record.under_way(context) for level in record.levels]
    return tuple(dict.fromkeys((*context.work.strategies, *user_strategies([*levels, *under_way]))))


def begin(context: RunContext, chosen: SearchOptions, run_name: str | None = None) -> str:
    """Create and store a new run of the chosen levels, and return its name.

    Raises:
        SettingsError: If a level cannot be searched, or a run with this name exists.
    """
    seed = draw_seed(chosen.seed)
    if any(level.mode is Mode.ASYNC for level in chosen.levels()):
        say("mode async: the same seed will not give the same trials again")
    name = run_name or run_record.new_run_name(now(), seed)
    return run_record.begin(context, name, chosen.levels(), seed, now(), surrogates=chosen.surrogates).name


def begun_trials(record: RunRecord, level_name: str | None, number: int | None) -> AttemptRow:
    """Return the selected attempt; by default the latest attempt at the first level.

    Raises:
        SettingsError: If the level does not exist, or the attempt has not started.
    """
    level = find_level(level_name, record.levels) if level_name else record.levels[0]
    row = record.attempt(level.name, number) if number else record.last(level.name)
    if row is None:
        which = f"attempt {number} at level {level.name}" if number else f"level {level.name}"
        raise SettingsError(f"run {record.name} has not started {which}")
    return row


def run_curriculum(
    context: RunContext,
    name: str,
    url: str,
    wait: Callable[[Level], None] | None = None,
    wait_for_holdout: Callable[[Callable[[], bool]], None] = lambda is_there: None,
    *,
    look: Look,
    as_json: bool,
) -> None:
    """Execute a run to its end and print the result.

    `wait` blocks until a level's candles are sealed; without it, they must be sealed already. `wait_for_holdout` blocks
    until the holdout period is sealed or its download has ended. `look` is called repeatedly, see `enough_workers`.

    Raises:
        WorkersFailed: If the workers of this command cannot be kept running.
        GateNotMet: If a level failed its gate after all retries.
    """
    record = run_record.read_run(context, name)
    say(f"run {name}, seed {record.seed}; resume after an interruption: tradeschool optimize resume {name}")
    connect_to_work(url).close()
    with show_trials() as show, interrupts() as stop:

        def tell(level: Level, attempt: int, progress: StudyProgress) -> None:
            show(level, attempt, progress)
            if not progress.is_done:
                look()

        options = FinalizeOptions(on_null_test=show_null_test(), wait_for_holdout=wait_for_holdout)
        ended = curriculum_run.run_levels(context, name, url, tell, stop, wait, options)
    status = run_status_of(context, ended.record)
    if as_json:
        print_json(as_result(status))
    else:
        run_status.show(status)
    say(f"files: {context.folder(name).resolve()}")
    if ended.outcome is RunOutcome.ESCALATED:
        raise GateNotMet(ended.reason)


def is_at_its_end(context: RunContext, record: RunRecord) -> bool:
    """Return whether no search is left."""
    return isinstance(run_record.next_of(context, record), Recommend | End)


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
