"""Runs a search from its first trial to its end, with the workers that the command starts."""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from types import FrameType

from optimizer.curriculum.level_files import find_level
from optimizer.curriculum.state_machine import End, Outcome, Recommend
from optimizer.level.spec import Level, Mode
from optimizer.runs.live_reader import StudyWatch
from optimizer.runs.run_store import AttemptRow, RunRecord
from tradeschool.app.context import searched_candles_of
from tradeschool.app.search_request import Chosen, draw_seed
from tradeschool.app.worker_pool import ELSEWHERE, Look, own_workers
from tradeschool.errors import GateNotMet, SettingsError, StoreUnwritable
from tradeschool.private_folders import make_private
from tradeschool.settings.model import Settings
from tradeschool.settings.signing_key import signing_key
from tradeschool.views import run_status
from tradeschool.views.terminal import now, print_json, say
from tradeschool.views.trial_progress import show_trials, tell_luck
from workers.connection.signing import Signer
from workers.coordinator import curriculum_run, run_record
from workers.coordinator.context import Place
from workers.coordinator.finalize import Finale
from workers.coordinator.trial_ledger import Progress
from workers.isolation.strategy_allowlist import own_strategies
from workers.monitoring.run_status import Standing, stand
from workers.monitoring.run_status_json import as_result
from workers.monitoring.snapshot import take_snapshot
from workers.queue.job_allowlist import TrialQueue
from workers.queue.server_check import connect_to_work
from workers.queue.trial_queue import connect


def place_of(settings: Settings) -> Place:
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
    return Place.of(settings, searched_candles_of(settings), Signer(signing_key(settings, make=True)))


def strategies_of(place: Place, levels: Sequence[Level]) -> tuple[str, ...]:
    """Return the strategies that this command's workers may import: those of settings, levels and active runs."""
    under_way = [level for record in run_record.under_way(place) for level in record.levels]
    return tuple(dict.fromkeys((*place.work.strategies, *own_strategies([*levels, *under_way]))))


def begin(place: Place, chosen: Chosen, run_name: str | None = None) -> str:
    """Create and store a new run of the chosen levels, and return its name.

    Raises:
        SettingsError: If a level cannot be searched, or a run with this name exists.
    """
    seed = draw_seed(chosen.seed)
    if any(level.mode is Mode.ASYNC for level in chosen.levels()):
        say("mode async: the same seed will not give the same trials again")
    name = run_name or run_record.new_run_name(now(), seed)
    return run_record.begin(place, name, chosen.levels(), seed, now(), surrogates=chosen.surrogates).name


def begun(record: RunRecord, level_name: str | None, number: int | None) -> AttemptRow:
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


def climb(
    place: Place,
    name: str,
    url: str,
    wait: Callable[[Level], None] | None = None,
    wait_for_sealed: Callable[[Callable[[], bool]], None] = lambda is_there: None,
    *,
    look: Look,
    as_json: bool,
) -> None:
    """Execute a run to its end and print the result.

    `wait` blocks until a level's candles are sealed; without it, they must be sealed already. `wait_for_sealed` blocks
    until the holdout period is sealed or its download has ended. `look` is called repeatedly, see `enough_workers`.

    Raises:
        WorkersFailed: If the workers of this command cannot be kept running.
        GateNotMet: If a level failed its gate after all retries.
    """
    record = run_record.read_run(place, name)
    say(f"run {name}, seed {record.seed}; resume after an interruption: tradeschool optimize resume {name}")
    connect_to_work(url).close()
    with show_trials() as show, interrupts() as stop:

        def tell(level: Level, attempt: int, progress: Progress) -> None:
            show(level, attempt, progress)
            if not progress.is_done:
                look()

        finale = Finale(tell=tell_luck(), wait_for_sealed=wait_for_sealed)
        ended = curriculum_run.carry_on(place, name, url, tell, stop, wait, finale)
    standing = standing_of(place, ended.record)
    if as_json:
        print_json(as_result(standing))
    else:
        run_status.show(standing)
    say(f"files: {place.folder(name).resolve()}")
    if ended.outcome is Outcome.ESCALATED:
        raise GateNotMet(ended.reason)


def is_at_its_end(place: Place, record: RunRecord) -> bool:
    """Return whether no search is left."""
    return isinstance(run_record.next_of(place, record), Recommend | End)


def standing_of(place: Place, record: RunRecord) -> Standing:
    """Return the current status of a run."""
    with closing(StudyWatch(place.storage_url)) as studies:
        return stand(place, record, studies, now().timestamp())


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
