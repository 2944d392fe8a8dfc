"""What is stored + what is wanted -> the pages to ask for. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from fetcher.provider import Page
from tradeschool.market import Dataset, Timeframe, Wanted, Window, subtract

BASE = Timeframe.M5
"""What longer timeframes are derived from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """One range of one dataset to ask a provider for, and what is to be derived from it."""

    wanted: Wanted
    derived: tuple[Wanted, ...] = field(default=())
    """Longer timeframes of the same instrument, over ranges inside this one."""

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


def downloads(wanted: Iterable[Wanted], *, native: bool) -> list[Download]:
    """Which ranges to ask for, in the order of what is wanted, and which to derive from them.

    A longer timeframe is derived where its range of the base timeframe is wanted too, because that costs no
    request; it is asked for by itself where that is not so, or where `native` says so.
    """
    wanted = list(wanted)
    parents = {} if native else {want: _parent(want, wanted) for want in wanted}
    return [
        Download(wanted=want, derived=tuple(child for child in wanted if parents.get(child) == want))
        for want in wanted
        if parents.get(want) is None
    ]


def _parent(want: Wanted, wanted: list[Wanted]) -> Wanted | None:
    if want.dataset.timeframe is BASE:
        return None
    base = want.dataset.at(BASE)
    for other in wanted:
        if other.dataset == base and other.window.contains(want.window):
            return other
    return None
