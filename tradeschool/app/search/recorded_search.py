"""The recorded search that a level, an attempt and a window name."""

from dataclasses import dataclass

from optuna.trial import FrozenTrial

from optimizer.curriculum.level_files import find_level
from optimizer.level.spec import Level
from optimizer.runs.run_record import AttemptRow, RunRecord, WindowRow
from tradeschool.errors import SettingsError
from workers.coordinator.context import RunContext
from workers.coordinator.recorded_run import RecordedRun
from workers.coordinator.run import run_persistence


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedSearch:
    """The search of an attempt, or of a window of its walk-forward."""

    run: RecordedRun
    row: AttemptRow
    window: WindowRow | None = None
    """None: the attempt's own search; with `walk_forward` the last one, over all its days."""

    @property
    def name(self) -> str:
        """Such as `level 1, attempt 2, window 3`."""
        window = f", window {self.window.number}" if self.window else ""
        return f"level {self.row.level}, attempt {self.row.number}{window}"

    @property
    def study(self) -> str:
        """The name of its study."""
        return self.run.record.study(self.row.level, self.row.number, self.window.number if self.window else None)

    @property
    def level(self) -> Level:
        """The level as it was searched; the days of a window are all train."""
        return self.run.record.study_level(self.row, self.window)

    def trials(self) -> list[FrozenTrial]:
        """Return its committed trials in number order; reused ones included."""
        return self.run.trials(self.row, self.window)

    def trials_with(self, number: int) -> list[FrozenTrial]:
        """Return its committed trials, among them trial `number`.

        Raises:
            SettingsError: If there is no such trial.
        """
        trials = self.trials()
        if number >= len(trials):
            raise SettingsError(f"{self.name} has {len(trials)} trials, numbered from 0")
        return trials


def find_search(
    context: RunContext, run: str, level: str | None = None, attempt: int | None = None, window: int | None = None
) -> RecordedSearch:
    """Return a search of a run; by default the latest attempt at the first level, and its own search.

    Raises:
        SettingsError: If the run or the level does not exist, or the attempt or the window has not started.
    """
    record = run_persistence.read_run(context, run)
    row = begun_attempt(record, level, attempt)
    chosen = begun_window(record, row, window) if window else None
    return RecordedSearch(run=RecordedRun(context=context, record=record), row=row, window=chosen)


def begun_attempt(record: RunRecord, level_name: str | None, number: int | None) -> AttemptRow:
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


def begun_window(record: RunRecord, row: AttemptRow, number: int) -> WindowRow:
    """Return a window of an attempt, counted from 1.

    Raises:
        SettingsError: If the level has no such window, or it has not started.
    """
    split, which = record.level(row.level).split, f"level {row.level}"
    if not split.is_walk_forward:
        raise SettingsError(f"{which} has no windows: its split is {split.scheme}")
    if number > split.windows:
        raise SettingsError(f"{which} has {split.windows} windows; its last search is shown without --window")
    window = row.window(number)
    if window is None:
        raise SettingsError(f"run {record.name} has not started window {number} of {which}, attempt {row.number}")
    return window
