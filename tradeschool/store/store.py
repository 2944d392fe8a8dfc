"""Dataset store: reads and verifies the parquet files and seals below one root folder.

    <root>/coinbase/BTC-USD/M5/year=2020/20200101-20240101.parquet     candles, one file per range and year
    <root>/coinbase/BTC-USD/M5/20200101-20240101.seal.json             seal, written last: the range is complete
    <root>/.staging/                                                   temporary files

Parquet is read with pyarrow on one thread and returned as NumPy columns, because worker processes fork, and a forked
child of a process that has used polars hangs. `tradeschool.store.frame_store` writes files and reads polars frames.
"""

import copy
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

import numpy as np

from tradeschool.atomic_files import sync
from tradeschool.errors import DataIncomplete, ForeignFile, HoldoutClosed
from tradeschool.markets.calendars import expected_slots
from tradeschool.markets.catalogue import DatasetRange
from tradeschool.markets.grid import grid_of
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.shipped import INSTRUMENTS
from tradeschool.markets.windows import Window, merge, subtract
from tradeschool.ohlcv.arrays import CandleArrays, are_among, no_candles, number_names
from tradeschool.store.candle_columns import read_columns
from tradeschool.store.fetch_command import FETCH, FETCH_SEALED, fetch_command
from tradeschool.store.seal import (
    SEAL_SUFFIX,
    PartFile,
    Seal,
    check_digest,
    is_readable,
    read_seals,
    seal_path,
    seal_paths,
    slots_in,
    write_seal,
)

HOLDOUT_FOLDER = "holdout"
"""Folder below the data folder: root of the separate store of the holdout period, which a search never reads."""
GAPS_NAMED = 3
"""Maximum number of gaps in an error message."""


class Store:
    """Datasets below one root folder.

    `closed` is a time range whose candles cannot be read (the holdout period). `fetched_by` is the command that
    downloads the data; error messages recommend it.
    """

    def __init__(self, root: Path, *, closed: Window | None = None, fetched_by: str = FETCH) -> None:
        self.root = root
        self.closed, self._fetched_by = closed, fetched_by

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
        folders = {path.parent for path in self.root.glob(f"*/*/*/*{SEAL_SUFFIX}")}
        folders |= {path.parent.parent for path in self.root.glob("*/*/*/year=*/*.parquet")}
        return sorted("/".join(folder.relative_to(self.root).parts) for folder in folders)

    def seal(self, dataset: Dataset, seal: Seal) -> None:
        """Write a seal; its files must already exist.

        Raises:
            StoreUnwritable: if the seal cannot be written.
        """
        write_seal(self.root, self.folder(dataset), seal)

    def unseal(self, dataset: Dataset, window: Window) -> None:
        """Remove the seal of a range; its files remain until they are replaced."""
        self.discard([seal_path(self.folder(dataset), window)])

    def unreadable_seals(self, dataset: Dataset) -> list[Path]:
        """Return the seal files of a dataset that cannot be read or belong to another dataset."""
        return [path for path in seal_paths(self.folder(dataset)) if not is_readable(path, dataset)]

    def discard(self, paths: Sequence[Path]) -> None:
        """Remove files of a dataset durably (fsync)."""
        for path in paths:
            path.unlink(missing_ok=True)
        for folder in {path.parent for path in paths}:
            sync(folder)

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
        return read_seals(self.folder(dataset), dataset)

    def stamp(self, dataset: Dataset) -> tuple[tuple[str, int, int], ...]:
        """Return names, times and sizes of a dataset's seals, which change with every added, replaced or removed seal.

        Raises:
            OSError: if the folder cannot be read.
        """
        looks = [(path.name, path.stat()) for path in seal_paths(self.folder(dataset))]
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
                    f"{self._gaps_in(dataset, window)}; see: tradeschool data gaps {dataset}"
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
                f"{dataset}: {parts} is not sealed in {self.root}; run: "
                f"{fetch_command([dataset], Window(missing[0].start, missing[-1].end))}"
            )

    def _refuse_closed(self, dataset: Dataset, window: Window) -> None:
        if self.closed and (part := window.overlap(self.closed)):
            raise HoldoutClosed(
                f"{dataset}: {part} lies in the holdout period {self.closed}, which a search must not read; "
                "use a range outside of it"
            )

    def _gaps_in(self, dataset: Dataset, window: Window) -> str:
        """Return the number of gaps and the longest ones as text."""
        spans = [(gap.slots, Window(gap.start, gap.end)) for seal in self.seals(dataset) for gap in seal.gaps]
        inside = sorted({(slots, gap) for slots, gap in spans if gap.overlap(window)}, key=lambda each: -each[0])
        longest = ", ".join(f"{gap} ({slots:,} candles)" for slots, gap in inside[:GAPS_NAMED])
        return f"gaps: {len(inside):,}, the longest {longest}"

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
        tables = [
            read_columns(self.folder(dataset) / file.path, dataset, part) for file, part in self.parts(dataset, window)
        ]
        if not tables:
            return no_candles(dataset)
        columns = {name: np.concatenate([table[name] for table in tables]) for name in ("ts", *number_names(dataset))}
        half_spread = columns.pop("half_spread", None)
        return CandleArrays(dataset=dataset, time=columns.pop("ts"), half_spread=half_spread, **columns)

    def digest(self, dataset: Dataset, window: Window) -> str:
        """Return a hexadecimal SHA-256 digest of a sealed window; equal digests mean equal candles.

        Raises:
            DataIncomplete: if the window is not sealed.
        """
        total = hashlib.sha256(f"{dataset.name} {window.name}".encode())
        if dataset.instrument not in INSTRUMENTS:  # a listed instrument may have another tick on another machine
            total.update(f" {dataset.instrument.decimals}".encode())
        for file, part in self.parts(dataset, window):
            total.update(f" {part.name} {file.sha256}".encode())
        return total.hexdigest()

    def verify(self, dataset: Dataset) -> list[Seal]:
        """Check all files of a dataset against their digests and return its seals.

        Raises:
            ForeignFile: if a file is missing or changed; names the first one.
        """
        seals = self.seals(dataset)
        for seal in seals:
            for file in seal.files:
                self.check(dataset, file)
        return seals

    def check(self, dataset: Dataset, file: PartFile) -> None:
        """Check a file against its digest.

        Raises:
            ForeignFile: if the file is missing, unreadable or changed.
        """
        check_digest(self.folder(dataset), file, self._fetched_by)

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

    def parts(self, dataset: Dataset, window: Window) -> list[tuple[PartFile, Window]]:
        """Return the files of a sealed window in time order, each with the part of the window to read from it.

        Candles that only begin or end in the window are left out.

        Raises:
            DataIncomplete: if the window is not sealed.
        """
        self.require_holdout(dataset, window)
        parts: list[tuple[PartFile, Window]] = []
        taken: list[Window] = []
        whole = grid_of(dataset).whole(window)
        if whole is None:
            return parts
        for seal in self.seals(dataset):
            for piece in _overlaps(whole, seal.window, taken):
                parts += seal.files_of(piece)
                taken = merge([*taken, piece])
        return sorted(parts, key=lambda part: part[1])


def holdout_store(data_dir: Path) -> Store:
    """Return the store of the holdout period below a data folder."""
    return Store(data_dir / HOLDOUT_FOLDER, fetched_by=FETCH_SEALED)


def _overlaps(window: Window, sealed: Window, taken: list[Window]) -> list[Window]:
    shared = window.overlap(sealed)
    return subtract(shared, taken) if shared else []
