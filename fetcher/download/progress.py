"""Progress of one download: counts of pages and requests, seals, audits and remaining work."""

from dataclasses import dataclass, field
from datetime import datetime

from fetcher.download.audit import Audit, audited_pages
from fetcher.download.plan import DownloadPlan
from fetcher.http.request_statistics import Traffic
from tradeschool.errors import TradeschoolError
from tradeschool.ohlcv.frame import Candles
from tradeschool.store import Seal

CONFIRM_AFTER = 2.0  # seconds between the first pass and requesting unconfirmed pages again


@dataclass(slots=True, kw_only=True)
class DownloadProgress:
    """Progress of one download; updated by its provider task and read by displays."""

    download: DownloadPlan
    traffic: Traffic = field(default_factory=Traffic, repr=False)
    """Traffic counters of the provider task, shared by all of its downloads."""
    total: int = 0
    """Pages to request in this run, as currently known."""
    done: int = 0
    """Pages stored by this run."""
    short: int = 0
    """Stored pages with unconfirmed missing candles; they are requested again."""
    requests: int = 0
    """Attempts sent."""
    retries: int = 0
    """Attempts after the first one for a page."""
    reached: datetime | None = None
    """End of the latest stored page."""
    seals: list[Seal] = field(default_factory=list)
    """Seals written, those of derived datasets included."""
    audits: list[Audit] = field(default_factory=list)
    """Comparisons of derived candles with native ones."""
    error: TradeschoolError | None = None
    """Reason why the download was not sealed."""
    parsed: dict[int, Candles] = field(default_factory=dict, repr=False)
    """Candles of responses stored by this run, by ledger number, kept until they are published."""

    @property
    def is_over(self) -> bool:
        """Whether the download has been sealed or has failed."""
        return bool(self.seals) or self.error is not None

    @property
    def left(self) -> float:
        """Estimated number of pages still to request, including audits and repeated requests."""
        if self.is_over:
            return 0.0
        known = max(0, self.total - self.done)
        audits = len(self.download.derived) * audited_pages(self.total)
        return known + self.short + known * self.short / max(1, self.done) + audits

    def count(self, end: datetime, *, is_short: bool) -> None:
        """Count a stored page; `is_short` marks a page that lacks candles on its first request."""
        self.done += 1
        self.short += is_short
        self.reached = max(end, self.reached or end)

    def add_pages(self, pages: int) -> None:
        """Add unconfirmed pages that are requested again."""
        self.total += pages
        self.short = 0
