"""Dataset store: reads and verifies the parquet files and seals below one root folder.

    <root>/coinbase/BTC-USD/M5/year=2020/20200101-20240101.parquet     candles, one file per range and year
    <root>/coinbase/BTC-USD/M5/20200101-20240101.seal.json             seal, written last: the range is complete
    <root>/.staging/                                                   temporary files

With data in a bucket, `<root>` has copies of the seals only; see `tradeschool.store.bucket_folder`.

Parquet is read with pyarrow on one thread and returned as NumPy columns, because worker processes fork, and a forked
child of a process that has used polars hangs. `tradeschool.store.frame_store` writes files and reads polars frames.
"""

import copy
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Self

import numpy as np

from tradeschool.errors import DataIncomplete, ForeignFile, HoldoutClosed
from tradeschool.markets.calendars import expected_slots
from tradeschool.markets.catalogue import DatasetRange
from tradeschool.markets.grid import grid_of
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.windows import Window, subtract
from tradeschool.object_storage.bucket_config import DataLocation
from tradeschool.ohlcv.arrays import CandleArrays, are_among, no_candles, number_names
from tradeschool.store.bucket_folder import BucketFolder
from tradeschool.store.candle_columns import Columns, read_columns
from tradeschool.store.fetch_command import FETCH, FETCH_SEALED, fetch_command
from tradeschool.store.local_folder import LocalFolder
from tradeschool.store.seal import (
    SEAL_SUFFIX,
    PartFile,
    Seal,
    is_readable,
    read_seals,
    seal_path,
    seal_paths,
    slots_in,
)
from tradeschool.store.sealed_parts import Parts, digest_of, longest_gaps, parts_of

HOLDOUT_FOLDER = "holdout"
"""Folder below the data folder: root of the separate store of the holdout period, which a search never reads."""


class Store:
    """Datasets below one root folder.

    `closed` is a time range whose candles cannot be read (the holdout period). `fetched_by` is the command that
    downloads the data; error messages recommend it.
    """

    def __init__(self, place: Path | DataLocation, *, closed: Window | None = None, fetched_by: str = FETCH) -> None:
        self.location = DataLocation.of(place)
        self.root = self.location.root
        self.closed, self._fetched_by = closed, fetched_by
        self.bucket = BucketFolder(self.location) if self.location.bucket else None
        self._files = self.bucket or LocalFolder(self.root, fetched_by)

    @classmethod
    def of(cls, store: "Store") -> Self:
        """Return the datasets of another store, as a store of this class."""
        return cls(store.location, closed=store.closed, fetched_by=store._fetched_by)

    def __str__(self) -> str:
        return str(self.location)

    def with_closed(self, window: Window) -> Self:
        """Return the same store with `window` as the only range that cannot be read."""
        other = copy.copy(self)
        other.closed = window
        return other

    def folder(self, dataset: Dataset) -> Path:
        """Return the folder of a dataset."""
        return self.root / dataset.name

    def dataset_names(self) -> list[str]:
        """Return the names of all datasets with a folder, sealed or not, in alphabetical order."""
        self._files.refresh()
        folders = {path.parent for path in self.root.glob(f"*/*/*/*{SEAL_SUFFIX}")}
        folders |= {path.parent.parent for path in self.root.glob("*/*/*/year=*/*.parquet")}
        return sorted("/".join(folder.relative_to(self.root).parts) for folder in folders)

    def seal(self, dataset: Dataset, seal: Seal) -> None:
        """Write a seal; its files must already exist.

        Raises:
            StoreUnwritable: if the seal cannot be written.
            SealConflict: if another fetcher has sealed other candles of the range in the same bucket.
        """
        self._files.write_seal(self.folder(dataset), seal)

    def unseal(self, dataset: Dataset, window: Window) -> None:
        """Remove the seal of a range; its files remain until they are replaced."""
        self.discard([seal_path(self.folder(dataset), window)])

    def unreadable_seals(self, dataset: Dataset) -> list[Path]:
        """Return the seal files of a dataset that cannot be read or belong to another dataset."""
        return [path for path in seal_paths(self._fresh_folder(dataset)) if not is_readable(path, dataset)]

    def discard(self, paths: Sequence[Path]) -> None:
        """Remove seals of a dataset durably."""
        self._files.discard(paths)

    def holds(self, dataset: Dataset, file: PartFile) -> bool:
        """Whether a file exists and matches its digest."""
        try:
            self.check(dataset, file)
        except ForeignFile:
            return False
        return True

    def seals(self, dataset: Dataset) -> list[Seal]:
        """Return all seals of a dataset in time order.

        Raises:
            ForeignFile: if a seal cannot be read or belongs to another dataset.
        """
        return read_seals(self._fresh_folder(dataset), dataset)

    def stamp(self, dataset: Dataset) -> tuple[tuple[str, int, int], ...]:
        """Return names, times and sizes of a dataset's seals, which change with every added, replaced or removed seal.

        Raises:
            OSError: if the folder cannot be read.
        """
        looks = [(path.name, path.stat()) for path in seal_paths(self._fresh_folder(dataset))]
        return tuple((name, look.st_mtime_ns, look.st_size) for name, look in looks)

    def holds_all(self, wanted: Iterable[DatasetRange]) -> bool:
        """Whether seals with intact files cover all wanted ranges.

        Raises:
            ForeignFile: if a seal cannot be read.
        """
        return not any(
            subtract(whole, self._sound_windows(want.dataset))
            for want in wanted
            if (whole := grid_of(want.dataset).whole(want.window))
        )

    def require(self, dataset: Dataset, window: Window, min_coverage: float = 0.0, min_density: float = 0.0) -> None:
        """Check that the whole `window` is sealed with intact files, and a sufficient coverage and density.

        Raises:
            DataIncomplete: if a part is not sealed, or coverage or density is too low; says which part and what to do.
            ForeignFile: if a file does not match its seal.
            HoldoutClosed: if the window overlaps the holdout period.
        """
        self.require_holdout(dataset, window)
        self.check_files(dataset, window)
        for measure, minimum, meaning in (
            (self.coverage, min_coverage, "of its candles accounted for"),
            (self.density, min_density, "of its candles traded"),
        ):
            if minimum and (found := measure(dataset, window)) < minimum:
                raise DataIncomplete(
                    f"{dataset}: {window} has {found:.2%} {meaning}, expected at least {minimum:.2%}; "
                    f"{longest_gaps(self.seals(dataset), window)}; see: tradeschool data gaps {dataset}"
                )

    def require_holdout(self, dataset: Dataset, window: Window) -> None:
        """Check that all candles that lie in `window` are sealed.

        Raises:
            DataIncomplete: if a part is not sealed; says which part and what to do.
            HoldoutClosed: if the window overlaps the holdout period.
        """
        self._refuse_closed(dataset, window)
        whole = grid_of(dataset).whole(window)
        missing = subtract(whole, [seal.window for seal in self.seals(dataset)]) if whole else []
        if missing:
            parts = ", ".join(str(part) for part in missing)
            raise DataIncomplete(
                f"{dataset}: {parts} is not sealed in {self}; run: "
                f"{fetch_command([dataset], Window(missing[0].start, missing[-1].end))}"
            )

    def _refuse_closed(self, dataset: Dataset, window: Window) -> None:
        if self.closed and (part := window.overlap(self.closed)):
            raise HoldoutClosed(
                f"{dataset}: {part} lies in the holdout period {self.closed}, which a search must not read; "
                "use a range outside of it"
            )

    def coverage(self, dataset: Dataset, window: Window) -> float:
        """Return the fraction of expected candles in a sealed window that is stored or confirmed not to exist."""
        expected = expected_slots(dataset, window)
        if not len(expected):
            return 1.0
        lost = slots_in(expected, [gap for seal in self.seals(dataset) for gap in seal.unaccounted])
        lost &= ~are_among(expected, self.arrays(dataset, window).time)  # another seal may have the candles
        return 1.0 - float(lost.mean())

    def density(self, dataset: Dataset, window: Window) -> float:
        """Return the fraction of expected candles in a sealed window that is stored; 1 if none is expected."""
        expected = expected_slots(dataset, window)
        if not len(expected):
            return 1.0
        return len(np.intersect1d(expected, self.arrays(dataset, window).time, assume_unique=True)) / len(expected)

    def arrays(self, dataset: Dataset, window: Window) -> CandleArrays:
        """Return the candles of a sealed window as NumPy columns.

        Raises:
            DataIncomplete: if the window is not sealed.
            ForeignFile: if a file cannot be read.
        """
        tables = [self._columns(dataset, file, part) for file, part in self.parts(dataset, window)]
        if not tables:
            return no_candles(dataset)
        columns = {name: np.concatenate([table[name] for table in tables]) for name in ("ts", *number_names(dataset))}
        half_spread = columns.pop("half_spread", None)
        return CandleArrays(dataset=dataset, time=columns.pop("ts"), half_spread=half_spread, **columns)

    def _columns(self, dataset: Dataset, file: PartFile, part: Window) -> Columns:
        with self.opened(dataset, file) as path:
            return read_columns(path, dataset, part)

    def opened(self, dataset: Dataset, file: PartFile) -> AbstractContextManager[Path]:
        """Return a context with the path of a file; one of a bucket is downloaded, and removed from the cache later.

        Raises:
            ForeignFile: if the bucket does not have it, or has other content.
            ServiceUnreachable: if the bucket does not answer or refuses.
        """
        return self._files.opened(self.folder(dataset), file)

    def _fresh_folder(self, dataset: Dataset) -> Path:
        """Return the folder of a dataset with the current seals."""
        self._files.refresh()
        return self.folder(dataset)

    def digest(self, dataset: Dataset, window: Window) -> str:
        """Return a hexadecimal SHA-256 digest of a sealed window; equal digests mean equal candles.

        Raises:
            DataIncomplete: if the window is not sealed.
        """
        return digest_of(dataset, window, self.parts(dataset, window))

    def verify(self, dataset: Dataset) -> list[Seal]:
        """Check all files of a dataset against their digests and return its seals.

        Raises:
            ForeignFile: if a file is missing or changed; names the first one.
        """
        seals = self.seals(dataset)
        for seal in seals:
            for file in seal.files:
                self._files.verify(self.folder(dataset), file)
        return seals

    def check(self, dataset: Dataset, file: PartFile) -> None:
        """Check a file against its digest; of a file that is only in a bucket, check the size.

        Raises:
            ForeignFile: if the file is missing, unreadable or changed.
        """
        self._files.check(self.folder(dataset), file)

    def unknown_files(self, dataset: Dataset) -> list[Path]:
        """Return parquet files that no seal lists: never read, possibly of a download in progress."""
        folder = self.folder(dataset)
        named = {folder / file.path for seal in self.seals(dataset) for file in seal.files}
        return sorted(path for path in folder.rglob("*.parquet") if path not in named)

    def _sound_windows(self, dataset: Dataset) -> list[Window]:
        return [seal.window for seal in self.seals(dataset) if all(self.holds(dataset, file) for file in seal.files)]

    def check_files(self, dataset: Dataset, window: Window) -> None:
        """Check all files of a sealed window against their digests.

        Raises:
            DataIncomplete: if the window is not sealed.
            ForeignFile: if a file is missing or changed; names the first one.
        """
        for file, _ in self.parts(dataset, window):
            self.check(dataset, file)

    def parts(self, dataset: Dataset, window: Window) -> Parts:
        """Return the files of a sealed window in time order, each with the part of the window to read from it.

        Candles that only begin or end in the window are left out.

        Raises:
            DataIncomplete: if the window is not sealed.
        """
        self.require_holdout(dataset, window)
        return parts_of(self.seals(dataset), grid_of(dataset).whole(window))


def holdout_store(place: Path | DataLocation) -> Store:
    """Return the store of the holdout period below a data folder or in a bucket."""
    return Store(DataLocation.of(place).below(HOLDOUT_FOLDER), fetched_by=FETCH_SEALED)
