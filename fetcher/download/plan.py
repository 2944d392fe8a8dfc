"""Download planning: pure functions from wanted and stored ranges to the pages to request."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from fetcher.protocol.provider import Page
from tradeschool.markets.catalogue import DatasetRange
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.timeframes import Timeframe
from tradeschool.markets.windows import Window, subtract

BASE = Timeframe.M5
"""Timeframe from which longer timeframes are derived."""
NOTHING_SEALED: Mapping[Dataset, Sequence[Window]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadPlan:
    """One range of a dataset to download, and the ranges to derive from it."""

    wanted: DatasetRange
    derived: tuple[DatasetRange, ...] = field(default=())
    """Longer timeframes of the same instrument, over ranges inside this one."""
    from_sealed: bool = False
    """Whether the range is derived from base candles that are already sealed; nothing is requested."""

    @property
    def dataset(self) -> Dataset:
        """The dataset to request."""
        return self.wanted.dataset


def pages(dataset: Dataset, window: Window, covered: Iterable[Window], slots_per_page: int) -> list[Page]:
    """Split the uncovered parts of `window` into full pages; only the last page of a part may be shorter."""
    step = dataset.timeframe.seconds
    span = step * slots_per_page
    found: list[Page] = []
    for part in subtract(window, list(covered)):
        first = part.start_seconds // step * step
        last = -(-part.end_seconds // step) * step
        found += [
            Page(dataset=dataset, window=Window.of_seconds(start, min(start + span, last)))
            for start in range(first, last, span)
        ]
    return found


def halves(page: Page) -> list[Page]:
    """Split a page into two halves; a page of one candle is returned unchanged."""
    step = page.dataset.timeframe.seconds
    slots = (page.window.end_seconds - page.window.start_seconds) // step
    if slots < 2:
        return [page]
    middle = page.window.start_seconds + slots // 2 * step
    return [
        Page(dataset=page.dataset, window=Window.of_seconds(page.window.start_seconds, middle)),
        Page(dataset=page.dataset, window=Window.of_seconds(middle, page.window.end_seconds)),
    ]


def downloads(
    wanted: Iterable[DatasetRange], *, native: bool, sealed: Mapping[Dataset, Sequence[Window]] = NOTHING_SEALED
) -> list[DownloadPlan]:
    """Plan which ranges to download, in the order of `wanted`, and which to derive from them.

    A longer timeframe is derived where its range of the base timeframe is wanted as well or already sealed (`sealed`),
    because that costs no request. The remaining ranges are downloaded; with `native`, all ranges are.
    """
    wanted = list(wanted)
    parts = [part for want in wanted for part in ([_Part(wanted=want)] if native else _parts(want, wanted, sealed))]
    return [
        DownloadPlan(
            wanted=part.wanted,
            derived=tuple(child.wanted for child in parts if child.parent == part.wanted),
            from_sealed=part.from_sealed,
        )
        for part in parts
        if part.parent is None
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """Part of a wanted range: derived from `parent`, derived from sealed candles, or otherwise downloaded."""

    wanted: DatasetRange
    parent: DatasetRange | None = None
    from_sealed: bool = False


def _parts(want: DatasetRange, wanted: list[DatasetRange], sealed: Mapping[Dataset, Sequence[Window]]) -> list[_Part]:
    if want.dataset.timeframe is BASE:
        return [_Part(wanted=want)]
    base = want.dataset.at(BASE)
    parents = [(other.window, other) for other in wanted if other.dataset == base]
    parts, left = [], [want.window]
    for window, parent in [*parents, *((window, None) for window in sealed.get(base, ()))]:
        parts += [
            _Part(wanted=replace(want, window=shared), parent=parent, from_sealed=parent is None)
            for piece in left
            if (shared := piece.overlap(window))
        ]
        left = [rest for piece in left for rest in subtract(piece, [window])]
    return parts + [_Part(wanted=replace(want, window=piece)) for piece in left]
