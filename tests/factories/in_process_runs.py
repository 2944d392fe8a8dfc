"""Whole runs in one process, over made candles."""

import json
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from optimizer.level.constraints import Analysis
from optimizer.level.spec import Gate, Level, LevelDataset, MinTrades
from optimizer.objective.objective import evaluate, prepare_level
from optimizer.runs.live_reader import StudyWatch
from optimizer.search.study import read_trials
from optimizer.search.trial_table import export
from optimizer.validation.holdout_log import read_openings
from tests.factories.levels import level_of
from tests.factories.stores import seal_made
from tradeschool.markets.catalogue import SEALED_WINDOW, find_dataset
from tradeschool.markets.windows import Window
from tradeschool.settings.sections import WorkSettings
from tradeschool.store import Store
from tradeschool.store.frame_store import FrameStore
from workers.coordinator import event_log
from workers.coordinator.context import Place
from workers.coordinator.curriculum_run import carry_on_with
from workers.coordinator.finalize import Finale
from workers.coordinator.run_record import begin, read_run
from workers.monitoring.run_status import Standing, stand
from workers.work_horse.evaluator import Bench
from workers.worker.in_process_dispatch import BenchCarrier

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


LADDER = (
    level("1", ANY),
    level("2", ALMOST, retries=1, analyses=(Analysis.SIMILARITY,)),
)


def seal_candles(store: FrameStore) -> None:
    for name in DATASETS:
        window = Window(*(datetime(day.year, day.month, day.day, tzinfo=UTC) for day in DAYS))
        seal_made(store, find_dataset(name), window)


@dataclass(frozen=True)
class School:
    """A folder, and runs in it that are evaluated in this process."""

    place: Place

    def begin(self, *levels: Level, name: str = "run", seed: int = 7, surrogates: int = 0) -> str:
        return begin(self.place, name, levels, seed, NOW, surrogates=surrogates).name

    def go_on(
        self,
        name: str = "run",
        *,
        stop: Callable[[], bool] = lambda: False,
        tell=lambda *_: None,
        wait=None,
        tell_luck=lambda *_: None,
        **finale,
    ):
        """In this process alone, the luck included where it is measured."""
        bench = Bench(store=self.place.store, prepare=prepare_level, evaluate=evaluate, worker="here")
        ending = Finale(processes=1, tell=tell_luck, **finale)
        return carry_on_with(lambda _: BenchCarrier(bench), self.place, name, tell, stop, wait, ending)

    def table(self, level: str, attempt: int = 1, name: str = "run") -> bytes:
        return export(read_trials(self.place.storage_url, f"{name}-L{level}-a{attempt}"), "csv")

    def file(self, path: str, name: str = "run"):
        return json.loads((self.place.folder(name) / path).read_text())

    def files(self, name: str = "run") -> dict[str, bytes]:
        """Every file of a run by its path, without what only tells when it was written."""
        folder = self.place.folder(name)
        return {
            str(path.relative_to(folder)): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file() and path.name not in {"run.json", "lineage.json", "events.jsonl", "openings.jsonl"}
        }

    def rows(self, name: str = "run") -> list[str]:
        """As text, because a figure that is no number equals nothing."""
        return [row.model_dump_json() for row in read_run(self.place, name).attempts]

    def looks(self, name: str = "run") -> list[dict[str, object]]:
        return [{**line, "time": None} for line in read_openings(self.place.folder(name))]

    def standing(self, name: str = "run") -> Standing:
        with closing(StudyWatch(self.place.storage_url)) as studies:
            return stand(self.place, read_run(self.place, name), studies, time.time())

    def events(self, name: str = "run") -> list[str]:
        return [event.name for event in event_log.read(self.place.folder(name))]


def school_in(folder: Path, candles: Path) -> School:
    place = Place(
        store=Store(candles, closed=SEALED_WINDOW),
        sealed=Store(folder / "sealed"),
        results_dir=folder / "results",
        storage_url=f"sqlite:///{folder / 'study.sqlite3'}",
        min_coverage=0.9,
        work=WorkSettings(),
    )
    return School(place)


class Killed(BaseException):
    """What nobody catches."""


class Dying:
    """Candles that a process lives to read so many times only."""

    def __init__(self, store: Store, lives: int) -> None:
        self._store, self._lives = store, lives

    def __getattr__(self, name: str):
        return getattr(self._store, name)

    def arrays(self, dataset, window):
        self._lives -= 1
        if self._lives < 0:
            raise Killed
        return self._store.arrays(dataset, window)


def after(calls: int) -> Callable[..., None]:
    """A progress report that is the last thing a process does."""
    left = [calls]

    def tell(*_: object) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Killed

    return tell
