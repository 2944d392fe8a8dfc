"""Where a run finds and leaves what it works with."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from optimizer.level.spec import Level, LevelDataset
from optimizer.runs.fingerprint import LENGTH
from tradeschool.errors import DataIncomplete
from tradeschool.markets.catalogue import HOLDOUT_WINDOW
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.windows import Window
from tradeschool.settings.model import Settings
from tradeschool.settings.sections import WorkSettings
from tradeschool.store import Store, holdout_store
from tradeschool.store.cached_store import CachedStore
from tradeschool.store.store import FETCH_SEALED
from workers.connection.signing import UNSIGNED, Signer

NAMED = 3
"""Datasets that an error names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """Candles, results and studies."""

    store: Store
    """What searches read; it refuses the holdout period."""
    holdout: Store
    """The holdout period, which is opened once, when a run is over."""
    results_dir: Path
    storage_url: str
    min_coverage: float
    work: WorkSettings
    signer: Signer = UNSIGNED
    """With what is sent through Redis is signed and checked."""

    @classmethod
    def of(cls, settings: Settings, store: Store, signer: Signer) -> "RunContext":
        """Where the settings say, over that store."""
        return cls(
            store=store,
            holdout=holdout_store(settings.data_dir),
            results_dir=settings.results_dir,
            storage_url=settings.storage,
            min_coverage=settings.min_coverage,
            work=settings.work,
            signer=signer,
        )

    def as_json(self) -> dict[str, object]:
        """For `from_json` in another process; what signs is left out: there, nothing is sent through Redis."""
        closed = self.store.closed
        return {
            "root": str(self.store.root),
            "columns": str(self.store.columns) if isinstance(self.store, CachedStore) else None,
            "closed": [closed.start.isoformat(), closed.end.isoformat()] if closed else None,
            "holdout": str(self.holdout.root),
            "results_dir": str(self.results_dir),
            "storage_url": self.storage_url,
            "min_coverage": self.min_coverage,
            "work": self.work.model_dump(mode="json", exclude={"signing_key", "signing_key_file"}),
        }

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> "RunContext":
        """What `as_json` said."""
        root, columns = Path(told["root"]), told["columns"]
        closed = Window(*map(datetime.fromisoformat, told["closed"])) if told["closed"] else None
        return cls(
            store=CachedStore(root, Path(columns), closed=closed) if columns else Store(root, closed=closed),
            holdout=Store(Path(told["holdout"]), fetched_by=FETCH_SEALED),
            results_dir=Path(told["results_dir"]),
            storage_url=told["storage_url"],
            min_coverage=told["min_coverage"],
            work=WorkSettings.model_validate(told["work"]),
        )

    def folder(self, run: str) -> Path:
        """A run's own folder."""
        return self.results_dir / run

    def require_candles(self, level: Level) -> None:
        """Refuse to go on without every candle that a level names.

        Raises:
            DataIncomplete: which datasets lack what, the coverage and gaps of each that is thin.
            ForeignFile: where a file is not what its seal says.
            PeriodClosed: where the level names days of the holdout period.
        """
        lacking = [each for dataset in level.datasets if (each := self._missing(dataset, self.store.require_holdout))]
        if not lacking:  # digests and coverage take reading: not while a download goes on
            lacking = [each for dataset in level.datasets if (each := self._missing(dataset, self._require))]
        if lacking:
            more = f"; and {len(lacking) - NAMED} more" if len(lacking) > NAMED else ""
            raise DataIncomplete(f"level {level.name} cannot start: {'; '.join(lacking[:NAMED])}{more}")

    def is_ready(self, level: Level) -> bool:
        """Whether every candle that a level names is sealed."""
        return not any(self._missing(dataset, self.store.require_holdout) for dataset in level.datasets)

    def holdout_missing(self, level: Level) -> str | None:
        """What of the holdout period of a level's datasets is missing, None where nothing is."""
        for dataset in dict.fromkeys(each.source for each in level.datasets):
            try:
                self.holdout.require_holdout(dataset, HOLDOUT_WINDOW)
            except DataIncomplete:
                return f"{dataset}: not all of {HOLDOUT_WINDOW} is there; run: tradeschool fetch --holdout"
            try:
                self.holdout.require(dataset, HOLDOUT_WINDOW, self.min_coverage)
            except DataIncomplete as error:
                return str(error)
        return None

    def digests(self, level: Level) -> dict[str, str]:
        """A short digest of every dataset's whole window, by `dataset window`.

        Raises:
            DataIncomplete: where candles are missing.
        """
        return {
            f"{dataset.dataset} {dataset.window.name}": self.store.digest(dataset.source, dataset.window)[:LENGTH]
            for dataset in level.datasets
        }

    def _require(self, dataset: Dataset, window: Window) -> None:
        self.store.require(dataset, window, self.min_coverage)

    def _missing(self, dataset: LevelDataset, require: Callable[[Dataset, Window], None]) -> str | None:
        """What of a dataset is missing, None where nothing is."""
        try:
            require(dataset.source, dataset.window)
        except DataIncomplete as error:
            return str(error)
        return None
