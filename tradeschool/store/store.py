"""The store: year files and seals below one root, and what it takes to trust them.

    <root>/coinbase/BTC-USD/M5/year=2020/20200101-20240101.parquet     candles, one file a range and year
    <root>/coinbase/BTC-USD/M5/20200101-20240101.seal.json             written last: the range is complete
    <root>/.staging/                                                   files in the making

Parquet is read with pyarrow on one thread and handed out as NumPy columns, because worker processes fork and a
forked child of a process that has used polars hangs. `tradeschool.store.frames` writes files, and reads frames.
"""

import hashlib
from collections.abc import Iterable, Sequence
from datetime import timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tradeschool.columns import CandleArrays, number_names
from tradeschool.errors import DataIncomplete, ForeignFile, PeriodClosed
from tradeschool.market import Dataset, Wanted, Window, merge, subtract
from tradeschool.sessions import expected_slots
from tradeschool.store.files import publish_text, sha256_of, sync
from tradeschool.store.seal import PartFile, Seal, is_readable, read_seal

SEAL_SUFFIX = ".seal.json"
SEALED_FOLDER = "sealed"
"""Below the data folder: the root of the sealed period's own store, which search code never reads."""
FETCH = "tradeschool fetch"
FETCH_SEALED = f"{FETCH} --sealed"
GAPS_NAMED = 3
"""How many gaps an error names."""


class Store:
    """Datasets below one root folder; `closed` is a range of time whose candles it gives to nobody.

    `fetched_by` is the command that fills it, for errors that say what to do.
    """

    def __init__(self, root: Path, *, closed: Window | None = None, fetched_by: str = FETCH) -> None:
        self.root = root
        self.closed, self._fetched_by = closed, fetched_by

    def folder(self, dataset: Dataset) -> Path:
        """Where a dataset's files are."""
        return self.root / dataset.name

    def seal(self, dataset: Dataset, seal: Seal) -> None:
        """Publish a seal, after its files.

        Raises:
            StoreUnwritable: where the disk does not take it.
        """
        path = self.folder(dataset) / f"{seal.window.name}{SEAL_SUFFIX}"
        publish_text(self.root, path, seal.model_dump_json(indent=1) + "\n")

    def unseal(self, dataset: Dataset, window: Window) -> None:
        """Take a range's seal away; its files stay until they are written again."""
        self.discard([self.folder(dataset) / f"{window.name}{SEAL_SUFFIX}"])

    def unreadable_seals(self, dataset: Dataset) -> list[Path]:
        """Seals that cannot be read, or speak of another dataset."""
        return [path for path in self._seal_paths(dataset) if not is_readable(path, dataset)]

    def discard(self, paths: Sequence[Path]) -> None:
        """Remove files of a dataset, and wait until they are gone from the disk."""
        for path in paths:
            path.unlink(missing_ok=True)
        for folder in {path.parent for path in paths}:
            sync(folder)

    def holds(self, dataset: Dataset, file: PartFile) -> bool:
        """Whether a file is there and what its digest says."""
        try:
            self.check(dataset, file)
        except ForeignFile:
            return False
        return True

    def seals(self, dataset: Dataset) -> list[Seal]:
        """Every sealed range of a dataset, in order of time.

        Raises:
            ForeignFile: where a seal cannot be read, or speaks of another dataset.
        """
        found = [read_seal(path, dataset) for path in self._seal_paths(dataset)]
        return sorted(found, key=lambda seal: (seal.start, seal.end))

    def stamp(self, dataset: Dataset) -> tuple[tuple[str, int, int], ...]:
        """What differs whenever a seal of a dataset was added, replaced or taken away: names, times, sizes.

        Raises:
            OSError: where the folder cannot be looked into.
        """
        looks = [(path.name, path.stat()) for path in self._seal_paths(dataset)]
        return tuple((name, look.st_mtime_ns, look.st_size) for name, look in looks)

    def holds_all(self, wanted: Iterable[Wanted]) -> bool:
        """Whether sound seals cover everything that is wanted.

        Raises:
            ForeignFile: where a seal cannot be read.
        """
        return not any(subtract(want.window, self._sound_windows(want.dataset)) for want in wanted)

    def require(self, dataset: Dataset, window: Window, min_coverage: float = 0.0) -> None:
        """Refuse to go on unless every moment of `window` is sealed and enough of its candles are there.

        Raises:
            DataIncomplete: which part is missing, or the coverage that was reached with its gaps, and what to do.
            ForeignFile: where a file is not what its seal says.
            PeriodClosed: where a part of the window is closed.
        """
        self.require_sealed(dataset, window)
        self.check_files(dataset, window)
        coverage = self.coverage(dataset, window)
        if coverage < min_coverage:
            raise DataIncomplete(
                f"{dataset}: {window} holds {coverage:.2%} of its candles, expected at least {min_coverage:.2%}; "
                f"{self._gaps_in(dataset, window)}; see: tradeschool data gaps {dataset}"
            )

    def require_sealed(self, dataset: Dataset, window: Window) -> None:
        """Refuse to go on unless every moment of `window` is sealed.

        Raises:
            DataIncomplete: which part is missing, and what to do.
            PeriodClosed: where a part of the window is closed.
        """
        self._refuse_closed(dataset, window)
        missing = subtract(window, [seal.window for seal in self.seals(dataset)])
        if missing:
            parts = ", ".join(str(part) for part in missing)
            raise DataIncomplete(
                f"{dataset}: {parts} is not sealed in {self.root}; run: "
                f"{fetch_command([dataset], Window(missing[0].start, missing[-1].end))}"
            )

    def _refuse_closed(self, dataset: Dataset, window: Window) -> None:
        if self.closed and (part := window.overlap(self.closed)):
            raise PeriodClosed(
                f"{dataset}: {part} lies in the sealed period {self.closed}, which no search may read: "
                "name a range outside of it"
            )

    def _gaps_in(self, dataset: Dataset, window: Window) -> str:
        """How many gaps there are, and the longest ones."""
        spans = [(gap.slots, Window(gap.start, gap.end)) for seal in self.seals(dataset) for gap in seal.gaps]
        inside = sorted({(slots, gap) for slots, gap in spans if gap.overlap(window)}, key=lambda each: -each[0])
        longest = ", ".join(f"{gap} ({slots:,} candles)" for slots, gap in inside[:GAPS_NAMED])
        return f"gaps: {len(inside):,}, the longest {longest}"

    def coverage(self, dataset: Dataset, window: Window) -> float:
        """Share of the candles expected in a sealed window that is there; 1 where none is expected."""
        expected = expected_slots(dataset, window)
        if not len(expected):
            return 1.0
        return len(np.intersect1d(expected, self.arrays(dataset, window).time, assume_unique=True)) / len(expected)

    def arrays(self, dataset: Dataset, window: Window) -> CandleArrays:
        """The candles of a sealed window as NumPy columns.

        Raises:
            DataIncomplete: where the window is not sealed.
            ForeignFile: where a file cannot be read.
        """
        tables = [
            _read_parquet(self.folder(dataset) / file.path, dataset, part) for file, part in self.parts(dataset, window)
        ]
        columns = {name: np.concatenate([table[name] for table in tables]) for name in ("ts", *number_names(dataset))}
        half_spread = columns.pop("half_spread", None)
        return CandleArrays(dataset=dataset, time=columns.pop("ts"), half_spread=half_spread, **columns)

    def digest(self, dataset: Dataset, window: Window) -> str:
        """Hexadecimal SHA-256 that stands for the candles of a sealed window: equal digests, equal candles.

        Raises:
            DataIncomplete: where the window is not sealed.
        """
        total = hashlib.sha256(f"{dataset.name} {window.name}".encode())
        for file, part in self.parts(dataset, window):
            total.update(f" {part.name} {file.sha256}".encode())
        return total.hexdigest()

    def verify(self, dataset: Dataset) -> list[Seal]:
        """Every sealed range of a dataset, after its files were held against their digests.

        Raises:
            ForeignFile: the first file that is missing or changed.
        """
        seals = self.seals(dataset)
        for seal in seals:
            for file in seal.files:
                self.check(dataset, file)
        return seals

    def check(self, dataset: Dataset, file: PartFile) -> None:
        """Hold a file against its digest.

        Raises:
            ForeignFile: where it is missing, unreadable or changed.
        """
        path = self.folder(dataset) / file.path
        try:
            found = sha256_of(path)
        except OSError as error:
            raise ForeignFile(
                f"{path}: {error.strerror}, but its seal names it; run {self._fetched_by} to download it again"
            ) from error
        if found != file.sha256:
            raise ForeignFile(
                f"{path}: changed since it was sealed (sha256 {found[:12]}..., expected {file.sha256[:12]}...); "
                f"run {self._fetched_by} to download it again"
            )

    def strays(self, dataset: Dataset) -> list[Path]:
        """Parquet files in a dataset's folder that no seal names: never read, perhaps a download under way."""
        folder = self.folder(dataset)
        named = {folder / file.path for seal in self.seals(dataset) for file in seal.files}
        return sorted(path for path in folder.rglob("*.parquet") if path not in named)

    def _sound_windows(self, dataset: Dataset) -> list[Window]:
        return [seal.window for seal in self.seals(dataset) if all(self.holds(dataset, file) for file in seal.files)]

    def _seal_paths(self, dataset: Dataset) -> list[Path]:
        return sorted(self.folder(dataset).glob(f"*{SEAL_SUFFIX}"))

    def check_files(self, dataset: Dataset, window: Window) -> None:
        """Hold every file of a sealed window against its digest.

        Raises:
            DataIncomplete: where the window is not sealed.
            ForeignFile: the first file that is missing or changed.
        """
        for file, _ in self.parts(dataset, window):
            self.check(dataset, file)

    def parts(self, dataset: Dataset, window: Window) -> list[tuple[PartFile, Window]]:
        """The files that make up a sealed window, in order of time, each with the part of the window it stands for.

        Raises:
            DataIncomplete: where the window is not sealed.
        """
        self.require_sealed(dataset, window)
        parts: list[tuple[PartFile, Window]] = []
        taken: list[Window] = []
        for seal in self.seals(dataset):
            for piece in _overlaps(window, seal.window, taken):
                parts += [(file, year) for file, year in _years(seal, piece)]
                taken = merge([*taken, piece])
        return sorted(parts, key=lambda part: part[1])


def sealed_store(data_dir: Path) -> Store:
    """The store of the sealed period, below a data folder."""
    return Store(data_dir / SEALED_FOLDER, fetched_by=FETCH_SEALED)


def fetch_command(datasets: Sequence[Dataset], window: Window) -> str:
    """What to type to fetch a range of an instrument's datasets, in whole days."""
    last = window.end + timedelta(days=1) - timedelta(microseconds=1)
    timeframes = ",".join(dict.fromkeys(dataset.timeframe.name for dataset in datasets))
    return (
        f"{FETCH} --pairs {datasets[0].instrument.pair} --timeframes {timeframes} "
        f"--timerange {window.start:%Y%m%d}-{last:%Y%m%d}"
    )


def _overlaps(window: Window, sealed: Window, taken: list[Window]) -> list[Window]:
    shared = window.overlap(sealed)
    return subtract(shared, taken) if shared else []


def _years(seal: Seal, piece: Window) -> Iterable[tuple[PartFile, Window]]:
    by_year = {int(file.path.split("/")[0].removeprefix("year=")): file for file in seal.files}
    return [(by_year[year], part) for year, part in piece.years() if year in by_year]


def _read_parquet(path: Path, dataset: Dataset, window: Window) -> dict[str, NDArray[np.float64] | NDArray[np.int64]]:
    # Only where columns are read: a fetcher reads none, and would be a seventh larger and slower to start.
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path, columns=["ts", *number_names(dataset)], use_threads=False, partitioning=None)
    except (OSError, pa.ArrowException, KeyError) as error:
        raise ForeignFile(f"{path}: cannot be read as candles: {first_line(error)}") from error
    seconds = table["ts"].cast(pa.int64()).to_numpy() // 1_000_000
    first, last = np.searchsorted(seconds, [window.start_seconds, window.end_seconds])
    columns = {name: table[name].to_numpy()[first:last] for name in number_names(dataset)}
    return {"ts": seconds[first:last], **columns}


def first_line(error: Exception) -> str:
    """What a library says of its failure, without what follows."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__
