"""Fetching and searching side by side: a level starts as soon as its own candles are sealed."""

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
    """Every range that the levels name, no moment twice, those of the first level first."""
    named = [Wanted(dataset=each.source, window=each.window) for level in levels for each in level.datasets]
    return without(named, [])


def without(wanted: Sequence[Wanted], taken: Sequence[Wanted]) -> list[Wanted]:
    """What is wanted, in its order, each moment of a dataset once and none that is taken already."""
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
    """The sealed period of the curriculum's datasets, which comes last; nothing for levels of a user's own choice."""
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
    """Download what the levels name, then the rest of what is wanted, and search each level as its candles come in.

    `options` are those of a search.

    Raises:
        GateNotMet: where a level was given up; the download went on to its end.
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
    """Download what is wanted and the sealed period, and climb the chosen levels as their candles come in.

    A run of that name is gone on with; `page` has the page served beside it. The download is given up when the run
    ends, unless it is to go `to_the_end`.

    Raises:
        GateNotMet: where a level was given up.
        TradeschoolError: what ended the download, where a level waits for what it did not bring.
    """
    keep_strategies_apart(settings)
    place = place_of(settings)
    reached, access = reachable(wanted, settings)
    sealed = [want for want in sealed_of(chosen, wanted) if want.dataset.instrument.provider in access]
    name = _begin_or_resume(place, chosen, run_name)

    def on_sealed(seal: Seal) -> None:
        with about(run=name):
            events.record(
                place.folder(name),
                "dataset_sealed",
                dataset=seal.dataset,
                window=str(seal.window),
                rows=seal.rows,
                coverage=round(seal.coverage, 6),
            )

    parts: list[Job] = [(reached, place.store, on_sealed), (sealed, sealed_candles_of(settings), lambda seal: None)]
    running = Download(parts, access, native=native)
    with (
        heralded(settings),
        redis_url_of(settings) as url,
        own_page(url, wanted=page),
        enough_workers(url, chosen.workers, strategies_of(place, records.read_run(place, name).levels)) as look,
        running.running(to_the_end=to_the_end),
    ):
        climb(
            place,
            name,
            url,
            lambda level: running.wait_until(partial(place.is_ready, level)),
            running.wait_while_there_is_hope if sealed else lambda is_there: None,
            look=look,
            as_json=as_json,
        )


def _begin_or_resume(place: Place, chosen: Chosen, run_name: str | None) -> str:
    if run_name and (place.folder(run_name) / records.RECORD_NAME).exists():
        return records.resume(place, run_name).name
    return begin(place, chosen, run_name)


STARTED_WITHIN = 1.0
"""Seconds in which a thread is there that was told to start."""
Job = tuple[list[Wanted], Store, Callable[[Seal], None]]
"""What is wanted, where it goes, and who is told of each seal."""


class Download:
    """A download in a thread of its own, so that the main one is free to search and to be interrupted."""

    def __init__(self, jobs: list[Job], access: dict[str, Access], *, native: bool) -> None:
        self._sealed = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._task: asyncio.Task[list[Progress]] | None = None
        self._jobs, self._access, self._native = jobs, access, native
        self._thread = threading.Thread(target=self._run, name="download")
        self.error: BaseException | None = None
        """What ended the download, None while it goes on and after a whole one."""

    @contextmanager
    def running(self, *, to_the_end: bool) -> Iterator[None]:
        """Until the block ends; what is not downloaded by then is given up, and stays where the next run goes on.

        `to_the_end` waits for all of it where the block ends by itself.
        """
        try:
            self._thread.start()  # a Ctrl-C may fall into it, when the thread is at work already
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
        """Return as soon as `is_there`.

        Raises:
            TradeschoolError: the download's error, where it ended with one before that.
        """
        while not is_there():
            if not self._thread.is_alive():
                if self.error and not is_there():
                    raise self.error
                return  # whoever waits finds out what is missing, and says it
            with self._sealed:
                self._sealed.wait(timeout=0.5)

    def wait_while_there_is_hope(self, is_there: Callable[[], bool]) -> None:
        """Return as soon as `is_there`, or as the download is over; what ended it is said."""
        try:
            self.wait_until(is_there)
        except TradeschoolError as error:
            say(f"the sealed period was not downloaded: {error}")

    def _join(self) -> None:
        """A thread whose start was interrupted is there a moment later, or never."""
        end = time.monotonic() + STARTED_WITHIN
        while self._thread.ident is None and time.monotonic() < end:
            time.sleep(0.01)
        if self._thread.ident is not None:
            self._thread.join()

    def _wait_for_end(self) -> None:
        while self._thread.is_alive():
            self._thread.join(timeout=0.5)  # not for ever: a Ctrl-C is to be heard
        if self.error:
            raise self.error

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
