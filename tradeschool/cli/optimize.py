"""`tradeschool optimize`: search parameters, judge them, say what came of it."""

import os
import secrets
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import click

from optimizer.curriculum import find_level, load_levels
from optimizer.level import Level, Mode
from optimizer.study import read_trials
from optimizer.table import export as export_table
from tradeschool.cli import verdict
from tradeschool.cli.context import candles_of, json_option, load_settings, now, print_json, redis_url_of, say
from tradeschool.cli.trials import show_trials
from tradeschool.cli.worker import own_workers
from tradeschool.errors import GateNotMet, StoreUnwritable
from tradeschool.settings import Settings
from workers import search
from workers.board import conducted
from workers.guard import TrialQueue
from workers.monitor import take_snapshot
from workers.queue import connect

MOST_SEED = 2**32

curriculum_option = click.option("--curriculum", type=click.Path(path_type=Path), help="Levels from this file (TOML).")
level_option = click.option("--level", "level_name", help="This level alone.")
trials_option = click.option("--trials", type=click.IntRange(1), help="Instead of the level's own number.")
seed_option = click.option("--seed", type=click.IntRange(0, MOST_SEED - 1), help="Drawn, and printed, when not given.")
mode_option = click.option(
    "--mode",
    type=click.Choice([mode.value for mode in Mode]),
    help="lagged: the same trials for any number of workers (default); async: learns from whatever is finished.",
)
workers_option = click.option(
    "-j", "--workers", type=click.IntRange(0), help="Workers of its own; 0 uses those that are there."
)


@click.group()
def optimize() -> None:
    """Search parameters and judge them: run, resume, list, export."""


@optimize.command()
@curriculum_option
@level_option
@trials_option
@seed_option
@workers_option
@mode_option
@click.option("--run", "run_name", help="A name for the run; drawn from the clock when not given.")
@json_option
def run(
    curriculum: Path | None,
    level_name: str | None,
    trials: int | None,
    seed: int | None,
    workers: int | None,
    mode: str | None,
    run_name: str | None,
    *,
    as_json: bool,
) -> None:
    """Search each level in turn until a gate is missed; exit code 0 when all were met, 3 when one was not."""
    settings = load_settings()
    levels = choose(curriculum, level_name, trials, mode)
    if any(level.mode is Mode.ASYNC for level in levels):
        say("asynchronous search: the same seed will not give the same trials again")
    seed = draw_seed(seed)
    place = place_of(settings)
    record = search.begin(place, run_name or search.new_run_name(now(), seed), levels, seed, now())
    carry_out(place, record, settings, workers, as_json=as_json)


@optimize.command()
@click.argument("run_name", metavar="RUN")
@workers_option
@json_option
def resume(run_name: str, workers: int | None, *, as_json: bool) -> None:
    """Go on with a run exactly where it stopped."""
    settings = load_settings()
    place = place_of(settings)
    carry_out(place, search.resume(place, run_name), settings, workers, as_json=as_json)


@optimize.command(name="list")
@json_option
def list_runs(*, as_json: bool) -> None:
    """The runs in `results_dir`, in order of name."""
    folder = load_settings().results_dir
    found = [search.read_record(folder, path.parent.name) for path in sorted(folder.glob(f"*/{search.RECORD_NAME}"))]
    if as_json:
        print_json([each.model_dump(mode="json", exclude={"levels"}) for each in found])
        return
    for each in found:
        levels = ", ".join(level.name for level in each.levels)
        click.echo(f"{each.name}  begun {each.created:%Y-%m-%d %H:%M} UTC  seed {each.seed}  levels {levels}")


@optimize.command()
@click.argument("run_name", metavar="RUN")
@click.option("--level", "level_name", help="Of this level; the first when not given.")
@click.option("--format", "form", type=click.Choice(["csv", "json", "parquet"]), default="csv", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), required=True)
def export(run_name: str, level_name: str | None, form: str, out: Path) -> None:
    """Write a run's trial table: the same bytes for the same seed, data and settings."""
    place = place_of(load_settings())
    record = search.read_record(place.results_dir, run_name)
    level = find_level(level_name, record.levels) if level_name else record.levels[0]
    trials = read_trials(place.storage_url, record.study(level))
    try:
        out.write_bytes(export_table(trials, form))  # type: ignore[arg-type]  # click has checked it
    except OSError as error:
        raise StoreUnwritable(f"cannot write {out}: {error.strerror}") from error
    say(f"{len(trials)} trials in {out}")


def choose(
    curriculum: Path | None, level_name: str | None, trials: int | None, mode: str | None = None
) -> tuple[Level, ...]:
    """The levels that the flags name.

    Raises:
        SettingsError: where the file is wrong or has no such level.
    """
    levels = load_levels(curriculum)
    chosen = (find_level(level_name, levels),) if level_name else levels
    changes = {"trials": trials, "mode": mode}
    return tuple(level.model_copy(update={name: value for name, value in changes.items() if value}) for level in chosen)


def draw_seed(seed: int | None) -> int:
    """The seed that was given, or one that nobody chose."""
    return secrets.randbelow(MOST_SEED) if seed is None else seed


def place_of(settings: Settings) -> search.Place:
    """Where the settings have runs find and leave what they work with."""
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    return search.Place(
        store=candles_of(settings),
        results_dir=settings.results_dir,
        storage_url=settings.storage,
        min_coverage=settings.min_coverage,
        work=settings.work,
    )


def carry_out(
    place: search.Place, record: search.RunRecord, settings: Settings, workers: int | None, *, as_json: bool
) -> None:
    """Search and judge a run's levels, with the embedded parts and workers that it takes, and say what came of it.

    Raises:
        DataIncomplete: which candles are missing; nothing was started.
        GateNotMet: where a level's gate was missed.
    """
    for level in record.levels:
        search.require_candles(place, level)
    with redis_url_of(settings) as url, enough_workers(url, workers), conducted(connect(url), record.name):
        climb(place, record, url, lambda level: None, as_json=as_json)


def climb(
    place: search.Place,
    record: search.RunRecord,
    url: str,
    wait_for_candles: Callable[[Level], None],
    *,
    as_json: bool,
) -> None:
    """Level after level, each as soon as its candles are there, until a gate is missed; then say what came of it.

    Raises:
        GateNotMet: where a level's gate was missed.
    """
    say(f"run {record.name}, seed {record.seed}; if interrupted: tradeschool optimize resume {record.name}")
    found = []
    missed = None
    for level in record.levels:
        wait_for_candles(level)
        with show_trials() as tell, interrupts() as stop:
            found.append(search.search(place, record, level, url, tell, stop))
        if not found[-1].passed:
            missed = level.name
            break
    reason = f"the gate of level {missed} is not met" if missed else "every gate is met"
    if as_json:
        print_json(verdict.as_object(record, found, reason))
    else:
        for each in found:
            verdict.show(each)
    say(f"files: {place.folder(record.name).resolve()}")
    if missed:
        raise GateNotMet(reason)
    say(reason)


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
def enough_workers(url: str, count: int | None) -> Iterator[None]:
    """The workers that were asked for; one a core where none was said and none is there."""
    with connect(url) as connection:
        present = len(take_snapshot(TrialQueue(connection=connection), now().timestamp()).workers)
    if count is None:
        count = 0 if present else os.cpu_count() or 1
    if not count and not present:
        say("no worker is there yet; start some: tradeschool worker start -n 2")
    with own_workers(count, url):
        yield
