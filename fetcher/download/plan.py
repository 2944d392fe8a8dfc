"""Download planning: pure functions from wanted and stored ranges to the pages to request."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from fetcher.protocol.provider import Page
from tradeschool.errors import SettingsError
from tradeschool.markets.catalogue import DatasetRange
from tradeschool.markets.grid import grid_of
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.windows import Window, subtract

NOTHING_SEALED: Mapping[Dataset, Sequence[Window]] = MappingProxyType({})
IsNative = Callable[[Dataset], bool]
"""Whether the provider has candles of a dataset's timeframe; the others can only be derived."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadPlan:
    """One range of a dataset to download, and the ranges to derive from it."""

    wanted: DatasetRange
    derived: tuple[DatasetRange, ...] = field(default=())
    """Longer timeframes of the same instrument, over ranges inside this one."""
    sealed_base: Dataset | None = None
    """Sealed dataset from which the range is derived, so that nothing is requested; None for a download."""

    @property
    def dataset(self) -> Dataset:
        """The dataset to request."""
        return self.wanted.dataset

    @property
    def from_sealed(self) -> bool:
        """Whether the range is derived from candles that are already sealed."""
        return self.sealed_base is not None


def pages(dataset: Dataset, window: Window, covered: Iterable[Window], slots_per_page: int) -> list[Page]:
    """Split the uncovered parts of `window` into full pages; only the last page of a part may be shorter."""
    grid = grid_of(dataset)
    found: list[Page] = []
    for part in subtract(window, list(covered)):
        first, last = grid.covering(part)
        found += [
            Page(dataset=dataset, window=grid.between(slot, min(slot + slots_per_page, last)))
            for slot in range(first, last, slots_per_page)
        ]
    return found


def halves(page: Page) -> list[Page]:
    """Split a page into two halves; a page of one candle is returned unchanged."""
    grid = grid_of(page.dataset)
    first, last = grid.span(page.window)
    if last - first < 2:
        return [page]
    middle = first + (last - first) // 2
    return [
        Page(dataset=page.dataset, window=grid.between(start, end)) for start, end in ((first, middle), (middle, last))
    ]


def downloads(
    wanted: Iterable[DatasetRange],
    *,
    native: bool,
    sealed: Mapping[Dataset, Sequence[Window]] = NOTHING_SEALED,
    is_native: IsNative = lambda dataset: True,
) -> list[DownloadPlan]:
    """Plan which ranges to download, in the order of `wanted`, and which to derive from them.

    A range is derived from the shortest timeframe of its instrument that is wanted as well or already sealed
    (`sealed`), because that costs no request. The remaining ranges are downloaded. With `native`, all ranges are
    downloaded. A timeframe that the provider lacks is always derived; if there is nothing to derive it from, the
    longest timeframe that the provider has is downloaded and sealed, too.
    """
    order = {want: place for place, want in enumerate(wanted)}
    shortest_first = sorted(order, key=lambda want: want.dataset.timeframe.seconds)
    parts: list[_Part] = []
    for want in shortest_first:
        if native and is_native(want.dataset):
            found = [_Part(wanted=want, order=order[want])]
        else:
            found = _parts(want, parts, sealed, is_native, order[want])
        parts += found
    parts.sort(key=lambda part: part.order)
    return [
        DownloadPlan(
            wanted=part.wanted,
            derived=tuple(child.wanted for child in parts if child.parent == part.wanted),
            sealed_base=part.sealed_base,
        )
        for part in parts
        if part.parent is None
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """Part of a wanted range: derived from `parent`, derived from sealed candles, or otherwise downloaded."""

    wanted: DatasetRange
    order: int
    """Place of the wanted range."""
    parent: DatasetRange | None = None
    sealed_base: Dataset | None = None

    @property
    def is_download(self) -> bool:
        """Whether the range is requested."""
        return self.parent is None and self.sealed_base is None


def _parts(
    want: DatasetRange,
    known: Sequence[_Part],
    sealed: Mapping[Dataset, Sequence[Window]],
    is_native: IsNative,
    order: int,
) -> list[_Part]:
    grid = grid_of(want.dataset)
    parts, left = [], [want.window]
    for base in (want.dataset.at(timeframe) for timeframe in want.dataset.timeframe.finer):
        parents = [
            (part.wanted.window, part.wanted) for part in known if part.is_download and part.wanted.dataset == base
        ]
        for window, parent in [*parents, *((window, None) for window in sealed.get(base, ()))]:
            shared = [whole for piece in left if (part := piece.overlap(window)) and (whole := grid.whole(part))]
            parts += [
                _Part(
                    wanted=replace(want, window=whole),
                    order=order,
                    parent=parent,
                    sealed_base=None if parent else base,
                )
                for whole in shared
            ]
            left = [rest for piece in left for rest in subtract(piece, shared)]
    if is_native(want.dataset):
        return parts + [_Part(wanted=replace(want, window=piece), order=order) for piece in left]
    return parts + [part for piece in left for part in _with_base(replace(want, window=piece), is_native, order)]


def _with_base(want: DatasetRange, is_native: IsNative, order: int) -> list[_Part]:
    """Return the download of the longest shorter timeframe that the provider has, and the range derived from it.

    Raises:
        SettingsError: if there is none.
    """
    finer = (want.dataset.at(each) for each in reversed(want.dataset.timeframe.finer))
    base = next((each for each in finer if is_native(each)), None)
    if base is None:
        raise SettingsError(f"{want.dataset}: its provider has neither this timeframe nor a shorter one")
    parent = DatasetRange(dataset=base, window=want.window)
    return [_Part(wanted=parent, order=order), _Part(wanted=want, order=order, parent=parent)]
