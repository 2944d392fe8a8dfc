"""The run context: stores, results folder, study database and settings of a run."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from optimizer.level.spec import Level, LevelDataset
from optimizer.runs.fingerprint import LENGTH
from tradeschool.errors import DataError, DataIncomplete, SettingsError
from tradeschool.markets.catalogue import HOLDOUT_WINDOW
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.windows import Window
from tradeschool.settings.model import Settings
from tradeschool.settings.sections import WorkSettings
from tradeschool.store import Store, holdout_store
from tradeschool.store.cached_store import CachedStore
from tradeschool.store.inventory import shares_of
from tradeschool.store.store import FETCH_SEALED
from workers.connection.signing import UNSIGNED, Signer

NAMED = 3
"""Datasets that an error names at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """Stores, folders and settings that every step of a run uses."""

    store: Store
    """The candles of searches; refuses the holdout period."""
    holdout: Store
    """The candles of the holdout period, read once at the end of a run."""
    results_dir: Path
    storage_url: str
    min_coverage: float
    work: WorkSettings
    signer: Signer = UNSIGNED
    """Signs and checks what is sent through Redis."""

    @classmethod
    def of(cls, settings: Settings, store: Store, signer: Signer) -> "RunContext":
        """The context of the settings, with that store."""
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
        """As JSON for `from_json` in another process; without the signer, because that process does not use Redis."""
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
    def from_json(cls, content: Mapping[str, Any]) -> "RunContext":
        """Restore a context from `as_json`."""
        root, columns = Path(content["root"]), content["columns"]
        closed = Window(*map(datetime.fromisoformat, content["closed"])) if content["closed"] else None
        return cls(
            store=CachedStore(root, Path(columns), closed=closed) if columns else Store(root, closed=closed),
            holdout=Store(Path(content["holdout"]), fetched_by=FETCH_SEALED),
            results_dir=Path(content["results_dir"]),
            storage_url=content["storage_url"],
            min_coverage=content["min_coverage"],
            work=WorkSettings.model_validate(content["work"]),
        )

    def folder(self, run: str) -> Path:
        """The folder of a run."""
        return self.results_dir / run

    def require_candles(self, level: Level) -> None:
        """Check the candles of a level.

        Raises:
            DataIncomplete: Candles are missing, or coverage or density is too low; names datasets and gaps.
            ForeignFile: A file does not match its seal.
            HoldoutClosed: The level includes days of the holdout period.
        """
        lacking = [each for dataset in level.datasets if (each := self._missing(dataset, self.store.require_holdout))]
        if not lacking:  # digests and coverage read files: only once the download is complete
            require = partial(self._require, level.min_density)
            lacking = [each for dataset in level.datasets if (each := self._missing(dataset, require))]
        if lacking:
            more = f"; and {len(lacking) - NAMED} more" if len(lacking) > NAMED else ""
            raise DataIncomplete(f"level {level.name} cannot start: {'; '.join(lacking[:NAMED])}{more}")

    def is_ready(self, level: Level) -> bool:
        """Whether all candles of a level are sealed."""
        return not any(self._missing(dataset, self.store.require_holdout) for dataset in level.datasets)

    def holdout_missing(self, level: Level) -> str | None:
        """What is missing of the holdout period of a level's datasets; None if it is complete."""
        for dataset in dict.fromkeys(each.source for each in level.datasets):
            try:
                self.holdout.require_holdout(dataset, HOLDOUT_WINDOW)
            except DataIncomplete:
                return f"{dataset}: {HOLDOUT_WINDOW} is incomplete; run: tradeschool fetch --holdout"
            try:
                self.holdout.require(dataset, HOLDOUT_WINDOW, self.min_coverage)
            except DataIncomplete as error:
                return str(error)
        return None

    def digests(self, level: Level) -> dict[str, str]:
        """A short digest of every dataset's whole window, by `dataset window`.

        Raises:
            DataIncomplete: Candles are missing.
        """
        return {
            f"{dataset.dataset} {dataset.window.name}": self.store.digest(dataset.source, dataset.window)[:LENGTH]
            for dataset in level.datasets
        }

    def candle_shares(self, levels: Iterable[Level]) -> dict[str, tuple[float, float]]:
        """Coverage and density of every sealed dataset's whole window, by `dataset window`."""
        shares = {}
        for each in (dataset for level in levels for dataset in level.datasets):
            with suppress(DataError, SettingsError):  # removed since the search
                shares[f"{each.dataset} {each.window.name}"] = shares_of(self.store, each.source, each.window)
        return shares

    def _require(self, min_density: float, dataset: Dataset, window: Window) -> None:
        self.store.require(dataset, window, self.min_coverage, min_density)

    def _missing(self, dataset: LevelDataset, require: Callable[[Dataset, Window], None]) -> str | None:
        """What is missing of a dataset; None if it is complete."""
        try:
            require(dataset.source, dataset.window)
        except DataIncomplete as error:
            return str(error)
        return None
