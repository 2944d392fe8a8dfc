"""Sealing of an import: inspects the candles of each year, then writes and seals them all."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fetcher.download.sealing import gaps
from fetcher.importing.candle_times import close_of
from fetcher.importing.collection import Collection
from fetcher.importing.scale_check import check_scale
from tradeschool.errors import InvalidCandles, SettingsError
from tradeschool.markets.calendars import expected_slots
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.windows import Window
from tradeschool.ohlcv.findings import Finding, FindingKind, refuse
from tradeschool.ohlcv.frame import Candles, schema
from tradeschool.ohlcv.validation import inspect
from tradeschool.store import Gap, GapReason, Seal, Store
from tradeschool.store.frame_store import FrameStore
from tradeschool.store.seal import IMPORTED

CONTEXT = timedelta(days=7)
"""How much of the year before is inspected together with a year, because some checks compare neighbours."""
SHOWN_FILES = 1
"""Names of files in the source of a seal; the number of the others follows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspected:
    """What will be sealed: a range of a dataset with its gaps and findings."""

    dataset: Dataset
    window: Window
    rows: int
    expected: int
    gaps: tuple[Gap, ...]
    findings: tuple[Finding, ...]


def inspected(collection: Collection, window: Window | None, store: Store) -> Inspected:
    """Inspect the candles of an import; nothing is written.

    Raises:
        InvalidCandles: if there are none, they violate the contract, or have a finding of severity `refuse`.
        SettingsError: if the range is already sealed and not by an import inside of it.
    """
    dataset, names = collection.dataset, ", ".join(facts.name for facts in collection.facts[:2])
    if not collection.candles.years:
        raise InvalidCandles(f"{names}: no candles{f' in {window}' if window else ''}")
    window = window or _spanned(collection)
    _refuse_overlaps(dataset, window, store)
    check_scale(collection, window, store)
    found: list[Finding] = []
    counter = _GapCounter(dataset, window)
    tail: pl.DataFrame | None = None
    for year, part in window.years():
        candles = _candles(collection, year, part)
        found += _findings(candles, tail, year, window)
        tail = candles.frame.filter(pl.col("ts") >= part.end - CONTEXT)
        counter.add(part, candles.times)
    start, end = window.start, window.end
    # A dropped candle begins at `end`.
    touching = [
        each for each in (*collection.findings, *_swapped(collection)) if start <= each.end and each.start <= end
    ]
    refuse(dataset, found, f"check {names}, the time zone and the timeframe")
    return Inspected(
        dataset=dataset,
        window=window,
        rows=counter.rows,
        expected=counter.expected,
        gaps=tuple(counter.found),
        findings=(*found, *touching),
    )


def seal_import(collection: Collection, ready: Inspected, store: FrameStore, now: datetime) -> Seal:
    """Write the candles and seal them; imported ranges inside are replaced.

    Raises:
        StoreUnwritable: if a file cannot be written.
    """
    for seal in _touched(ready.dataset, ready.window, store):
        store.unseal(ready.dataset, seal.window)
    files = [
        store.write_year(_candles(collection, year, part), ready.window, year) for year, part in ready.window.years()
    ]
    seal = Seal(
        dataset=ready.dataset.name,
        start=ready.window.start,
        end=ready.window.end,
        rows=ready.rows,
        expected=ready.expected,
        gaps=ready.gaps,
        derived=False,
        source=source_of([reader.file.file_name for reader in collection.readers]),
        files=tuple(files),
        findings=ready.findings,
        sealed_at=now,
    )
    store.seal(ready.dataset, seal)
    return seal


def source_of(names: list[str]) -> str:
    """Return the source of a seal: the name of the first file and the number of the others."""
    more = len(names) - SHOWN_FILES
    return f"{IMPORTED}{names[0]}" + (f" and {more:,} more" if more else "")


def _spanned(collection: Collection) -> Window:
    """Return the window from the first candle's open to the last candle's close."""
    years = collection.candles.years
    first, last = (collection.candles.read(year)["ts"] for year in (years[0], years[-1]))
    return Window(first.item(0), close_of(last.item(-1), collection.dataset))


def _candles(collection: Collection, year: int, part: Window) -> Candles:
    if year not in collection.candles.years:
        return Candles.empty(collection.dataset)
    frame = collection.candles.read(year).select(schema(collection.dataset).keys())
    return Candles.parse(frame, collection.dataset, part)


def _findings(candles: Candles, tail: pl.DataFrame | None, year: int, window: Window) -> list[Finding]:
    """Return the findings of a year; the end of the year before is there for comparison only."""
    frame = candles.frame if tail is None else pl.concat([tail, candles.frame])
    everything = Candles(candles.dataset, frame)
    return [each for each in inspect(everything) if each.start.year == year and window.start <= each.start]


def _swapped(collection: Collection) -> list[Finding]:
    found = []
    for reader in collection.readers:
        if not reader.facts.swapped:
            continue
        rows = sum(count for _, count in reader.facts.swapped)
        times = [time for time, _ in reader.facts.swapped]
        words = f"the volume columns of {reader.file.file_name} are swapped in {rows} rows; the base volume was used"
        end = close_of(max(times), collection.dataset)
        start = min(times)
        found.append(Finding(kind=FindingKind.SWAPPED_VOLUMES, start=start, end=end, rows=rows, message=words))
    return found


def _touched(dataset: Dataset, window: Window, store: Store) -> list[Seal]:
    return [seal for seal in store.seals(dataset) if seal.window.overlap(window)]


def _refuse_overlaps(dataset: Dataset, window: Window, store: Store) -> None:
    """Refuse a range that overlaps a sealed one, unless that was imported and lies inside."""
    for seal in _touched(dataset, window, store):
        if not (seal.is_imported and window.contains(seal.window)):
            raise SettingsError(
                f"{dataset}: {window} overlaps {seal.window}, which is already sealed ({seal.source}); "
                "use a --timerange that does not overlap"
            )


class _GapCounter:
    """Counts rows and expected candles year by year and joins a gap that continues in the next year."""

    def __init__(self, dataset: Dataset, window: Window) -> None:
        self._dataset, self._window = dataset, window
        self._ends_in_gap = False
        self.rows, self.expected = 0, 0
        self.found: list[Gap] = []

    def add(self, part: Window, times: NDArray[np.int64]) -> None:
        """Count the candles of the next part of the range."""
        expected = self._expected(part)
        new = list(gaps(self._dataset, expected, times, GapReason.NOT_IN_FILE))
        self.rows, self.expected = self.rows + len(times), self.expected + len(expected)
        if not len(expected):
            return
        begins_in_gap = bool(new) and new[0].start.timestamp() == expected[0]
        if self._ends_in_gap and begins_in_gap:
            before = self.found.pop()
            joined = {"start": before.start, "slots": before.slots + new[0].slots}
            new[0] = new[0].model_copy(update=joined)
        last = close_of(datetime.fromtimestamp(int(expected[-1]), UTC), self._dataset)
        self._ends_in_gap = bool(new) and new[-1].end == last
        self.found += new

    def _expected(self, part: Window) -> NDArray[np.int64]:
        """Return the opens of the candles that begin in a part, also of the one that ends after it."""
        end = min(self._window.end, part.end + 2 * self._dataset.timeframe.duration)
        expected = expected_slots(self._dataset, Window(part.start, end))
        return expected[expected < part.end_seconds]
