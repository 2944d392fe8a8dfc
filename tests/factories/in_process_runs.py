"""Whole curriculum runs in one process, over synthetic candles."""

import json
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path

from optimizer.level.constraints import Analysis
from optimizer.level.level_dataset import LevelDataset
from optimizer.level.spec import Gate, Level, MinTrades
from optimizer.objective.objective import evaluate, plan_level
from optimizer.runs.live_reader import StudyWatch
from optimizer.search.study import read_trials
from optimizer.search.trial_table import export
from optimizer.validation.holdout_log import read_holdout_log
from tests.factories.levels import level_of
from tests.factories.stores import seal_made
from tradeschool.markets.catalogue import HOLDOUT_WINDOW, find_dataset
from tradeschool.markets.windows import Window
from tradeschool.settings.sections import WorkSettings
from tradeschool.store import Store
from tradeschool.store.frame_store import FrameStore
from workers.coordinator import event_log
from workers.coordinator.context import RunContext
from workers.coordinator.run.curriculum_run import RunControl, run_levels_with
from workers.coordinator.run.finalize import FinalizeOptions
from workers.coordinator.run.run_persistence import begin, read_run
from workers.monitoring.run_status import RunStatus, read_run_status
from workers.work_horse.evaluator import Evaluator
from workers.work_horse.surrogate_markets import run_surrogate
from workers.worker.in_process_dispatch import InProcessDispatcher

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DATASETS = ("coinbase/BTC-USD/H1", "oanda/EUR-USD/H1")
DAYS = (date(2021, 3, 1), date(2021, 6, 9))
ANY = Gate(win_rate=0.0, sharpe=-99, max_drawdown_intrabar=1.0, profit_factor=0.01)
"""A gate that any winner passes."""
NONE = Gate(win_rate=1.0, sharpe=-99, max_drawdown_intrabar=1.0, profit_factor=0.01)
"""One that none passes, and no trial is feasible for."""
ALMOST = Gate(win_rate=0.0, sharpe=99.0, max_drawdown_intrabar=1.0, profit_factor=0.01)
"""One that trials are feasible for, and no winner passes."""


def level(name: str, gate: Gate, **fields: object) -> Level:
    datasets = tuple(LevelDataset(dataset=each, start=DAYS[0], end=DAYS[1]) for each in DATASETS)
    made = level_of(
        DATASETS,
        name=name,
        gate=gate,
        drawdown_limit=1.0,
        min_trades=MinTrades(train=1, validation=1),
        **{"trials": 8, "lag": 3, **fields},
    )
    return made.model_copy(update={"datasets": datasets})


def early(name: str, gate: Gate, **fields: object) -> Level:
    """A level whose days end before those that `level` judges, so that `level` may inherit its winner."""
    found = level(name, gate, **fields)
    days = {"end": date(2021, 4, 30)}
    return found.model_copy(update={"datasets": tuple(each.model_copy(update=days) for each in found.datasets)})


CURRICULUM = (
    level("1", ANY),
    level("2", ALMOST, retries=1, analyses=(Analysis.SIMILARITY,)),
)


def seal_candles(store: FrameStore) -> None:
    for name in DATASETS:
        window = Window(*(datetime(day.year, day.month, day.day, tzinfo=UTC) for day in DAYS))
        seal_made(store, find_dataset(name), window)


@dataclass(frozen=True)
class RunHarness:
    """Runs in one folder, evaluated in this process."""

    context: RunContext

    @property
    def environment(self) -> dict[str, str]:
        """The variables that make a command read its runs."""
        folder = self.context.results_dir.parent
        return {
            "TRADESCHOOL_DATA_DIR": str(folder / "data"),
            "TRADESCHOOL_RESULTS_DIR": str(folder / "results"),
            "TRADESCHOOL_STATE_DIR": str(folder / "state"),
            "TRADESCHOOL_STORAGE_URL": self.context.storage_url,
        }

    def begin(self, *levels: Level, name: str = "run", seed: int = 7, surrogates: int = 0) -> str:
        return begin(self.context, name, levels, seed, NOW, surrogates=surrogates).name

    def run(
        self,
        name: str = "run",
        *,
        stop: Callable[[], bool] = lambda: False,
        tell=lambda *_: None,
        wait=None,
        on_null_test=lambda *_: None,
        **options,
    ):
        """Run in this process, including null tests."""
        ending = FinalizeOptions(processes=1, on_null_test=on_null_test, **options)
        control = RunControl(stop=stop, on_progress=tell, wait_for_candles=wait, finalize=ending)
        return run_levels_with(self.dispatcher, self.context, name, control)

    def dispatcher(self, study: str) -> InProcessDispatcher:
        """A dispatcher that evaluates trials and surrogate markets in this process."""
        store = self.context.store
        return InProcessDispatcher(
            Evaluator(store=store, plan=plan_level, evaluate=evaluate, worker="here", run_surrogate=run_surrogate)
        )

    def run_with_kills(self, kills: Iterable[tuple[str, int]]):
        """Run until the end or the last kill; return the ended run, or None.

        A kill is its place and a number: after reads of candles (`read`) or of the holdout period (`holdout`), after
        progress reports (`told`), or after draws of the null test (`drawn`).
        """
        for place, count in kills:
            context, options = self.context, {}
            if place == "read":
                context = replace(context, store=CrashingStore(context.store, count))
            elif place == "holdout":
                context = replace(context, holdout=CrashingStore(context.holdout, count))
            else:
                options = {{"told": "tell", "drawn": "on_null_test"}[place]: after(count)}
            try:
                return RunHarness(context).run(**options)
            except Killed:
                continue
        return None

    def table(self, level: str, attempt: int = 1, name: str = "run") -> bytes:
        return export(read_trials(self.context.storage_url, f"{name}-L{level}-a{attempt}"), "csv")

    def file(self, path: str, name: str = "run"):
        return json.loads((self.context.folder(name) / path).read_text())

    def files(self, name: str = "run") -> dict[str, bytes]:
        """Every file of a run by its path, without write times."""
        folder = self.context.folder(name)
        return {
            str(path.relative_to(folder)): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file() and path.name not in {"run.json", "lineage.json", "events.jsonl", "holdout_log.jsonl"}
        }

    def rows(self, name: str = "run") -> list[str]:
        """Rows as text, because NaN equals nothing."""
        return [row.model_dump_json() for row in read_run(self.context, name).attempts]

    def looks(self, name: str = "run") -> list[dict[str, object]]:
        return [{**line, "time": None} for line in read_holdout_log(self.context.folder(name))]

    def run_status(self, name: str = "run") -> RunStatus:
        with closing(StudyWatch(self.context.storage_url)) as studies:
            return read_run_status(self.context, read_run(self.context, name), studies, time.time())

    def events(self, name: str = "run") -> list[str]:
        return [event.name for event in event_log.read(self.context.folder(name))]


def run_harness_in(folder: Path, candles: Path) -> RunHarness:
    context = RunContext(
        store=Store(candles, closed=HOLDOUT_WINDOW),
        holdout=Store(folder / "sealed"),
        results_dir=folder / "results",
        storage_url=f"sqlite:///{folder / 'study.sqlite3'}",
        min_coverage=0.9,
        work=WorkSettings(),
    )
    return RunHarness(context)


class Killed(BaseException):
    """An exception that no code catches."""


class CrashingStore:
    """A store that raises after a number of reads."""

    def __init__(self, store: Store, lives: int) -> None:
        self._store, self._reads = store, lives

    def __getattr__(self, name: str):
        return getattr(self._store, name)

    def arrays(self, dataset, window):
        self._reads -= 1
        if self._reads < 0:
            raise Killed
        return self._store.arrays(dataset, window)


def after(calls: int) -> Callable[..., None]:
    """A progress callback that raises after a number of calls."""
    left = [calls]

    def tell(*_: object) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Killed

    return tell
