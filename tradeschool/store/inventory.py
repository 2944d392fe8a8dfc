"""Inventory of a store: totals and monthly coverage of each dataset, used by the CLI, the page and the metrics."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from tradeschool.errors import DataError
from tradeschool.markets.calendars import expected_slots
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.windows import Window, merge
from tradeschool.store.seal import Seal
from tradeschool.store.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetInventory:
    """Totals over all sealed ranges of one dataset."""

    dataset: str
    rows: int
    expected: int
    coverage: float
    """Fraction of the expected candles that is stored; 1 if no candle is expected."""
    first: str | None
    """Open of the first candle."""
    last: str | None
    """Open of the last candle."""
    gaps: int
    findings: tuple[str, ...]
    sealed: bool
    derived: bool
    imported: bool
    ranges: tuple[str, ...]
    error: str = ""
    """Reason why the seals cannot be read, empty otherwise; all figures are then those of an empty dataset."""

    def to_json(self) -> dict[str, JsonValue]:
        """Return the dataset's object in `data status --json`."""
        return {**asdict(self), "findings": list(self.findings), "ranges": list(self.ranges)}


Months = dict[str, float]
"""Coverage by month, such as `2020-03`; months without sealed data are absent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InventoryEntry:
    """Totals, monthly coverage and sealed ranges of one dataset."""

    inventory: DatasetInventory
    months: Months
    sealed: tuple[Window, ...]
    """Sealed ranges, merged, in time order."""


class Inventory:
    """Inventory with a cache: a dataset is read again only after its seals have changed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[Dataset, tuple[object, InventoryEntry | None]] = {}

    def look(self, datasets: Sequence[Dataset]) -> list[InventoryEntry]:
        """Return the datasets that have a seal, readable or not."""
        return [held for dataset in datasets if (held := self._one(dataset))]

    def _one(self, dataset: Dataset) -> InventoryEntry | None:
        stamp = self._store.stamp(dataset)
        known = self._known.get(dataset)
        if known is None or known[0] != stamp:
            known = self._known[dataset] = (stamp, self._read(dataset))
        return known[1]

    def _read(self, dataset: Dataset) -> InventoryEntry | None:
        try:
            holding = inventory_of(self._store, dataset)
            if holding is None:
                return None
            seals = self._store.seals(dataset)
        except (DataError, OSError) as error:
            return InventoryEntry(inventory=_unreadable(dataset, str(error)), months={}, sealed=())
        sealed = tuple(merge([seal.window for seal in seals]))
        return InventoryEntry(inventory=holding, months=months_of(dataset, seals), sealed=sealed)


def inventory_of(store: Store, dataset: Dataset) -> DatasetInventory | None:
    """Return the totals of a dataset, None if nothing is sealed.

    Raises:
        ForeignFile: if a seal or a file cannot be read.
    """
    seals = store.seals(dataset)
    if not seals:
        return None
    expected, missing = sum(seal.expected for seal in seals), sum(seal.missing for seal in seals)
    return DatasetInventory(
        dataset=dataset.name,
        rows=sum(seal.rows for seal in seals),
        expected=expected,
        coverage=round(1 - missing / expected, 6) if expected else 1.0,
        first=_moment(store, dataset, seals[0].window, 0),
        last=_moment(store, dataset, max(seals, key=lambda seal: seal.end).window, -1),
        gaps=sum(len(seal.gaps) for seal in seals),
        findings=tuple(dict.fromkeys(finding.kind.value for seal in seals for finding in seal.findings)),
        sealed=True,
        derived=all(seal.derived for seal in seals),
        imported=all(seal.is_imported for seal in seals),
        ranges=tuple(str(seal.window) for seal in seals),
    )


def months_of(dataset: Dataset, seals: Sequence[Seal]) -> Months:
    """Return the coverage of each month with sealed data; of a partly sealed month, that of the sealed part."""
    expected = _count(dataset, merge([seal.window for seal in seals]))
    missing = _count(dataset, merge([Window(gap.start, gap.end) for seal in seals for gap in seal.gaps]))
    return {month: round(1 - missing[month] / count, 4) for month, count in sorted(expected.items())}


def _count(dataset: Dataset, windows: Iterable[Window]) -> Counter[str]:
    """Return the number of expected candles by month."""
    counts: Counter[str] = Counter()
    for window in windows:
        months, numbers = np.unique(_months(expected_slots(dataset, window)), return_counts=True)
        counts.update(dict(zip(months.astype(str).tolist(), numbers.tolist(), strict=True)))
    return counts


def _months(times: NDArray[np.int64]) -> NDArray[np.datetime64]:
    return times.astype("datetime64[s]").astype("datetime64[M]")


def _moment(store: Store, dataset: Dataset, window: Window, place: int) -> str | None:
    """Return the open of the first (0) or last (-1) candle of a sealed range, None if it has no candles."""
    times = store.arrays(dataset, window).time
    return datetime.fromtimestamp(int(times[place]), UTC).isoformat() if len(times) else None


def _unreadable(dataset: Dataset, reason: str) -> DatasetInventory:
    return DatasetInventory(
        dataset=dataset.name,
        rows=0,
        expected=0,
        coverage=0.0,
        first=None,
        last=None,
        gaps=0,
        findings=(),
        sealed=False,
        derived=False,
        imported=False,
        ranges=(),
        error=reason,
    )
