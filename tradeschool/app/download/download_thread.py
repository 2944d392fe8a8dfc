"""A download in a thread of its own, beside a search."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from fetcher.download.progress import DownloadProgress
from fetcher.protocol.provider import Access
from tradeschool.app.download.dataset_download import download, raise_first
from tradeschool.errors import GateNotMet, TradeschoolError
from tradeschool.markets.catalogue import DatasetRange
from tradeschool.store import Seal, Store
from tradeschool.views.terminal import say

STARTED_WITHIN = 1.0
"""Seconds within which a starting thread has an identifier."""
Job = tuple[list[DatasetRange], Store, Callable[[Seal], None]]
"""Wanted ranges, target store, and callback for each seal."""


class DownloadThread:
    """Download in a background thread; the main thread runs the search and receives interrupts."""

    def __init__(self, jobs: list[Job], access: dict[str, Access], *, native: bool) -> None:
        self._sealed = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._task: asyncio.Task[list[DownloadProgress]] | None = None
        self._jobs, self._access, self._native = jobs, access, native
        self._thread = threading.Thread(target=self._run, name="download")
        self.error: BaseException | None = None
        """Error that ended the download; None while it runs and after success."""

    @contextmanager
    def running(self, *, to_the_end: bool) -> Iterator[None]:
        """Run the download until the block ends, then cancel the rest; the next download resumes there.

        With `to_the_end` the download is completed unless the block raises an error other than `GateNotMet`.
        """
        try:
            self._thread.start()  # Ctrl-C may interrupt this call after the thread has started
            yield
            if to_the_end:
                self._wait_for_end()
        except GateNotMet:
            if to_the_end:
                self._wait_for_end()
            raise
        finally:
            self._loop.call_soon_threadsafe(self._cancel)
            self._join()
            self._loop.close()

    def wait_until(self, is_there: Callable[[], bool]) -> None:
        """Wait until `is_there` returns true, or the download ends.

        Raises:
            TradeschoolError: Error of the download, if it ended with one before that.
        """
        while not is_there():
            if not self._thread.is_alive():
                if self.error and not is_there():
                    raise self.error
                return  # the caller reports missing candles
            with self._sealed:
                self._sealed.wait(timeout=0.5)

    def wait_while_possible(self, is_there: Callable[[], bool]) -> None:
        """Wait until `is_there` returns true or the download ends; print its error instead of raising it."""
        try:
            self.wait_until(is_there)
        except TradeschoolError as error:
            say(f"the holdout period was not downloaded: {error}")

    def _join(self) -> None:
        """Join the thread; a thread whose start was interrupted may have no identifier yet."""
        end = time.monotonic() + STARTED_WITHIN
        while self._thread.ident is None and time.monotonic() < end:
            time.sleep(0.01)
        if self._thread.ident is not None:
            self._thread.join()

    def _wait_for_end(self) -> None:
        while self._thread.is_alive():
            self._thread.join(timeout=0.5)  # a timeout lets Ctrl-C through
        if self.error:
            raise self.error

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._task = self._loop.create_task(self._work())
        try:
            raise_first(self._loop.run_until_complete(self._task))
        except asyncio.CancelledError:
            return
        except Exception as error:  # noqa: BLE001  # raised in the main thread, by `wait_until`
            self.error = error
        finally:
            self._wake()

    async def _work(self) -> list[DownloadProgress]:
        progress: list[DownloadProgress] = []
        for wanted, store, on_sealed in self._jobs:
            tell = partial(self._tell, on_sealed)
            if wanted:
                progress += await download(wanted, store, self._access, native=self._native, on_sealed=tell)
        return progress

    def _tell(self, on_sealed: Callable[[Seal], None], seal: Seal) -> None:
        on_sealed(seal)
        self._wake()

    def _cancel(self) -> None:
        if self._task:
            self._task.cancel()

    def _wake(self) -> None:
        with self._sealed:
            self._sealed.notify_all()
