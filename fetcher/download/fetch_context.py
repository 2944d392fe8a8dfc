"""The fetch context of a download run: its store, its options, and its ledgers, each with the thread that uses it."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from fetcher.download.page_ledger import PageLedger
from fetcher.download.progress import CONFIRM_AFTER, DownloadProgress
from tradeschool.store import Seal
from tradeschool.store.frame_store import FrameStore

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """Options of a download run; none of them changes a candle."""

    on_sealed: Callable[[Seal], None] = lambda seal: None
    """Called in a thread, for one seal at a time."""
    show: Callable[[list[DownloadProgress]], None] = lambda progress: None
    """Receives the progress of all downloads once they are planned."""
    confirm_after_seconds: float = CONFIRM_AFTER
    """Pause before unconfirmed pages are requested again."""
    seal: bool = True
    """If false, pages are only stored in the ledger for a later run, and nothing is published."""


DEFAULT_OPTIONS = RunOptions()


@dataclass(frozen=True, slots=True)
class LedgerThread:
    """A ledger and the thread that uses it, so that writes do not block the event loop."""

    thread: ThreadPoolExecutor
    ledger: PageLedger

    async def call(self, work: Callable[[], T]) -> T:
        """Run `work` in the thread and return its result."""
        return await asyncio.get_running_loop().run_in_executor(self.thread, work)


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchContext:
    """Objects shared by all provider tasks of a run."""

    store: FrameStore
    pages: LedgerThread
    files: LedgerThread
    now: Callable[[], datetime]
    options: RunOptions

    async def close(self) -> None:
        """Close both ledgers."""
        for each in (self.pages, self.files):
            await each.call(each.ledger.close)
