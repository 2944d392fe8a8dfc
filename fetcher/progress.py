"""How far a download is, and how much is left of it."""

from dataclasses import dataclass, field
from datetime import datetime

from fetcher.audit import Audit, audited_pages
from fetcher.plan import Download
from fetcher.traffic import Traffic
from tradeschool.candles import Candles
from tradeschool.errors import TradeschoolError
from tradeschool.store import Seal

CONFIRM_AFTER = 2.0  # seconds between the first pass and asking again for what was missing


@dataclass(slots=True, kw_only=True)
class Progress:
    """One download; written by its lane, read by whoever shows it."""

    download: Download
    traffic: Traffic = field(default_factory=Traffic, repr=False)
    """Of the lane that the download is part of."""
    total: int = 0
    """Pages that this run has to ask for, as far as is known."""
    done: int = 0
    """Pages stored by this run."""
    short: int = 0
    """Pages stored that lack candles: each will be asked for again, until two answers agree."""
    requests: int = 0
    """Attempts that were sent."""
    retries: int = 0
    """Attempts after the first for a page."""
    reached: datetime | None = None
    """End of the latest page stored."""
    seals: list[Seal] = field(default_factory=list)
    """What was sealed, derived datasets included."""
    audits: list[Audit] = field(default_factory=list)
    """Pages of what was derived, held against the provider's own."""
    error: TradeschoolError | None = None
    """Why the download was left unsealed."""
    parsed: dict[int, Candles] = field(default_factory=dict, repr=False)
    """Candles of the answers that this run stored, by their number in the ledger, until they are published."""

    @property
    def is_over(self) -> bool:
        """Whether this run will do no more for the download."""
        return bool(self.seals) or self.error is not None

    @property
    def left(self) -> float:
        """Pages that are still to be asked for, audits included; those to be asked for again are guessed so far."""
        if self.is_over:
            return 0.0
        known = max(0, self.total - self.done)
        audits = len(self.download.derived) * audited_pages(self.total)
        return known + self.short + known * self.short / max(1, self.done) + audits

    def count(self, end: datetime, *, is_short: bool) -> None:
        """One more page is stored, and whether it lacks candles for the first time."""
        self.done += 1
        self.short += is_short
        self.reached = max(end, self.reached or end)

    def ask_again(self, pages: int) -> None:
        """So many pages that lack candles are asked for again."""
        self.total += pages
        self.short = 0
