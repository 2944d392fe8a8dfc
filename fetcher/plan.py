"""What is stored + what is wanted -> the pages to ask for. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from fetcher.provider import Page
from tradeschool.market import Dataset, Timeframe, Wanted, Window, subtract

BASE = Timeframe.M5
"""What longer timeframes are derived from."""
NOTHING_SEALED: Mapping[Dataset, Sequence[Window]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """One range of one dataset to ask a provider for, and what is to be derived from it."""

    wanted: Wanted
    derived: tuple[Wanted, ...] = field(default=())
    """Longer timeframes of the same instrument, over ranges inside this one."""
    from_sealed: bool = False
    """Nothing is asked for: it is derived from base candles that are sealed already."""

    @property
    def dataset(self) -> Dataset:
        """What is asked for."""
        return self.wanted.dataset


def pages(dataset: Dataset, window: Window, covered: Iterable[Window], slots_per_page: int) -> list[Page]:
    """Full pages over the parts of `window` that are not covered yet; only the last one of a part is shorter."""
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
    """The same candles, asked for in two pages; a page of one candle stays as it is."""
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
    wanted: Iterable[Wanted], *, native: bool, sealed: Mapping[Dataset, Sequence[Window]] = NOTHING_SEALED
) -> list[Download]:
    """Which ranges to ask for, in the order of what is wanted, and which to derive from them.

    A longer timeframe is derived where its range of the base timeframe is wanted too, or is sealed already,
    because that costs no request; the rest of it is asked for by itself, and all of it where `native` says so.
    `sealed` are the sealed ranges of base datasets.
    """
    wanted = list(wanted)
    parts = [part for want in wanted for part in ([_Part(wanted=want)] if native else _parts(want, wanted, sealed))]
    return [
        Download(
            wanted=part.wanted,
            derived=tuple(child.wanted for child in parts if child.parent == part.wanted),
            from_sealed=part.from_sealed,
        )
        for part in parts
        if part.parent is None
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """A piece of what is wanted, and where it comes from: its provider where neither field says else."""

    wanted: Wanted
    parent: Wanted | None = None
    from_sealed: bool = False


def _parts(want: Wanted, wanted: list[Wanted], sealed: Mapping[Dataset, Sequence[Window]]) -> list[_Part]:
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
