"""Repair: removes damaged, unconfirmed or suspect data, so that the next fetch downloads it again.

The ledger is changed before seals are removed, and derived ranges are unsealed before their base. A repair that is
killed at any point is completed by the next one.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

import polars as pl

from fetcher.download.page_ledger import PageLedger, StoredPage
from fetcher.download.sealing import parse_stored
from tradeschool.errors import InvalidCandles, ProviderUnusable
from tradeschool.markets.calendars import expected_slots
from tradeschool.markets.catalogue import DatasetRange
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.windows import EPOCH, Window, merge
from tradeschool.ohlcv.findings import Severity
from tradeschool.ohlcv.frame import Candles
from tradeschool.ohlcv.validation import inspect
from tradeschool.store import Seal, Store

ALL_TIME = Window(EPOCH, datetime(9999, 1, 1, tzinfo=UTC))


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairResult:
    """Result of the repair of one dataset."""

    dataset: Dataset
    unsealed: tuple[DatasetRange, ...]
    """Ranges whose seal was removed, those derived from this dataset included; they must be fetched again."""
    imported: tuple[str, ...]
    """Sources of unsealed ranges that were imported from a file."""
    unreadable: tuple[str, ...]
    """Names of unreadable seals that were removed."""
    forgotten: tuple[Window, ...]
    """Windows that will be requested again, merged."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing had to be repaired."""
        return not (self.unsealed or self.unreadable or self.forgotten)


def repair(datasets: Iterable[Dataset], store: Store, ledger: PageLedger, *, gaps: bool) -> list[RepairResult]:
    """Remove damaged and suspect data of datasets; with `gaps`, also ranges in which candles are confirmed missing.

    The gaps of a derived dataset come from its base, so shorter timeframes of its instrument are repaired as well.

    Raises:
        StoreUnwritable: if a file cannot be written; the next repair completes the work.
    """
    chosen = list(dict.fromkeys(source for dataset in datasets for source in _sources(dataset, store, gaps=gaps)))
    return [_repair(dataset, store, ledger, gaps=gaps) for dataset in chosen]


def _sources(dataset: Dataset, store: Store, *, gaps: bool) -> list[Dataset]:
    readable = not store.unreadable_seals(dataset)
    derived = gaps and readable and any(seal.derived for seal in store.seals(dataset))
    bases = [base for each in dataset.timeframe.finer if store.seals(base := dataset.at(each))] if derived else []
    return [*bases, dataset]


def _repair(dataset: Dataset, store: Store, ledger: PageLedger, *, gaps: bool) -> RepairResult:
    unreadable = store.unreadable_seals(dataset)
    lost = _forget_lost_files(dataset, store, ledger)
    suspect = [*ledger.damaged(dataset), *ledger.unconfirmed(dataset)]
    ledger.forget_pages(dataset, suspect)
    suspect += _unsound_pages(dataset, ledger)
    seals = _readable_seals(dataset, store)
    holed = [seal for seal in seals if gaps and seal.gaps and not seal.is_imported]
    if gaps:
        suspect += _confirmed_empty(dataset, ledger, holed)
    ledger.forget_pages(dataset, suspect)
    damaged = [seal for seal in seals if seal in holed or not all(store.holds(dataset, file) for file in seal.files)]
    unsealed = _derived(dataset, holed, store)
    unsealed += [DatasetRange(dataset=dataset, window=seal.window) for seal in damaged]
    for each in unsealed:
        store.unseal(each.dataset, each.window)
    return RepairResult(
        dataset=dataset,
        unsealed=tuple(unsealed),
        imported=tuple(seal.source for seal in damaged if seal.is_imported),
        unreadable=tuple(path.name for path in unreadable),
        forgotten=tuple(merge([*lost, *suspect])),
    )


def _forget_lost_files(dataset: Dataset, store: Store, ledger: PageLedger) -> list[Window]:
    """Delete the records of published files that are missing or changed; return their windows."""
    return [
        ledger.forget(dataset, whole, year)
        for whole, year, file in ledger.published(dataset, ALL_TIME)
        if not store.holds(dataset, file)
    ]


def _unsound_pages(dataset: Dataset, ledger: PageLedger) -> list[Window]:
    """Return windows of unpublished pages that cannot be parsed or have findings of severity `refuse`."""
    windows, frames = [], [Candles.empty(dataset).frame]
    for stored in ledger.responses(dataset, ALL_TIME):
        candles = _read(stored, ledger)
        if candles is None:
            windows.append(stored.page.window)
        else:
            frames.append(candles.frame)
    together = pl.concat(frames).unique("ts", keep="last", maintain_order=True).sort("ts")
    found = inspect(Candles(dataset, together))
    return windows + [Window(each.start, each.end) for each in found if each.severity is Severity.REFUSE]


def _read(stored: StoredPage, ledger: PageLedger) -> Candles | None:
    try:
        return parse_stored(stored, ledger)
    except (InvalidCandles, ProviderUnusable):
        return None


def _confirmed_empty(dataset: Dataset, ledger: PageLedger, holed: Iterable[Seal]) -> list[Window]:
    """Return the windows with missing candles: incomplete pages and the gaps of seals."""
    short = [window for window, rows in ledger.stored(dataset) if rows < len(expected_slots(dataset, window))]
    return short + [Window(gap.start, gap.end) for seal in holed for gap in seal.gaps]


def _derived(dataset: Dataset, holed: Iterable[Seal], store: Store) -> list[DatasetRange]:
    """Return the ranges derived from seals whose candles may change; they must be derived again."""
    windows = [seal.window for seal in holed]
    return [
        DatasetRange(dataset=child, window=seal.window)
        for child in (dataset.at(timeframe) for timeframe in dataset.timeframe.coarser)
        for seal in _readable_seals(child, store)
        if seal.derived and any(seal.window.overlap(window) for window in windows)
    ]


def _readable_seals(dataset: Dataset, store: Store) -> list[Seal]:
    store.discard(store.unreadable_seals(dataset))
    return store.seals(dataset)
