"""Publishing: writes stored pages as yearly parquet files, derives longer timeframes and seals them.

It can be killed at any point; the next run continues.
"""

from collections.abc import Callable, Iterable, Iterator, MutableMapping
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from fetcher.download.derive import derive
from fetcher.download.page_ledger import PageLedger, StoredPage
from fetcher.download.plan import DownloadPlan
from fetcher.provider_registry import find
from tradeschool.errors import ForeignFile
from tradeschool.markets.calendars import expected_slots
from tradeschool.markets.catalogue import DatasetRange
from tradeschool.markets.grid import grid_of
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.windows import Window
from tradeschool.ohlcv.arrays import CandleArrays, are_among, joined
from tradeschool.ohlcv.findings import refuse
from tradeschool.ohlcv.frame import Candles
from tradeschool.ohlcv.validation import inspect
from tradeschool.store import Gap, GapReason, PartFile, Seal, Store
from tradeschool.store.frame_store import FrameStore, read_frame


class Publisher:
    """Turns the stored pages of a download into sealed datasets."""

    def __init__(self, store: FrameStore, ledger: PageLedger, now: Callable[[], datetime]) -> None:
        self._store = store
        self._ledger = ledger
        self._now = now

    def forget_lost(self, download: DownloadPlan) -> list[Window]:
        """Delete the records of published, unsealed files that are missing or changed; return the lost windows."""
        lost = []
        for whole, year, file in self._ledger.published(download.dataset, download.wanted.window):
            try:
                self._store.check(download.dataset, file)
            except ForeignFile:
                lost.append(self._ledger.forget(download.dataset, whole, year))
        return lost

    def publish(self, download: DownloadPlan, parsed: MutableMapping[int, Candles] | None = None) -> list[Seal]:
        """Write and seal the dataset of a download and all datasets derived from it.

        `parsed` maps ledger numbers to candles that this process has already parsed; used entries are removed. All
        other pages are read from the ledger and parsed.

        Raises:
            InvalidCandles: if the stored candles violate the contract or have a finding of severity `refuse`.
            StoreUnwritable: if a file cannot be written; existing files are unchanged.
        """
        if download.sealed_base:
            sealed = self._store.candles(download.sealed_base, download.wanted.window)
            return [self._seal_derived(download.wanted, sealed)]
        candles = Candles.of_arrays(
            stored_candles(download.wanted, self._store, self._ledger, parsed), download.wanted.window
        )
        seals = [self._seal(download.wanted, candles, GapReason.CONFIRMED_EMPTY)]
        seals += [self._seal_derived(child, candles) for child in download.derived]
        self._ledger.drop(download.wanted)
        return seals

    def _seal_derived(self, wanted: DatasetRange, base: Candles) -> Seal:
        return self._seal(wanted, derive(base, wanted.dataset.timeframe).within(wanted.window), GapReason.SOURCE_GAP)

    def _seal(self, wanted: DatasetRange, candles: Candles, reason: GapReason) -> Seal:
        findings = inspect(candles)  # before a file is written, because that drops the pages
        refuse(wanted.dataset, findings, f"run: tradeschool data repair {wanted.dataset}")
        expected = expected_slots(wanted.dataset, wanted.window)
        seal = Seal(
            dataset=wanted.dataset.name,
            start=wanted.window.start,
            end=wanted.window.end,
            rows=len(candles),
            expected=len(expected),
            gaps=tuple(gaps(wanted.dataset, expected, candles.times, reason)),
            derived=reason is GapReason.SOURCE_GAP,
            files=tuple(self._year(wanted, candles, year, part) for year, part in wanted.window.years()),
            findings=findings,
            sealed_at=self._now(),
        )
        self._store.seal(wanted.dataset, seal)
        return seal

    def _year(self, wanted: DatasetRange, candles: Candles, year: int, part: Window) -> PartFile:
        file = self._store.write_year(candles.within(part), wanted.window, year)
        self._ledger.publish(wanted, year, part, file)
        return file


def stored_candles(
    wanted: DatasetRange, store: Store, ledger: PageLedger, parsed: MutableMapping[int, Candles] | None = None
) -> CandleArrays:
    """Return all stored candles of an unsealed range; of several versions of a candle, the latest.

    `parsed` maps ledger numbers to candles that are already parsed; used entries are removed.

    Raises:
        ForeignFile: if a file or a stored page cannot be read.
    """
    everything = joined(wanted.dataset, _parts(wanted, store, ledger, {} if parsed is None else parsed))
    is_within = (everything.time >= wanted.window.start_seconds) & (everything.time < wanted.window.end_seconds)
    return everything if is_within.all() else everything[is_within]


def parse_stored(stored: StoredPage, ledger: PageLedger) -> Candles:
    """Parse a response stored in the ledger.

    Raises:
        ForeignFile: if the body does not match its digest.
        InvalidCandles, ProviderUnusable: if this version rejects a response that the storing version accepted.
    """
    return find(stored.page.dataset.instrument.provider, stored.source).parse(ledger.body(stored), stored.page)


def _parts(
    wanted: DatasetRange, store: Store, ledger: PageLedger, parsed: MutableMapping[int, Candles]
) -> Iterator[CandleArrays]:
    for _, _, file in ledger.published(wanted.dataset, wanted.window):
        with store.opened(wanted.dataset, file) as path:
            candles = Candles(wanted.dataset, read_frame(path))
        yield candles.arrays
    for stored in ledger.responses(wanted.dataset, wanted.window):
        known = parsed.pop(stored.number, None)
        yield (parse_stored(stored, ledger) if known is None else known).arrays


def gaps(dataset: Dataset, expected: NDArray[np.int64], present: NDArray[np.int64], reason: GapReason) -> Iterable[Gap]:
    """Yield the gaps: runs of consecutive expected candles that are missing.

    `expected` and `present` are candle opens in Unix seconds, ascending.
    """
    positions = np.flatnonzero(~are_among(expected, present))
    runs = np.split(positions, np.flatnonzero(np.diff(positions) != 1) + 1) if len(positions) else []
    grid = grid_of(dataset)
    for run in runs:
        window = Window.of_seconds(int(expected[run[0]]), grid.close_of(int(expected[run[-1]])))
        yield Gap(start=window.start, end=window.end, slots=len(run), reason=reason)
