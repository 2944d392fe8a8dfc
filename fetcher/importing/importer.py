"""Import of candle files: understands, reads, inspects and seals them; nothing is stored if anything is wrong."""

import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from fetcher.importing.collection import Collection, collect
from fetcher.importing.file_facts import FileFacts
from fetcher.importing.file_reader import FileReader
from fetcher.importing.files.sources import CandleFile, find_files
from fetcher.importing.instrument_choice import (
    check_one_instrument,
    chosen_instrument,
    chosen_timeframe,
    store_definition,
)
from fetcher.importing.request import ImportRequest
from fetcher.importing.sealing import Inspected, inspected, seal_import
from tradeschool.atomic_files import STAGING
from tradeschool.errors import InvalidCandles
from tradeschool.markets.instruments import Dataset
from tradeschool.store import Seal
from tradeschool.store.frame_store import FrameStore

ReportProgress = Callable[[str, int, int], None]
"""Is told the name of the file being read, the bytes read of all files, and their total."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedDataset:
    """What was understood of the files of one dataset, and the seal unless it was a dry run."""

    ready: Inspected
    files: tuple[FileFacts, ...]
    notes: tuple[str, ...]
    seal: Seal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportResult:
    """What an import did, or with a dry run would do."""

    datasets: tuple[ImportedDataset, ...]
    ignored: tuple[str, ...]
    """Files in folders and archives that are no candle files."""


def import_candles(
    paths: Iterable[str | Path],
    request: ImportRequest,
    store: FrameStore,
    *,
    now: datetime,
    dry_run: bool = False,
    progress: ReportProgress = lambda name, done, total: None,
) -> ImportResult:
    """Import the candles of files, folders, globs and archives, and seal each dataset.

    Raises:
        InvalidCandles: if a file cannot be read, or candles break a rule; names the file and the line.
        SettingsError: if an option is missing or does not fit, or the range is already sealed.
        StoreUnwritable: if a file cannot be written.
    """
    found = find_files(paths)
    readers, ignored = _readers(found.files, request)
    report = _reporter([reader.file for reader in readers], progress)
    with ExitStack() as stack:
        folder = store.root / STAGING
        if dry_run:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tradeschool-import-")))
        collections = []
        for dataset, group in _by_dataset(readers, request).items():
            collection = collect(dataset, group, request, folder, now, report)
            stack.callback(collection.close)
            collections.append(collection)
        ready = [inspected(collection, request.window, store) for collection in collections]
        if not dry_run:
            for collection in collections:
                store_definition(collection.dataset.instrument, store.root, request)
        sealed = [
            _sealed(collection, each, store, now, dry_run=dry_run)
            for collection, each in zip(collections, ready, strict=True)
        ]
    return ImportResult(datasets=tuple(sealed), ignored=(*found.ignored, *ignored))


def _sealed(
    collection: Collection, ready: Inspected, store: FrameStore, now: datetime, *, dry_run: bool
) -> ImportedDataset:
    seal = None if dry_run else seal_import(collection, ready, store, now)
    return ImportedDataset(ready=ready, files=tuple(collection.facts), notes=tuple(collection.notes), seal=seal)


def _readers(files: Iterable[CandleFile], request: ImportRequest) -> tuple[list[FileReader], list[str]]:
    """Open all files; texts of folders and archives that are no tables are ignored."""
    readers, ignored = [], []
    for file in files:
        try:
            readers.append(FileReader(file, request))
        except InvalidCandles:
            if file.is_named or file.suffix != ".txt":
                raise
            ignored.append(file.name)
    if not readers:
        raise InvalidCandles(f"{', '.join(ignored)}: no candle files")
    return readers, ignored


def _by_dataset(readers: Sequence[FileReader], request: ImportRequest) -> dict[Dataset, list[FileReader]]:
    check_one_instrument([(reader.file, reader.layout) for reader in readers], request)
    groups: dict[Dataset, list[FileReader]] = {}
    for reader in readers:
        instrument = chosen_instrument(reader.file, reader.layout, request)
        timeframe = chosen_timeframe(reader.file, request, reader.sample_step)
        groups.setdefault(Dataset(instrument=instrument, timeframe=timeframe), []).append(reader)
    return groups


def _reporter(files: Sequence[CandleFile], progress: ReportProgress) -> Callable[[str, int], None]:
    """Return a function that adds up the bytes of all files and reports them."""
    total = sum(file.size for file in files)
    done: dict[str, int] = {}

    def report(name: str, bytes_read: int) -> None:
        done[name] = bytes_read
        progress(name, sum(done.values()), total)

    return report
