"""Dataset store: reads and verifies the parquet files and seals below one root folder.

    <root>/coinbase/BTC-USD/M5/year=2020/20200101-20240101.parquet     candles, one file per range and year
    <root>/coinbase/BTC-USD/M5/20200101-20240101.seal.json             seal, written last: the range is complete
    <root>/.staging/                                                   temporary files

With data in a bucket, the folder has copies of the seals, and the candles are in a cache; see
`tradeschool.store.bucket_folder`. Parquet is read with pyarrow on one thread and returned as NumPy columns, because worker processes fork, and a forked
child of a process that has used polars hangs. `tradeschool.store.frame_store` writes files and reads polars frames.
"""

import copy
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from tradeschool.atomic_files import publish_text, sha256_of, sync
from tradeschool.errors import DataIncomplete, ForeignFile, HoldoutClosed, first_line
from tradeschool.markets.calendars import expected_slots
from tradeschool.markets.catalogue import DatasetRange
from tradeschool.markets.grid import grid_of
from tradeschool.markets.instruments import Dataset, Instrument
from tradeschool.markets.shipped import INSTRUMENTS
from tradeschool.markets.windows import Window, merge, subtract
from tradeschool.object_storage.bucket_config import DataLocation
from tradeschool.ohlcv.arrays import CandleArrays, are_among, no_candles, number_names
from tradeschool.store.bucket_folder import BucketFolder
from tradeschool.store.seal import PartFile, Seal, is_readable, read_seal, slots_in

SEAL_SUFFIX = ".seal.json"
HOLDOUT_FOLDER = "holdout"
"""Folder below the data folder: root of the separate store of the holdout period, which a search never reads."""
DATASETS_FOLDER = "datasets"
"""Folder of all other seals in a bucket."""
FETCH = "tradeschool fetch"
FETCH_SEALED = f"{FETCH} --holdout"
GAPS_NAMED = 3
"""Maximum number of gaps in an error message."""


class Store:
    """Datasets below one root folder.

    `closed` is a time range whose candles cannot be read (the holdout period). `fetched_by` is the command that
    downloads the data; error messages recommend it.
    """

    def __init__(
        self,
        place: Path | DataLocation,
        *,
        closed: Window | None = None,
        fetched_by: str = FETCH,
        section: str = DATASETS_FOLDER,
    ) -> None:
        """`section` is the folder of the seals in a bucket."""
        self.location = place if isinstance(place, DataLocation) else DataLocation(place)
        self.root = self.location.root
        """The data folder; with data in a bucket, the folder of its seals and of the page ledger."""
        self.closed, self._fetched_by, self._section = closed, fetched_by, section
        bucket = self.location.bucket
        self.bucket = BucketFolder(bucket, self.root, section) if bucket else None

    @classmethod
    def of(cls, store: "Store") -> Self:
        """Return the datasets of another store, as a store of this class."""
        return cls(store.location, closed=store.closed, fetched_by=store._fetched_by, section=store._section)

    def __str__(self) -> str:
        return str(self.bucket or self.root)

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
        self.refresh()
        folders = {path.parent for path in self.root.glob(f"*/*/*/*{SEAL_SUFFIX}")}
        folders |= {path.parent.parent for path in self.root.glob("*/*/*/year=*/*.parquet")}
        return sorted("/".join(folder.relative_to(self.root).parts) for folder in folders)

    def seal(self, dataset: Dataset, seal: Seal) -> None:
        """Write a seal; its files must already exist.

        Raises:
            StoreUnwritable: if the seal cannot be written.
            SealConflict: if another fetcher has sealed other candles of the range in the same bucket.
        """
        path = self.folder(dataset) / f"{seal.window.name}{SEAL_SUFFIX}"
        text = seal.model_dump_json(indent=1) + "\n"
        if self.bucket:
            self.bucket.publish_seal(path.relative_to(self.root).as_posix(), seal, text)
        else:
            publish_text(self.root, path, text)

    def unseal(self, dataset: Dataset, window: Window) -> None:
        """Remove the seal of a range; its files remain until they are replaced."""
        self.discard([self.folder(dataset) / f"{window.name}{SEAL_SUFFIX}"])

    def unreadable_seals(self, dataset: Dataset) -> list[Path]:
        """Return the seal files of a dataset that cannot be read or belong to another dataset."""
        return [path for path in self._seal_paths(dataset) if not is_readable(path, dataset)]

    def discard(self, paths: Sequence[Path]) -> None:
        """Remove files of a dataset durably (fsync), those of a bucket there, too."""
        if self.bucket:
            for path in paths:
                self.bucket.remove_seal(path.relative_to(self.root).as_posix())
            return
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
        found = [read_seal(path, dataset) for path in self._seal_paths(dataset)]
        return sorted(found, key=lambda seal: (seal.start, seal.end))

    def stamp(self, dataset: Dataset) -> tuple[tuple[str, int, int], ...]:
        """Return names, times and sizes of a dataset's seals, which change with every added, replaced or removed seal.

        Raises:
            OSError: if the folder cannot be read.
        """
        looks = [(path.name, path.stat()) for path in self._seal_paths(dataset)]
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
                f"{dataset}: {parts} is not sealed in {self}; run: "
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
            self._read(dataset, file, part) for file, part in self.parts(dataset, window)
        ]
        if not tables:
            return no_candles(dataset)
        columns = {name: np.concatenate([table[name] for table in tables]) for name in ("ts", *number_names(dataset))}
        half_spread = columns.pop("half_spread", None)
        return CandleArrays(dataset=dataset, time=columns.pop("ts"), half_spread=half_spread, **columns)

    def _read(
        self, dataset: Dataset, file: PartFile, part: Window
    ) -> dict[str, NDArray[np.float64] | NDArray[np.int64]]:
        with self.opened(dataset, file) as path:
            return _read_parquet(path, dataset, part)

    @contextmanager
    def opened(self, dataset: Dataset, file: PartFile) -> Iterator[Path]:
        """Yield the path of a file for the block; a file of a bucket is downloaded first and has its digest.

        Raises:
            ForeignFile: if the bucket does not have it.
            ServiceUnreachable: if the bucket does not answer or refuses.
        """
        if self.bucket:
            with self.bucket.opened(file) as path:
                yield path
        else:
            yield self.folder(dataset) / file.path

    def refresh(self, *, at_once: bool = False) -> None:
        """Copy the seals of a bucket that have changed; a local store is always up to date.

        Raises:
            ServiceUnreachable: if the bucket does not answer or refuses.
        """
        if self.bucket:
            self.bucket.refresh(at_once=at_once)

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
                if self.bucket:
                    self.bucket.verify(file)
                else:
                    self.check(dataset, file)
        return seals

    def check(self, dataset: Dataset, file: PartFile) -> None:
        """Check a file against its digest; of a file that is in a bucket only, check its size.

        Raises:
            ForeignFile: if the file is missing, unreadable or changed.
        """
        if self.bucket:
            self.bucket.require(file)
            return
        path = self.folder(dataset) / file.path
        try:
            found = sha256_of(path)
        except OSError as error:
            raise ForeignFile(
                f"{path}: {error.strerror}, but its seal lists it; run {self._fetched_by} to download it again"
            ) from error
        if found != file.sha256:
            raise ForeignFile(
                f"{path}: changed since it was sealed (sha256 {found[:12]}..., expected {file.sha256[:12]}...); "
                f"run {self._fetched_by} to download it again"
            )

    def unknown_files(self, dataset: Dataset) -> list[Path]:
        """Return parquet files that no seal lists: never read, possibly of a download in progress."""
        folder = self.folder(dataset)
        named = {folder / file.path for seal in self.seals(dataset) for file in seal.files}
        return sorted(path for path in folder.rglob("*.parquet") if path not in named)

    def _sound_windows(self, dataset: Dataset) -> list[Window]:
        return [seal.window for seal in self.seals(dataset) if all(self.holds(dataset, file) for file in seal.files)]

    def _seal_paths(self, dataset: Dataset) -> list[Path]:
        self.refresh()
        return sorted(self.folder(dataset).glob(f"*{SEAL_SUFFIX}"))

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
                parts += [(file, year) for file, year in _years(seal, piece)]
                taken = merge([*taken, piece])
        return sorted(parts, key=lambda part: part[1])


def holdout_store(place: Path | DataLocation) -> Store:
    """Return the store of the holdout period below a data folder or in a bucket."""
    location = place if isinstance(place, DataLocation) else DataLocation(place)
    below = replace(location, root=location.root / HOLDOUT_FOLDER)
    return Store(below, fetched_by=FETCH_SEALED, section=HOLDOUT_FOLDER)


def fetch_command(datasets: Sequence[Dataset], window: Window) -> str:
    """Return the command line that fetches a range of an instrument's datasets, in whole days."""
    last = window.end + timedelta(days=1) - timedelta(microseconds=1)
    timeframes = ",".join(dict.fromkeys(dataset.timeframe.name for dataset in datasets))
    return (
        f"{FETCH} --pairs {_pair_argument(datasets[0].instrument)} --timeframes {timeframes} "
        f"--timerange {window.start:%Y%m%d}-{last:%Y%m%d}"
    )


def _pair_argument(instrument: Instrument) -> str:
    return instrument.pair if instrument in INSTRUMENTS else instrument.full_name


def _overlaps(window: Window, sealed: Window, taken: list[Window]) -> list[Window]:
    shared = window.overlap(sealed)
    return subtract(shared, taken) if shared else []


def _years(seal: Seal, piece: Window) -> Iterable[tuple[PartFile, Window]]:
    by_year = {int(file.path.split("/")[0].removeprefix("year=")): file for file in seal.files}
    return [(by_year[year], part) for year, part in piece.years() if year in by_year]


def _read_parquet(path: Path, dataset: Dataset, window: Window) -> dict[str, NDArray[np.float64] | NDArray[np.int64]]:
    # Imported here because the fetcher does not read columns; the import costs it a seventh of memory and start time.
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # ParquetFile, because read_table also imports pyarrow.dataset and, if installed, pandas.
        with pq.ParquetFile(path) as file:
            names = ["ts", *number_names(dataset)]
            # `read` ignores missing columns, `select` does not.
            table = file.read(columns=names, use_threads=False).select(names)
    except (OSError, pa.ArrowException, KeyError) as error:
        raise ForeignFile(f"{path}: cannot be read as candles: {first_line(error)}") from error
    seconds = table["ts"].cast(pa.int64()).to_numpy() // 1_000_000
    first, last = np.searchsorted(seconds, [window.start_seconds, window.end_seconds])
    columns = {name: table[name].to_numpy()[first:last] for name in number_names(dataset)}
    return {"ts": seconds[first:last], **columns}
