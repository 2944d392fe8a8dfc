"""Derived candles held against the provider's own, on a few pages of each: at most about one request in a hundred."""

from dataclasses import dataclass

import polars as pl

from fetcher.plan import Download, pages
from fetcher.provider import Page
from tradeschool.candles import Candles
from tradeschool.columns import PRICES
from tradeschool.market import Wanted

AUDITED_FROM = 80
"""Pages of a download; a shorter one is not worth a second look."""
PAGES_FOR_EACH = 400
"""One page of a derived dataset, and one more for every so many pages that were asked for."""
VOLUME_DIGITS = 8
"""Compared after the point: the sum of the same trades in another order differs behind that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """One page of a derived dataset beside the provider's own candles."""

    page: Page
    candles: int
    """Native ones."""
    absent: int
    """Candles that only one of both has."""
    other_prices: int
    """Candles of which a price differs."""
    other_volumes: int
    """Candles of which the volume differs; providers restate some late."""

    @property
    def is_clean(self) -> bool:
        """Whether every candle is there on both sides with the same prices."""
        return not self.absent and not self.other_prices


def audited_pages(asked: int) -> int:
    """How many pages of each derived dataset are asked for, after a download of so many."""
    return 1 + asked // PAGES_FOR_EACH if asked >= AUDITED_FROM else 0


def sample(download: Download, slots_per_page: int, asked: int) -> list[Page]:
    """The pages to ask for of what is derived from a download of so many pages, spread evenly over its range."""
    count = audited_pages(asked)
    return [page for child in download.derived for page in _spread(child, slots_per_page, count)] if count else []


def compare(derived: Candles, native: Candles, page: Page) -> Audit:
    """How the derived candles of a page differ from the native ones."""
    both = derived.frame.join(native.frame, on="ts", how="inner", suffix="_native")
    prices = pl.any_horizontal(pl.col(name) != pl.col(f"{name}_native") for name in PRICES)
    volumes = pl.col("volume").round(VOLUME_DIGITS) != pl.col("volume_native").round(VOLUME_DIGITS)
    return Audit(
        page=page,
        candles=len(native),
        absent=len(derived) + len(native) - 2 * both.height,
        other_prices=both.filter(prices).height,
        other_volumes=both.filter(volumes).height,
    )


def _spread(wanted: Wanted, slots_per_page: int, count: int) -> list[Page]:
    every = pages(wanted.dataset, wanted.window, [], slots_per_page)
    places = {(2 * number + 1) * len(every) // (2 * count) for number in range(count)}
    return [every[place] for place in sorted(places)]
