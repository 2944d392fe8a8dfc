"""Audit of derived candles: compares sampled pages with the provider's native candles, at about 1 % extra requests."""

from dataclasses import dataclass

import polars as pl

from fetcher.download.plan import DownloadPlan, pages
from fetcher.protocol.provider import Page, Provider
from tradeschool.markets.catalogue import DatasetRange
from tradeschool.ohlcv.arrays import PRICES
from tradeschool.ohlcv.frame import Candles

AUDITED_FROM = 80
"""Minimum number of pages of a download to be audited."""
PAGES_FOR_EACH = 400
"""Number of downloaded pages per additional audited page of each derived dataset."""
VOLUME_DIGITS = 8
"""Compared decimal places of volumes; summing the same trades in another order changes further digits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """Comparison of one page of derived candles with the native candles of the provider."""

    page: Page
    candles: int
    """Number of native candles."""
    absent: int
    """Candles that exist on one side only."""
    other_prices: int
    """Candles with a different price."""
    other_volumes: int
    """Candles with a different volume; providers correct some volumes later."""

    @property
    def is_clean(self) -> bool:
        """Whether both sides have the same candles with the same prices."""
        return not self.absent and not self.other_prices


def audited_pages(asked: int) -> int:
    """Return the number of pages to audit for each derived dataset after a download of `asked` pages."""
    return 1 + asked // PAGES_FOR_EACH if asked >= AUDITED_FROM else 0


def sample(download: DownloadPlan, provider: Provider, asked: int) -> list[Page]:
    """Return the pages to audit after a download of `asked` pages, spread evenly over the range.

    Timeframes that the provider lacks are not audited.
    """
    count = audited_pages(asked)
    audited = [child for child in download.derived if count and child.dataset.timeframe in provider.timeframes]
    return [page for child in audited for page in _spread(child, provider.slots_per_page, count)]


def compare(derived: Candles, native: Candles, page: Page) -> Audit:
    """Compare the derived candles of a page with the native ones."""
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


def _spread(wanted: DatasetRange, slots_per_page: int, count: int) -> list[Page]:
    every = pages(wanted.dataset, wanted.window, [], slots_per_page)
    places = {(2 * number + 1) * len(every) // (2 * count) for number in range(count)}
    return [every[place] for place in sorted(places)]
