"""Settled candles: sealed ones, those of the holdout period, and those that a continuous download has only stored.

`fetch --follow` seals a year when it is complete; until then its candles are in the page ledger. A timeframe that is
not stored there is derived from a shorter one, as the seal will be.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Self

from fetcher.download.derive import derive
from fetcher.download.ledger_database import FILE_NAME
from fetcher.download.page_ledger import PageLedger
from fetcher.download.sealing import stored_candles
from optimizer.forward.paper_account import needed_window
from optimizer.forward.rule import ForwardDataset, day_after, midnight
from tradeschool.errors import DataIncomplete
from tradeschool.markets.calendars import expected_slots
from tradeschool.markets.catalogue import DatasetRange
from tradeschool.markets.grid import grid_of
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.windows import Window, merge, subtract
from tradeschool.ohlcv.arrays import CandleArrays, joined, no_candles
from tradeschool.ohlcv.frame import Candles
from tradeschool.store import Store
from tradeschool.store.fetch_command import fetch_command


class SettledCandles:
    """Reads the settled candles of several stores; a context manager, for one thread at a time."""

    def __init__(self, stores: Sequence[Store]) -> None:
        self._stores = stores
        self._ledgers: list[tuple[Store, PageLedger]] = []
        self._open = ExitStack()

    def __enter__(self) -> Self:
        """Open the page ledgers that exist."""
        there = [store for store in self._stores if (store.root / FILE_NAME).exists()]
        self._ledgers = [(store, self._open.enter_context(PageLedger(store.root))) for store in there]
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def covered(self, dataset: Dataset) -> list[Window]:
        """Return the ranges whose candles are all stored or confirmed not to exist, as the fewest possible ones."""
        return merge([window for window, *_ in self._sources(dataset)])

    def missing(self, dataset: Dataset, window: Window) -> list[Window]:
        """Return the parts of a window with expected candles that are not covered."""
        return [part for part in subtract(window, self.covered(dataset)) if len(expected_slots(dataset, part))]

    def arrays(self, dataset: Dataset, window: Window) -> CandleArrays:
        """Return the candles of a window.

        Raises:
            DataIncomplete: a part of it is not covered; says which.
            ForeignFile: a file or a stored page cannot be read.
        """
        if missing := self.missing(dataset, window):
            raise DataIncomplete(waiting_for(dataset, missing))
        parts, left = [], [window]
        for covered, reader in self._sources(dataset):
            taken = [shared for piece in left if (shared := piece.overlap(covered))]
            parts += [reader.read(piece) for piece in taken]
            left = [rest for piece in left for rest in subtract(piece, taken)]
        return joined(dataset, [part for part in parts if len(part)])

    def _sources(self, dataset: Dataset) -> Iterator[tuple[Window, "CandleReader"]]:
        """Yield covered ranges with the function that reads a part of them: the dataset's own first, then shorter ones.

        A stored page of a sealed range has no body any more, so ledgers give only what is not sealed.
        """
        for base in (dataset, *(dataset.at(each) for each in reversed(dataset.timeframe.finer))):
            sealed = {store.root: merge([seal.window for seal in store.seals(base)]) for store in self._stores}
            found: list[tuple[Window, Store, PageLedger | None]] = []
            found += [(window, store, None) for store in self._stores for window in sealed[store.root]]
            for store, pages in self._ledgers:
                stored = [part for each in merge(pages.covered(base)) for part in subtract(each, sealed[store.root])]
                found += [(window, store, pages) for window in stored]
            for window, store, ledger in found:
                if whole := grid_of(dataset).whole(window):
                    yield whole, CandleReader(dataset=dataset, base=base, store=store, ledger=ledger)


@dataclass(frozen=True, slots=True, kw_only=True)
class CandleReader:
    """Reads parts of a covered range of one store."""

    dataset: Dataset
    base: Dataset
    """The dataset that is stored: the same one, or a shorter timeframe of it."""
    store: Store
    ledger: PageLedger | None
    """None for sealed candles."""

    def read(self, window: Window) -> CandleArrays:
        """Return the candles that lie wholly in a window."""
        whole = grid_of(self.dataset).whole(window)
        if whole is None:
            return no_candles(self.dataset)
        if self.ledger is None:
            found = self.store.arrays(self.base, whole)
        else:
            found = stored_candles(DatasetRange(dataset=self.base, window=whole), self.store, self.ledger)
        if self.base == self.dataset or not len(found):
            return found if self.base == self.dataset else no_candles(self.dataset)
        return derive(Candles.of_arrays(found, whole), self.dataset.timeframe).within(whole).arrays


def waiting_for(dataset: Dataset, missing: Sequence[Window]) -> str:
    """Return in one line what is waited for, and the command that downloads it."""
    command = fetch_command([dataset], Window(missing[0].start, missing[-1].end))
    return f"{dataset}: {missing[0]} is not stored yet; run: {command}"


def ready_until(
    candles: SettledCandles, datasets: Sequence[ForwardDataset], start: date, due: date
) -> tuple[date, str]:
    """Return the first day, at most `due`, that cannot be traded yet, and why: empty if all days before `due` can.

    Raises:
        DataIncomplete: candles before the first day are missing.
    """
    ready, why = due, ""
    for each in datasets:
        before = candles.missing(each.source, needed_window(each, start)) if each.candles_from < start else []
        if before:
            raise DataIncomplete(waiting_for(each.source, before))
        until, reason = _ready(candles, each, start, ready)
        if until < ready:
            ready, why = until, reason
    return ready, why


def _ready(candles: SettledCandles, dataset: ForwardDataset, start: date, due: date) -> tuple[date, str]:
    missing = candles.missing(dataset.source, needed_window(dataset, due)) if due > start else []
    if not missing:
        return due, ""
    until = max(start, missing[0].start.date())
    while until > start and candles.missing(dataset.source, needed_window(dataset, until)):
        until -= timedelta(days=1)  # a candle that opens before midnight may close after it
    return until, waiting_for(dataset.source, missing)


def first_stored(candles: SettledCandles, dataset: Dataset, bars: int, start: date) -> date:
    """Return the first day to read so that `bars` bars lie before `start`; a later one if fewer are stored."""
    length = timedelta(seconds=bars * dataset.timeframe.seconds)
    day = start - timedelta(days=2 * length.days + 5)  # markets that close on weekends have two bars of three
    missing = candles.missing(dataset, Window(midnight(day), midnight(start)))
    if not missing:
        return day
    end = missing[-1].end
    return min(start, end.date() if end == midnight(end.date()) else day_after(end.date()))
