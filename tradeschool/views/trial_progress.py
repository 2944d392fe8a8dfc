"""Search progress: bars on a terminal, periodic lines elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn
from rich.progress import Progress as Bars

from optimizer.level.spec import Level
from optimizer.level.walk_forward import window_of
from tradeschool.views.terminal import say
from workers.coordinator.study.trial_ledger import StudyProgress as Trials

LINE_EVERY = 10.0  # seconds between two lines where there is no terminal
FIRST_NULL_TEST_SECONDS = 3.0


@contextmanager
def show_trials() -> Iterator[Callable[[Level, int, Trials], None]]:
    """Yield a function that shows the progress of a search: bars on a terminal, periodic lines elsewhere."""
    if not sys.stderr.isatty():
        yield _TrialLines().tell
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[states]}"))
    with Bars(*columns, console=Console(stderr=True)) as bars:
        yield _TrialBars(bars).tell


def show_null_test() -> Callable[[int, int], None]:
    """Return a function that prints the progress of the null test every ten seconds."""
    begun: tuple[float, int] | None = None
    due = time.monotonic() + FIRST_NULL_TEST_SECONDS

    def tell(done: int, wanted: int) -> None:
        nonlocal due, begun
        now = time.monotonic()
        begun = begun or (now, done)
        if now < due:
            return
        due, (since, first) = now + LINE_EVERY, begun
        left = f", ETA {(wanted - done) * (now - since) / (done - first):.0f} s" if done > first else ""
        say(f"null test: {done:,} of {wanted:,} surrogate markets{left}")

    return tell


class _TrialLines:
    """Progress as periodic lines; an unchanged line is not repeated, `own_workers.Watch` reports a stall."""

    def __init__(self) -> None:
        self._next = 0.0
        self._said = ""

    def tell(self, level: Level, attempt: int, trials: Trials) -> None:
        if time.monotonic() < self._next and not trials.is_done:
            return
        self._next = time.monotonic() + LINE_EVERY
        line = f"{_name(level, attempt)}: {trials.finished:,} of {trials.trials:,} trials, {_states(trials)}"
        if line != self._said:
            say(line)
        self._said = line


class _TrialBars:
    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def tell(self, level: Level, attempt: int, trials: Trials) -> None:
        name = _name(level, attempt)
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=trials.trials, states="")
        self._bars.update(self._tasks[name], completed=trials.finished, total=trials.trials, states=_states(trials))


def _name(level: Level, attempt: int) -> str:
    tried = f", attempt {attempt}" if attempt > 1 else ""
    window = f", {window_of(level)}" if window_of(level) else ""
    return f"level {level.name}{tried}{window}"


def _states(trials: Trials) -> str:
    return f"{trials.complete:,} complete, {trials.pruned:,} pruned, {trials.failed:,} failed"
