"""Fetching and searching side by side: a level starts as soon as its own candles are sealed."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from fetcher.progress import Progress
from fetcher.provider import Access
from optimizer.level import Level
from tradeschool.cli.downloading import download, raise_first, reachable
from tradeschool.errors import DataIncomplete
from tradeschool.market import Wanted
from tradeschool.settings import Settings
from tradeschool.store import Store
from workers import search


def wanted_by(levels: tuple[Level, ...]) -> list[Wanted]:
    """Every range that the levels name, each once, those of the first level first."""
    named = [(dataset.source, dataset.window) for level in levels for dataset in level.datasets]
    return [Wanted(dataset=dataset, window=window) for dataset, window in dict.fromkeys(named)]


class Download:
    """A download in a thread of its own, so that the main one is free to search and to be interrupted."""

    def __init__(self, wanted: list[Wanted], store: Store, access: dict[str, Access], *, native: bool) -> None:
        self._sealed = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._task: asyncio.Task[list[Progress]] | None = None
        self._work = partial(download, wanted, store, access, native=native, on_sealed=lambda seal: self._wake())
        self._thread = threading.Thread(target=self._run, name="download")
        self.error: BaseException | None = None
        """What ended the download, None while it goes on and after a whole one."""

    @contextmanager
    def running(self) -> Iterator[None]:
        """Until the block ends; what is not downloaded by then is given up, and stays where the next run goes on."""
        self._thread.start()
        try:
            yield
        finally:
            self._loop.call_soon_threadsafe(self._cancel)
            self._thread.join()
            self._loop.close()

    def wait_until(self, are_there: Callable[[], None]) -> None:
        """Return as soon as `are_there` does not raise DataIncomplete.

        Raises:
            TradeschoolError: the download's error, or else DataIncomplete, where it ends before that.
        """
        while True:
            is_over = not self._thread.is_alive()
            try:
                return are_there()
            except DataIncomplete:
                if is_over and self.error:
                    raise self.error from None
                if is_over:
                    raise
            with self._sealed:
                self._sealed.wait(timeout=0.5)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._task = self._loop.create_task(self._work())
        try:
            raise_first(self._loop.run_until_complete(self._task))
        except asyncio.CancelledError:
            return
        except Exception as error:  # noqa: BLE001  # told in the main thread, by `wait_until`
            self.error = error
        finally:
            self._wake()

    def _cancel(self) -> None:
        if self._task:
            self._task.cancel()

    def _wake(self) -> None:
        with self._sealed:
            self._sealed.notify_all()


@contextmanager
def candles_on_the_way(
    place: search.Place, settings: Settings, wanted: list[Wanted], *, native: bool
) -> Iterator[Callable[[Level], None]]:
    """Download what is wanted; what is yielded waits until a level's candles are there.

    Raises:
        SettingsError: where nothing of it can be asked for.
    """
    wanted, access = reachable(wanted, settings)
    running = Download(wanted, place.store, access, native=native)
    with running.running():
        yield lambda level: running.wait_until(lambda: search.require_candles(place, level))
