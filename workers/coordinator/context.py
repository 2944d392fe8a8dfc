"""The run context: stores, results folder, study database and settings of a run."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from optimizer.level.level_dataset import LevelDataset
from optimizer.level.searched_store import closed_for
from optimizer.level.spec import Level
from optimizer.runs.fingerprint import LENGTH
from tradeschool.errors import DataError, DataIncomplete, SettingsError
from tradeschool.markets.catalogue import DatasetRange, holdout_catalogue
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.windows import Window
from tradeschool.object_storage.bucket_config import DataLocation
from tradeschool.settings.model import Settings
from tradeschool.settings.sections import WorkSettings
from tradeschool.store import Store, holdout_store
from tradeschool.store.cached_store import CachedStore
from tradeschool.store.fetch_command import FETCH_SEALED, fetch_command
from tradeschool.store.inventory import shares_of
from workers.connection.signing import UNSIGNED, Signer
from workers.isolation.published_modules import module_digests

NAMED = 3
"""Datasets that an error names at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """Stores, folders and settings that every step of a run uses."""

    store: Store
    """The candles; a search reads those of `searched`."""
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
            holdout=holdout_store(settings.data_location()),
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
            "location": self.store.location.as_json(),
            "holdout": self.holdout.location.as_json(),
            "columns": str(self.store.columns) if isinstance(self.store, CachedStore) else None,
            "closed": [closed.start.isoformat(), closed.end.isoformat()] if closed else None,
            "results_dir": str(self.results_dir),
            "storage_url": self.storage_url,
            "min_coverage": self.min_coverage,
            "work": self.work.model_dump(mode="json", exclude={"signing_key", "signing_key_file"}),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "RunContext":
        """Restore a context from `as_json`."""
        location, holdout = (DataLocation.from_json(content[name]) for name in ("location", "holdout"))
        columns = content["columns"]
        closed = Window(*map(datetime.fromisoformat, content["closed"])) if content["closed"] else None
        return cls(
            store=CachedStore(location, Path(columns), closed=closed) if columns else Store(location, closed=closed),
            holdout=Store(holdout, fetched_by=FETCH_SEALED),
            results_dir=Path(content["results_dir"]),
            storage_url=content["storage_url"],
            min_coverage=content["min_coverage"],
            work=WorkSettings.model_validate(content["work"]),
        )

    def folder(self, run: str) -> Path:
        """The folder of a run."""
        return self.results_dir / run

    def searched(self, level: Level) -> Store:
        """The candles of a level's search; refuses the holdout period of its curriculum."""
        return closed_for(self.store, level)

    def require_candles(self, level: Level) -> None:
        """Check the candles of a level.

        Raises:
            DataIncomplete: Candles are missing, or coverage or density is too low; names datasets and gaps.
            ForeignFile: A file does not match its seal.
            HoldoutClosed: The level includes days of the holdout period.
        """
        store = self.searched(level)
        lacking = [each for dataset in level.datasets if (each := self._missing(dataset, store.require_holdout))]
        if not lacking:  # digests and coverage read files: only once the download is complete
            require = partial(self._require, store, level.min_density)
            lacking = [each for dataset in level.datasets if (each := self._missing(dataset, require))]
        if lacking:
            more = f"; and {len(lacking) - NAMED} more" if len(lacking) > NAMED else ""
            raise DataIncomplete(f"level {level.name} cannot start: {'; '.join(lacking[:NAMED])}{more}")

    def is_ready(self, level: Level) -> bool:
        """Whether all candles of a level are sealed."""
        store = self.searched(level)
        return not any(self._missing(dataset, store.require_holdout) for dataset in level.datasets)

    def holdout_missing(self, level: Level) -> str | None:
        """What is missing of the holdout period of a level's datasets; None if it is complete."""
        window = level.holdout.window
        for dataset in dict.fromkeys(each.source for each in level.datasets):
            try:
                self.holdout.require_holdout(dataset, window)
            except DataIncomplete:
                return f"{dataset}: {window} is incomplete; run: {_holdout_command(level, dataset)}"
            try:
                self.holdout.require(dataset, window, self.min_coverage)
            except DataIncomplete as error:
                return str(error)
        return None

    def digests(self, level: Level) -> dict[str, str]:
        """A short digest of every dataset's whole window, by `dataset window`.

        Raises:
            DataIncomplete: Candles are missing.
        """
        store = self.searched(level)
        return {
            f"{dataset.dataset} {dataset.window.name}": store.digest(dataset.source, dataset.window)[:LENGTH]
            for dataset in level.datasets
        }

    def module_digests(self, levels: Sequence[Level]) -> dict[str, str]:
        """The digest of each user's module, by name; empty unless workers can fetch it: from a bucket, with a key."""
        return module_digests(levels) if self.store.location.bucket and self.work.key() else {}

    def candle_shares(self, levels: Iterable[Level]) -> dict[str, tuple[float, float]]:
        """Coverage and density of every sealed dataset's whole window, by `dataset window`."""
        shares = {}
        for store, each in ((self.searched(level), dataset) for level in levels for dataset in level.datasets):
            with suppress(DataError, SettingsError):  # removed since the search
                shares[f"{each.dataset} {each.window.name}"] = shares_of(store, each.source, each.window)
        return shares

    def _require(self, store: Store, min_density: float, dataset: Dataset, window: Window) -> None:
        store.require(dataset, window, self.min_coverage, min_density)

    def _missing(self, dataset: LevelDataset, require: Callable[[Dataset, Window], None]) -> str | None:
        """What is missing of a dataset; None if it is complete."""
        try:
            require(dataset.source, dataset.window)
        except DataIncomplete as error:
            return str(error)
        return None


def _holdout_command(level: Level, dataset: Dataset) -> str:
    """The command that downloads the holdout period of a level's dataset; the short one if it contains it."""
    wanted = DatasetRange(dataset=dataset, window=level.holdout.window)
    if any(each.dataset == dataset and each.window.contains(wanted.window) for each in holdout_catalogue()):
        return FETCH_SEALED
    return f"{fetch_command([dataset], wanted.window)} --holdout"
