"""Inventory of a store: totals and monthly density of each dataset, used by the CLI, the page and the metrics."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from tradeschool.errors import DataError, SettingsError
from tradeschool.markets.calendars import expected_slots
from tradeschool.markets.catalogue import INSTRUMENTS, find_dataset
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.windows import Window, merge
from tradeschool.store.seal import Seal, slots_in
from tradeschool.store.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetInventory:
    """Totals over all sealed ranges of one dataset."""

    dataset: str
    rows: int
    expected: int
    coverage: float
    """Fraction of the expected candles that is stored or confirmed not to exist; 1 if no candle is expected."""
    density: float
    """Fraction of the expected candles that is stored: slots in which the market traded."""
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
"""Density by month, such as `2020-03`; months without sealed data are absent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InventoryEntry:
    """Totals, monthly density and sealed ranges of one dataset."""

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
            return InventoryEntry(inventory=_unreadable(dataset.name, str(error)), months={}, sealed=())
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
    unaccounted = sum(gap.slots for seal in seals for gap in seal.unaccounted)
    return DatasetInventory(
        dataset=dataset.name,
        rows=sum(seal.rows for seal in seals),
        expected=expected,
        coverage=round(1 - unaccounted / expected, 6) if expected else 1.0,
        density=round(1 - missing / expected, 6) if expected else 1.0,
        first=_moment(store, dataset, seals[0].window, 0),
        last=_moment(store, dataset, max(seals, key=lambda seal: seal.end).window, -1),
        gaps=sum(len(seal.gaps) for seal in seals),
        findings=tuple(dict.fromkeys(finding.kind.value for seal in seals for finding in seal.findings)),
        sealed=True,
        derived=all(seal.derived for seal in seals),
        imported=all(seal.is_imported for seal in seals),
        ranges=tuple(str(seal.window) for seal in seals),
    )


def stored_inventory(store: Store) -> list[DatasetInventory]:
    """Return the totals of every dataset with a seal; a dataset of an unknown instrument has its reason in `error`.

    Raises:
        ForeignFile: if a seal or a file cannot be read.
    """
    datasets, unknown = stored_datasets(store)
    rows = [row for dataset in datasets if (row := inventory_of(store, dataset))]
    return [*rows, *(_unreadable(name, reason) for name, reason in unknown.items())]


def stored_datasets(store: Store) -> tuple[list[Dataset], dict[str, str]]:
    """Return the datasets in a store, shipped instruments first, and the reasons why others are unknown, by name."""
    found, unknown = [], {}
    for name in store.dataset_names():
        try:
            found.append(find_dataset(name))
        except SettingsError as error:
            unknown[name] = str(error)
    order = {each: place for place, each in enumerate(INSTRUMENTS)}
    found.sort(
        key=lambda each: (order.get(each.instrument, len(order)), each.instrument.full_name, each.timeframe.seconds)
    )
    return found, unknown


def shares_of(store: Store, dataset: Dataset, window: Window) -> tuple[float, float]:
    """Return coverage and density of a sealed window, from its seals alone.

    Raises:
        DataIncomplete: if the window is not sealed.
        ForeignFile: if a seal cannot be read.
    """
    store.require_holdout(dataset, window)
    expected, seals = expected_slots(dataset, window), store.seals(dataset)
    if not len(expected):
        return 1.0, 1.0
    lost = slots_in(expected, [gap for seal in seals for gap in seal.unaccounted])
    missing = slots_in(expected, [gap for seal in seals for gap in seal.gaps])
    return 1.0 - float(lost.mean()), 1.0 - float(missing.mean())


def months_of(dataset: Dataset, seals: Sequence[Seal]) -> Months:
    """Return the density of each month with sealed data; of a partly sealed month, that of the sealed part."""
    windows = merge([seal.window for seal in seals])
    slots = np.concatenate([np.empty(0, np.int64), *(expected_slots(dataset, window) for window in windows)])
    missing = _count(slots[slots_in(slots, [gap for seal in seals for gap in seal.gaps])])
    return {month: round(1 - missing[month] / count, 4) for month, count in sorted(_count(slots).items())}


def _count(slots: NDArray[np.int64]) -> Counter[str]:
    """Return the number of slots by month."""
    months, numbers = np.unique(_months(slots), return_counts=True)
    return Counter(dict(zip(months.astype(str).tolist(), numbers.tolist(), strict=True)))


def _months(times: NDArray[np.int64]) -> NDArray[np.datetime64]:
    return times.astype("datetime64[s]").astype("datetime64[M]")


def _moment(store: Store, dataset: Dataset, window: Window, place: int) -> str | None:
    """Return the open of the first (0) or last (-1) candle of a sealed range, None if it has no candles."""
    times = store.arrays(dataset, window).time
    return datetime.fromtimestamp(int(times[place]), UTC).isoformat() if len(times) else None


def _unreadable(name: str, reason: str) -> DatasetInventory:
    return DatasetInventory(
        dataset=name,
        rows=0,
        expected=0,
        coverage=0.0,
        density=0.0,
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
