"""What is damaged, doubtful or suspect is forgotten, so that the next fetch asks for it again.

The ledger is mended before a seal is taken away, and a derived range is unsealed before its base: stopped at any
line, what is left undone is still there to be found, and the next repair does it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

import polars as pl

from fetcher.ledger import Ledger, StoredPage
from fetcher.plan import BASE
from fetcher.publish import parse_stored
from tradeschool.candles import Candles
from tradeschool.errors import InvalidCandles, ProviderUnusable
from tradeschool.findings import Severity
from tradeschool.inspection import inspect
from tradeschool.market import EPOCH, Dataset, Timeframe, Wanted, Window, merge
from tradeschool.sessions import expected_slots
from tradeschool.store import Seal, Store

EVER = Window(EPOCH, datetime(9999, 1, 1, tzinfo=UTC))


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """What was done for one dataset."""

    dataset: Dataset
    unsealed: tuple[Wanted, ...]
    """Ranges that lost their seal and are to be fetched again, those derived from this dataset included."""
    imported: tuple[str, ...]
    """Sources of those among them that came from a file."""
    unreadable: tuple[str, ...]
    """Names of seals that could not be read, and are gone."""
    forgotten: tuple[Window, ...]
    """What will be asked for again, merged."""

    @property
    def is_needless(self) -> bool:
        """Whether nothing was wrong."""
        return not (self.unsealed or self.unreadable or self.forgotten)


def repair(datasets: Iterable[Dataset], store: Store, ledger: Ledger, *, gaps: bool) -> list[Repair]:
    """Forget what is wrong with some datasets, and with `gaps` also that candles were confirmed not to exist.

    A derived dataset's gaps are its base's, so its base is repaired with it.

    Raises:
        StoreUnwritable: if the disk takes no more; what was not done is done by the next repair.
    """
    chosen = list(dict.fromkeys(source for dataset in datasets for source in _sources(dataset, store, gaps=gaps)))
    return [_repair(dataset, store, ledger, gaps=gaps) for dataset in chosen]


def _sources(dataset: Dataset, store: Store, *, gaps: bool) -> list[Dataset]:
    readable = not store.unreadable_seals(dataset)
    derived = gaps and readable and any(seal.derived for seal in store.seals(dataset))
    return [dataset.at(BASE), dataset] if derived else [dataset]


def _repair(dataset: Dataset, store: Store, ledger: Ledger, *, gaps: bool) -> Repair:
    unreadable = store.unreadable_seals(dataset)
    lost = _forget_lost_files(dataset, store, ledger)
    suspect = [*ledger.damaged(dataset), *ledger.doubtful(dataset)]
    ledger.forget_pages(dataset, suspect)
    suspect += _unsound_pages(dataset, ledger)
    seals = _readable_seals(dataset, store)
    holed = [seal for seal in seals if gaps and seal.gaps and not seal.is_imported]
    if gaps:
        suspect += _confirmed_empty(dataset, ledger, holed)
    ledger.forget_pages(dataset, suspect)
    damaged = [seal for seal in seals if seal in holed or not all(store.holds(dataset, file) for file in seal.files)]
    unsealed = _derived(dataset, holed, store)
    unsealed += [Wanted(dataset=dataset, window=seal.window) for seal in damaged]
    for each in unsealed:
        store.unseal(each.dataset, each.window)
    return Repair(
        dataset=dataset,
        unsealed=tuple(unsealed),
        imported=tuple(seal.source for seal in damaged if seal.is_imported),
        unreadable=tuple(path.name for path in unreadable),
        forgotten=tuple(merge([*lost, *suspect])),
    )


def _forget_lost_files(dataset: Dataset, store: Store, ledger: Ledger) -> list[Window]:
    """Published files that are gone or changed, whether their range is sealed or not."""
    return [
        ledger.forget(dataset, whole, year)
        for whole, year, file in ledger.published(dataset, EVER)
        if not store.holds(dataset, file)
    ]


def _unsound_pages(dataset: Dataset, ledger: Ledger) -> list[Window]:
    """Pages not published yet that cannot be read, or whose candles show what keeps a range from being sealed."""
    windows, frames = [], [Candles.empty(dataset).frame]
    for stored in ledger.answers(dataset, EVER):
        candles = _read(stored, ledger)
        if candles is None:
            windows.append(stored.page.window)
        else:
            frames.append(candles.frame)
    together = pl.concat(frames).unique("ts", keep="last", maintain_order=True).sort("ts")
    found = inspect(Candles(dataset, together))
    return windows + [Window(each.start, each.end) for each in found if each.severity is Severity.REFUSE]


def _read(stored: StoredPage, ledger: Ledger) -> Candles | None:
    try:
        return parse_stored(stored, ledger)
    except (InvalidCandles, ProviderUnusable):
        return None


def _confirmed_empty(dataset: Dataset, ledger: Ledger, holed: Iterable[Seal]) -> list[Window]:
    """Where candles are known not to exist: pages that lack some, and the gaps of seals."""
    short = [window for window, rows in ledger.answered(dataset) if rows < len(expected_slots(dataset, window))]
    return short + [Window(gap.start, gap.end) for seal in holed for gap in seal.gaps]


def _derived(dataset: Dataset, holed: Iterable[Seal], store: Store) -> list[Wanted]:
    """What was derived from ranges whose candles may change, and has to be derived again."""
    if dataset.timeframe is not BASE:
        return []
    windows = [seal.window for seal in holed]
    return [
        Wanted(dataset=child, window=seal.window)
        for child in (dataset.at(timeframe) for timeframe in Timeframe if timeframe is not BASE)
        for seal in _readable_seals(child, store)
        if seal.derived and any(seal.window.overlap(window) for window in windows)
    ]


def _readable_seals(dataset: Dataset, store: Store) -> list[Seal]:
    store.discard(store.unreadable_seals(dataset))
    return store.seals(dataset)
