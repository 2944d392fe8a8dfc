"""Parallel download and search: a level starts as soon as its candles are sealed."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from fetcher.progress import Progress
from fetcher.provider import Access
from optimizer.level import Level
from tradeschool.cli.apart import keep_strategies_apart
from tradeschool.cli.context import redis_url_of, say, sealed_candles_of
from tradeschool.cli.downloading import download, raise_first, reachable
from tradeschool.cli.heralding import heralded
from tradeschool.cli.own_page import own_page
from tradeschool.cli.own_workers import Look
from tradeschool.cli.searching import Chosen, begin, climb, enough_workers, place_of, strategies_of
from tradeschool.cli.wanted import refuse_unsettled
from tradeschool.errors import GateNotMet, TradeschoolError
from tradeschool.log import about
from tradeschool.market import Dataset, Wanted, Window, sealed_catalogue, subtract
from tradeschool.settings import Settings
from tradeschool.store import Seal, Store
from workers import events, records
from workers.place import Place


def wanted_by(levels: tuple[Level, ...]) -> list[Wanted]:
    """Return the ranges of all levels in order, without overlaps."""
    named = [Wanted(dataset=each.source, window=each.window) for level in levels for each in level.datasets]
    return without(named, [])


def without(wanted: Sequence[Wanted], taken: Sequence[Wanted]) -> list[Wanted]:
    """Return the wanted ranges in order, without overlaps and without the taken ranges."""
    known: dict[Dataset, list[Window]] = {}
    for each in taken:
        known.setdefault(each.dataset, []).append(each.window)
    left: list[Wanted] = []
    for each in wanted:
        before = known.setdefault(each.dataset, [])
        left += [Wanted(dataset=each.dataset, window=part) for part in subtract(each.window, before)]
        before.append(each.window)
    return left


def sealed_of(chosen: Chosen, wanted: list[Wanted]) -> list[Wanted]:
    """Return the holdout period of the curriculum's datasets; empty for user-defined levels."""
    if chosen.curriculum or chosen.level_name:
        return []
    datasets = {want.dataset for want in wanted}
    return [want for want in sealed_catalogue() if want.dataset in datasets]


def fetch_and_search(
    settings: Settings,
    wanted: Sequence[Wanted],
    options: dict[str, Any],
    run_name: str | None,
    *,
    native: bool,
    as_json: bool,
) -> None:
    """Download the candles of the levels, then the other wanted ranges, and search each level once it is sealed.

    `options` are the search options of `Chosen`.

    Raises:
        GateNotMet: If a level failed its gate after all retries; the download was completed.
    """
    chosen = Chosen(**options)
    first = wanted_by(chosen.levels())
    every = [*first, *without(wanted, first)]
    refuse_unsettled(every)
    search_while_fetching(
        settings, chosen, every, run_name, native=native, to_the_end=True, page=False, as_json=as_json
    )


def search_while_fetching(
    settings: Settings,
    chosen: Chosen,
    wanted: list[Wanted],
    run_name: str | None,
    *,
    native: bool,
    to_the_end: bool,
    page: bool,
    as_json: bool,
) -> None:
    """Download the wanted ranges and the holdout period, and search each level once its candles are sealed.

    An existing run with this name is resumed. With `page` the monitoring page is served meanwhile. The download is
    cancelled when the run ends, unless `to_the_end` is set.

    Raises:
        GateNotMet: If a level failed its gate after all retries.
        TradeschoolError: Error of the download, if a level needs candles that it did not get.
    """
    keep_strategies_apart(settings)
    place = place_of(settings)
    reached, access = reachable(wanted, settings)
    sealed = [want for want in sealed_of(chosen, wanted) if want.dataset.instrument.provider in access]
    name = _begin_or_resume(place, chosen, run_name)

    running = Download(_jobs(settings, place, name, reached, sealed), access, native=native)
    services = _services(settings, place, name, chosen.workers, page=page)
    with services as (url, look), running.running(to_the_end=to_the_end):
        climb(
            place,
            name,
            url,
            lambda level: running.wait_until(partial(place.is_ready, level)),
            running.wait_while_there_is_hope if sealed else lambda is_there: None,
            look=look,
            as_json=as_json,
        )


@contextmanager
def _services(
    settings: Settings, place: Place, run: str, workers: int | None, *, page: bool
) -> Iterator[tuple[str, Look]]:
    """Run notifications, queue server, page and workers until the block ends; yield the server's URL and the check."""
    strategies = strategies_of(place, records.read_run(place, run).levels)
    with (
        heralded(settings),
        redis_url_of(settings) as url,
        own_page(url, wanted=page),
        enough_workers(url, workers, strategies, place.signer) as look,
    ):
        yield url, look


def _jobs(settings: Settings, place: Place, run: str, reached: list[Wanted], sealed: list[Wanted]) -> "list[Job]":
    """Return the downloads of a run: its own ranges first, then the holdout period."""
    return [
        (reached, place.store, partial(_record_seal, place, run)),
        (sealed, sealed_candles_of(settings), lambda seal: None),
    ]


def _record_seal(place: Place, run: str, seal: Seal) -> None:
    """Record a sealed range in the event log of a run."""
    with about(run=run):
        events.record(
            place.folder(run),
            "dataset_sealed",
            dataset=seal.dataset,
            window=str(seal.window),
            rows=seal.rows,
            coverage=round(seal.coverage, 6),
        )


def _begin_or_resume(place: Place, chosen: Chosen, run_name: str | None) -> str:
    if run_name and (place.folder(run_name) / records.RECORD_NAME).exists():
        return records.resume(place, run_name).name
    return begin(place, chosen, run_name)


STARTED_WITHIN = 1.0
"""Seconds within which a starting thread has an identifier."""
Job = tuple[list[Wanted], Store, Callable[[Seal], None]]
"""Wanted ranges, target store, and callback for each seal."""


class Download:
    """Download in a background thread; the main thread runs the search and receives interrupts."""

    def __init__(self, jobs: list[Job], access: dict[str, Access], *, native: bool) -> None:
        self._sealed = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._task: asyncio.Task[list[Progress]] | None = None
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

    def wait_while_there_is_hope(self, is_there: Callable[[], bool]) -> None:
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

    async def _work(self) -> list[Progress]:
        progress: list[Progress] = []
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
