"""What a store holds of each dataset and of each of its months: the same for the command, the page and metrics."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from tradeschool.errors import DataError
from tradeschool.market import Dataset, Window, merge
from tradeschool.sessions import expected_slots
from tradeschool.store.seal import Seal
from tradeschool.store.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """One dataset, all of its sealed ranges together."""

    dataset: str
    rows: int
    expected: int
    coverage: float
    """Share of the expected candles that is there; 1 where none is expected."""
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
    trouble: str = ""
    """Why its seals cannot be read; the figures are those of nothing then."""

    def to_json(self) -> dict[str, JsonValue]:
        """An object of `data status --json`."""
        return {**asdict(self), "findings": list(self.findings), "ranges": list(self.ranges)}


Months = dict[str, float]
"""Coverage by month, such as `2020-03`; months of which nothing is sealed are not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One dataset in full."""

    holding: Holding
    months: Months
    sealed: tuple[Window, ...]
    """Ranges that do not touch, in order of time."""


class Holdings:
    """Looks again at those datasets only whose seals have changed since the last look."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[Dataset, tuple[object, Held | None]] = {}

    def look(self, datasets: Sequence[Dataset]) -> list[Held]:
        """Every dataset of these that holds a sealed range, or one that cannot be read."""
        return [held for dataset in datasets if (held := self._one(dataset))]

    def _one(self, dataset: Dataset) -> Held | None:
        stamp = self._store.stamp(dataset)
        known = self._known.get(dataset)
        if known is None or known[0] != stamp:
            known = self._known[dataset] = (stamp, self._read(dataset))
        return known[1]

    def _read(self, dataset: Dataset) -> Held | None:
        try:
            holding = holding_of(self._store, dataset)
            if holding is None:
                return None
            seals = self._store.seals(dataset)
        except (DataError, OSError) as error:
            return Held(holding=_unreadable(dataset, str(error)), months={}, sealed=())
        sealed = tuple(merge([seal.window for seal in seals]))
        return Held(holding=holding, months=months_of(dataset, seals), sealed=sealed)


def holding_of(store: Store, dataset: Dataset) -> Holding | None:
    """What is sealed of a dataset, None where nothing is.

    Raises:
        ForeignFile: where a seal or a file cannot be read.
    """
    seals = store.seals(dataset)
    if not seals:
        return None
    expected, missing = sum(seal.expected for seal in seals), sum(seal.missing for seal in seals)
    return Holding(
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
    """Coverage of each month in which something is sealed; of a month that is sealed in part, of that part."""
    expected = _count(dataset, merge([seal.window for seal in seals]))
    missing = _count(dataset, merge([Window(gap.start, gap.end) for seal in seals for gap in seal.gaps]))
    return {month: round(1 - missing[month] / count, 4) for month, count in sorted(expected.items())}


def _count(dataset: Dataset, windows: Iterable[Window]) -> Counter[str]:
    """Expected candles by month."""
    counts: Counter[str] = Counter()
    for window in windows:
        months, numbers = np.unique(_months(expected_slots(dataset, window)), return_counts=True)
        counts.update(dict(zip(months.astype(str).tolist(), numbers.tolist(), strict=True)))
    return counts


def _months(times: NDArray[np.int64]) -> NDArray[np.datetime64]:
    return times.astype("datetime64[s]").astype("datetime64[M]")


def _moment(store: Store, dataset: Dataset, window: Window, place: int) -> str | None:
    """The open of the first (0) or last (-1) candle of a sealed range, None where it holds none."""
    times = store.arrays(dataset, window).time
    return datetime.fromtimestamp(int(times[place]), UTC).isoformat() if len(times) else None


def _unreadable(dataset: Dataset, reason: str) -> Holding:
    return Holding(
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
        trouble=reason,
    )
