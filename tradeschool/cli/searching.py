"""Shared parts of the search commands: options, selection of levels, and execution of a run."""

import os
import secrets
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import reduce
from math import ceil
from pathlib import Path
from types import FrameType

import click
from pydantic import ValidationError

from optimizer.curriculum import End, Outcome, Recommend
from optimizer.curriculum_file import find_level, load_levels
from optimizer.level import Level, MinTrades, Mode
from optimizer.limits import Constraint
from optimizer.runs import SURROGATES, AttemptRow, RunRecord
from optimizer.watch import StudyWatch
from tradeschool.cli import verdict
from tradeschool.cli.context import now, print_json, say, searched_candles_of
from tradeschool.cli.own_workers import ELSEWHERE, Look, own_workers
from tradeschool.cli.trials import show_trials, tell_luck
from tradeschool.errors import GateNotMet, SettingsError, StoreUnwritable
from tradeschool.private import make_private
from tradeschool.settings import Settings
from tradeschool.signing_key import signing_key
from workers import records, search
from workers.ending import Finale
from workers.guard import TrialQueue
from workers.ledger import Progress
from workers.monitor import take_snapshot
from workers.place import Place
from workers.queue import connect
from workers.server_check import connect_to_work
from workers.signing import Signer
from workers.standing import Standing, stand
from workers.standing_json import as_result
from workers.strategies import own_strategies

MOST_SEED = 2**32
VALIDATION_SHARE = 1 / 3
"""Minimum trades on validation relative to train, as in the built-in levels."""

MOST_SURROGATES = 10_000
Command = Callable[..., None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Values of the search options; None or empty for options that were not given."""

    curriculum: Path | None = None
    level_name: str | None = None
    trials: int | None = None
    seed: int | None = None
    workers: int | None = None
    mode: str | None = None
    early_stop: int | None = None
    min_trades: int | None = None
    constraints: Sequence[str] = ()
    surrogates: int = SURROGATES

    def levels(self) -> tuple[Level, ...]:
        """Return the levels to search, with the options' changes.

        Raises:
            SettingsError: If the file is invalid, the level does not exist, or a constraint cannot be parsed.
        """
        levels = load_levels(self.curriculum)
        named = (find_level(self.level_name, levels),) if self.level_name else levels
        return tuple(level.model_copy(update=self._changes(level)) for level in named)

    def _changes(self, level: Level) -> dict[str, object]:
        changes: dict[str, object] = {}
        if self.trials:
            changes["trials"] = self.trials
        if self.mode:
            changes["mode"] = Mode(self.mode)
        if self.early_stop:
            changes["early_stop"] = self.early_stop
        if self.min_trades is not None:
            validation = ceil(self.min_trades * VALIDATION_SHARE)
            changes["min_trades"] = MinTrades(train=self.min_trades, validation=validation)
        if self.constraints:
            changes["constraints"] = (*level.constraints, *map(_constraint, self.constraints))
        return changes


OPTIONS = (
    click.option(
        "--curriculum",
        type=click.Path(path_type=Path),
        help="TOML file with levels. [default: built-in curriculum]",
    ),
    click.option("--level", "level_name", help="Search only this level."),
    click.option("--trials", type=click.IntRange(1), help="Trials per level. [default: the level's]"),
    click.option("--seed", type=click.IntRange(0, MOST_SEED - 1), help="Seed of the search. [default: random]"),
    click.option(
        "-j",
        "--workers",
        type=click.IntRange(0),
        help="Workers to start; 0 uses connected ones. [default: one per core if none is connected]",
    ),
    click.option(
        "--mode",
        type=click.Choice([mode.value for mode in Mode]),
        help="lagged: reproducible, independent of the number of workers; async: uses every result as soon as it "
        "arrives, not reproducible. [default: the level's, lagged]",
    ),
    click.option(
        "--early-stop", type=click.IntRange(1), help="Stop a search after this many trials without improvement."
    ),
    click.option("--min-trades", type=click.IntRange(0), help="Minimum trades on train; a third of it on validation."),
    click.option(
        "--constraint",
        "constraints",
        multiple=True,
        help='Additional constraint, for example "max_drawdown_intrabar <= 0.15"; repeatable.',
    ),
    click.option(
        "--surrogates",
        type=click.IntRange(0, MOST_SURROGATES),
        default=SURROGATES,
        show_default=True,
        help="Null test: surrogate markets without skill in which the search of each passed level is repeated; 0 "
        "skips the test.",
    ),
)


def search_options(command: Command) -> Command:
    """Add all search options to a command."""
    return reduce(lambda decorated, option: option(decorated), reversed(OPTIONS), command)


workers_option = OPTIONS[4]


def draw_seed(seed: int | None) -> int:
    """Return the given seed, or a random one if it is None."""
    return secrets.randbelow(MOST_SEED) if seed is None else seed


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
    under_way = [level for record in records.under_way(place) for level in record.levels]
    return tuple(dict.fromkeys((*place.work.strategies, *own_strategies([*levels, *under_way]))))


def begin(place: Place, chosen: Chosen, run_name: str | None = None) -> str:
    """Create and store a new run of the chosen levels, and return its name.

    Raises:
        SettingsError: If a level cannot be searched, or a run with this name exists.
    """
    seed = draw_seed(chosen.seed)
    if any(level.mode is Mode.ASYNC for level in chosen.levels()):
        say("mode async: the same seed will not give the same trials again")
    name = run_name or records.new_run_name(now(), seed)
    return records.begin(place, name, chosen.levels(), seed, now(), surrogates=chosen.surrogates).name


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
    record = records.read_run(place, name)
    say(f"run {name}, seed {record.seed}; resume after an interruption: tradeschool optimize resume {name}")
    connect_to_work(url).close()
    with show_trials() as show, interrupts() as stop:

        def tell(level: Level, attempt: int, progress: Progress) -> None:
            show(level, attempt, progress)
            if not progress.is_done:
                look()

        finale = Finale(tell=tell_luck(), wait_for_sealed=wait_for_sealed)
        ended = search.carry_on(place, name, url, tell, stop, wait, finale)
    standing = standing_of(place, ended.record)
    if as_json:
        print_json(as_result(standing))
    else:
        verdict.show(standing)
    say(f"files: {place.folder(name).resolve()}")
    if ended.outcome is Outcome.ESCALATED:
        raise GateNotMet(ended.reason)


def is_at_its_end(place: Place, record: RunRecord) -> bool:
    """Return whether no search is left."""
    return isinstance(records.next_of(place, record), Recommend | End)


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


def _constraint(text: str) -> Constraint:
    try:
        return Constraint.model_validate(text)
    except (ValidationError, ValueError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise SettingsError(f"--constraint {text!r}: {reason.removeprefix('Value error, ')}") from None
