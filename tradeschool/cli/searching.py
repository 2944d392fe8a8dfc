"""What every command that searches shares: its options, the levels they name, and how a run is carried to its end."""

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
"""Of the trades that train needs, as in a level's own numbers."""

MOST_SURROGATES = 10_000
Command = Callable[..., None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What the options of a search say; None and empty where they say nothing."""

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
        """The levels that are to be searched, with what the options change.

        Raises:
            SettingsError: where the file is wrong, has no such level, or a constraint cannot be read.
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
    click.option("--curriculum", type=click.Path(path_type=Path), help="Levels from this file (TOML)."),
    click.option("--level", "level_name", help="This level alone."),
    click.option("--trials", type=click.IntRange(1), help="Instead of the levels' own numbers."),
    click.option("--seed", type=click.IntRange(0, MOST_SEED - 1), help="Drawn, and printed, when not given."),
    click.option("-j", "--workers", type=click.IntRange(0), help="Workers of its own; 0 uses those that are there."),
    click.option(
        "--mode",
        type=click.Choice([mode.value for mode in Mode]),
        help="lagged: the same trials for any number of workers (default); async: learns from whatever is finished.",
    ),
    click.option(
        "--early-stop", type=click.IntRange(1), help="End a search after so many trials without a better one."
    ),
    click.option("--min-trades", type=click.IntRange(0), help="Trades that train needs; validation needs a third."),
    click.option(
        "--constraint", "constraints", multiple=True, help='A further rule, such as "max_drawdown_intrabar <= 0.15".'
    ),
    click.option(
        "--surrogates",
        type=click.IntRange(0, MOST_SURROGATES),
        default=SURROGATES,
        show_default=True,
        help="Markets without skill in which the search of each level that was passed is repeated; 0 for none.",
    ),
)


def search_options(command: Command) -> Command:
    """Every option that says what is searched, and by whom."""
    return reduce(lambda decorated, option: option(decorated), reversed(OPTIONS), command)


workers_option = OPTIONS[4]


def draw_seed(seed: int | None) -> int:
    """The seed that was given, or one that nobody chose."""
    return secrets.randbelow(MOST_SEED) if seed is None else seed


def place_of(settings: Settings) -> Place:
    """Where the settings have runs find and leave what they work with.

    Raises:
        StoreUnwritable: where the state folder cannot be made.
    """
    try:
        make_private(settings.state_dir)
    except OSError as error:
        raise StoreUnwritable(
            f"cannot make {settings.state_dir}: {error.strerror}; set state_dir to a folder of yours"
        ) from error
    return Place.of(settings, searched_candles_of(settings), Signer(signing_key(settings, make=True)))


def strategies_of(place: Place, levels: Sequence[Level]) -> tuple[str, ...]:
    """What own workers may import: what the settings name, and what these levels and the runs under way name."""
    under_way = [level for record in records.under_way(place) for level in record.levels]
    return tuple(dict.fromkeys((*place.work.strategies, *own_strategies([*levels, *under_way]))))


def begin(place: Place, chosen: Chosen, run_name: str | None = None) -> str:
    """The name of a new run of the chosen levels, written down.

    Raises:
        SettingsError: where a level cannot be searched, or there is a run of that name.
    """
    seed = draw_seed(chosen.seed)
    if any(level.mode is Mode.ASYNC for level in chosen.levels()):
        say("asynchronous search: the same seed will not give the same trials again")
    name = run_name or records.new_run_name(now(), seed)
    return records.begin(place, name, chosen.levels(), seed, now(), surrogates=chosen.surrogates).name


def begun(record: RunRecord, level_name: str | None, number: int | None) -> AttemptRow:
    """The attempt that the options name; the latest one at the first level where they name none.

    Raises:
        SettingsError: where there is no such level, or the attempt was not begun.
    """
    level = find_level(level_name, record.levels) if level_name else record.levels[0]
    row = record.attempt(level.name, number) if number else record.last(level.name)
    if row is None:
        which = f"attempt {number} at level {level.name}" if number else f"level {level.name}"
        raise SettingsError(f"run {record.name} has not begun {which}")
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
    """Carry a run to its end, and say what came of it.

    `wait` returns once a level's candles are there; without it, they have to be. `wait_for_sealed` does so once the
    sealed period is, or cannot be expected any more. `look` is called all the while, see `enough_workers`.

    Raises:
        WorkersFailed: where the workers that this command started cannot live.
        GateNotMet: where a level was given up.
    """
    record = records.read_run(place, name)
    say(f"run {name}, seed {record.seed}; if interrupted: tradeschool optimize resume {name}")
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
    """Whether nothing is left to search."""
    return isinstance(records.next_of(place, record), Recommend | End)


def standing_of(place: Place, record: RunRecord) -> Standing:
    """How a run stands now."""
    with closing(StudyWatch(place.storage_url)) as studies:
        return stand(place, record, studies, now().timestamp())


@contextmanager
def interrupts() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C was pressed: Python drops the exception where it meets a garbage collection, the flag stays."""
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
    """The workers that were asked for; one a core where none was said and none is there.

    Those that are started here evaluate `strategies`, too. What it gives keeps them alive and says when no worker is
    connected; it is called while a search goes on.
    """
    with connect(url) as connection:
        present = take_snapshot(TrialQueue(connection=connection), signer=signer).worker_count
    if count is None:
        count = 0 if present else os.cpu_count() or 1
    if not count and not present:
        say(f"no worker is there yet; {ELSEWHERE}")
    with own_workers(count, url, strategies, signer) as look:
        yield look


def _constraint(text: str) -> Constraint:
    try:
        return Constraint.model_validate(text)
    except (ValidationError, ValueError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise SettingsError(f"--constraint {text!r}: {reason.removeprefix('Value error, ')}") from None
