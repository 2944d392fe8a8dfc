"""Recorded runs and new searches."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import optuna
import polars as pl
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from optimizer.report.files import REPORT_NAME
from optimizer.runs.run_record import SURROGATES, RunRecord
from optimizer.search.pareto import pareto_front
from optimizer.search.trial_table import named_values, table_rows
from optimizer.validation.selection import ranked
from tradeschool.app.context import read_settings
from tradeschool.app.global_options import GLOBAL_OPTIONS, GlobalOptions
from tradeschool.app.search.recorded_search import RecordedSearch, find_search
from tradeschool.app.search.search_request import SearchOptions
from tradeschool.app.search.search_run import context_of, run_status_of, search_new_run
from workers.coordinator.context import RunContext
from workers.coordinator.run import run_persistence
from workers.monitoring.run_status_json import as_result


@dataclass(frozen=True, slots=True, kw_only=True)
class BestTrial:
    """A trial of a search."""

    number: int
    value: float
    """Objective on train, the first of several."""
    values: dict[str, float]
    """Objectives on train by name, if there are several; else empty."""
    parameters: dict[str, float]
    metrics: dict[str, float]
    """Metrics on train."""


class Run:
    """A recorded run. It is read again at each call, so a run that is under way can be followed.

    `level`, `attempt` and `window` choose a search of the run: by default the first level, its latest attempt, and with
    `walk_forward` its last search, over all days of train.
    """

    def __init__(self, name: str, context: RunContext) -> None:
        self.name = name
        self._context = context

    @property
    def seed(self) -> int:
        """The seed of all its searches."""
        return self._record().seed

    @property
    def levels(self) -> list[str]:
        """The names of its levels in order."""
        return [level.name for level in self._record().levels]

    @property
    def folder(self) -> Path:
        """The folder of its files."""
        return self._context.folder(self.name)

    @property
    def report_path(self) -> Path | None:
        """The report as an HTML file; None before the end of the run."""
        path = self.folder / REPORT_NAME
        return path if path.is_file() else None

    @property
    def recommendation(self) -> str | None:
        """Deploy, paper trade, or do not deploy; None before the end of the run."""
        found = self._record().recommendation
        return found.action_words if found else None

    def status(self) -> dict[str, object]:
        """Return what `tradeschool optimize status --json` prints."""
        return dict(as_result(run_status_of(self._context, self._record())))

    def trials(self, level: str | None = None, attempt: int | None = None, window: int | None = None) -> pl.DataFrame:
        """Return the trial table, one row per trial in number order; the columns of `tradeschool optimize export`.

        Raises:
            SettingsError: If the level does not exist, or the attempt or the window has not started.
        """
        return pl.DataFrame(table_rows(self._search(level, attempt, window).trials()), infer_schema_length=None)

    def best(self, level: str | None = None, attempt: int | None = None, window: int | None = None) -> BestTrial | None:
        """Return the feasible trial with the best objective on train; None if there is none.

        With several objectives it is the first trial of `front`.

        Raises:
            SettingsError: If the level does not exist, or the attempt or the window has not started.
        """
        found = ranked(self._search(level, attempt, window).trials())
        return _best_trial(found[0]) if found else None

    def front(self, level: str | None = None, attempt: int | None = None, window: int | None = None) -> list[BestTrial]:
        """Return the Pareto front on train, nearest to the best value of every objective first.

        With one objective, it is the best trial alone.

        Raises:
            SettingsError: If the level does not exist, or the attempt or the window has not started.
        """
        return [_best_trial(trial) for trial in pareto_front(self._search(level, attempt, window).trials())]

    def study(self, level: str | None = None, attempt: int | None = None, window: int | None = None) -> optuna.Study:
        """Return a copy of the search as an Optuna study in memory; changes to it do not reach the run.

        Raises:
            SettingsError: If the level does not exist, or the attempt or the window has not started.
        """
        search = self._search(level, attempt, window)
        directions = [StudyDirection.MAXIMIZE for _ in search.level.objective]
        copy = optuna.create_study(study_name=search.study, directions=directions)
        copy.add_trials(search.trials())
        return copy

    def __repr__(self) -> str:
        """Return the name and the seed."""
        return f"<Run {self.name}, seed {self.seed}>"

    def _record(self) -> RunRecord:
        return run_persistence.read_run(self._context, self.name)

    def _search(self, level: str | None, attempt: int | None, window: int | None) -> RecordedSearch:
        return find_search(self._context, self.name, level, attempt, window)


def runs(*, config: Path | str | None = None) -> list[Run]:
    """Return all recorded runs by name."""
    context = context_of(read_settings(_path(config)))
    with run_persistence.opened(context) as found:
        return [Run(each.name, context) for each in found.all()]


def run(name: str, *, config: Path | str | None = None) -> Run:
    """Return a recorded run.

    Raises:
        SettingsError: If there is no run of that name.
    """
    context = context_of(read_settings(_path(config)))
    return Run(run_persistence.read_run(context, name).name, context)


def optimize(
    curriculum: Path | str | None = None,
    *,
    workers: int | None = None,
    level: str | None = None,
    strategy: str | None = None,
    trials: int | None = None,
    objective: str | Sequence[str] = (),
    sampler: str | None = None,
    pruner: str | None = None,
    mode: str | None = None,
    early_stop: int | None = None,
    min_trades: int | None = None,
    constraints: str | Sequence[str] = (),
    costs: str | None = None,
    surrogates: int | None = None,
    seed: int | None = None,
    name: str | None = None,
    config: Path | str | None = None,
) -> Run:
    """Search the levels of a curriculum on sealed candles, and return the run at its end.

    `curriculum` is a level file, by default the built-in four levels. `workers` is the number of worker processes, by
    default one per core if no worker is connected. `level` searches one level only. `strategy` replaces that of all
    levels and uses its own search ranges. The other options override those of each level, as on the command line, such
    as `sampler="cmaes,popsize=12"` and `constraints="max_drawdown <= 0.2"`; several objectives give a Pareto front.
    `surrogates` is the number of surrogate markets of the null test, 0 for none. Progress is printed on standard error.
    A level that fails its gate is a result, not an error: see `Run.recommendation`. Ctrl-C interrupts the search;
    `tradeschool optimize resume` continues it.

    Raises:
        SettingsError: If a level cannot be searched, or a run of that name exists.
        DataIncomplete: If candles are not sealed.
        WorkersFailed: If the workers cannot be kept running.
    """
    chosen = {
        "curriculum": _path(curriculum),
        "level_name": level,
        "strategy": strategy,
        "trials": trials,
        "objectives": _words(objective),
        "sampler": sampler,
        "pruner": pruner,
        "mode": mode,
        "early_stop": early_stop,
        "min_trades": min_trades,
        "constraints": _words(constraints),
        "costs": costs,
        "surrogates": SURROGATES if surrogates is None else surrogates,
        "seed": seed,
        "workers": workers,
    }
    return _search(chosen, name, _path(config))


def _words(given: str | Sequence[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def _search(chosen: Mapping[str, object], name: str | None, config: Path | None) -> Run:
    settings = read_settings(config)
    with _global_options(GlobalOptions(settings_file=config)):
        ended = search_new_run(settings, SearchOptions.of(chosen, settings), name)
    return Run(ended.record.name, context_of(settings))


@contextmanager
def _global_options(options: GlobalOptions) -> Iterator[None]:
    """Set the options of the commands that this process starts until the block ends."""
    before = GLOBAL_OPTIONS.set(options)
    try:
        yield
    finally:
        GLOBAL_OPTIONS.reset(before)


def _best_trial(trial: FrozenTrial) -> BestTrial:
    return BestTrial(
        number=trial.number,
        value=float(trial.values[0]),
        values=named_values(trial) if len(trial.values) > 1 else {},
        parameters=dict(trial.params),
        metrics=dict(trial.user_attrs.get("metrics", {})),
    )


def _path(path: Path | str | None) -> Path | None:
    return Path(path) if path is not None else None
