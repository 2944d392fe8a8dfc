"""The loop: plan, fetch, parse, store, seal; safe to kill at any line.

One lane a provider, all at once; a lane asks for one download after the other, with several pages in flight.
While a download is published, its lane goes on with the next. All that a restart needs is in the ledger and
in the seals.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from fetcher.audit import compare, sample
from fetcher.client import Client
from fetcher.ledger import Ledger
from fetcher.plan import Download, halves
from fetcher.progress import CONFIRM_AFTER, Progress
from fetcher.provider import Access, Page, PageTooLarge, find
from fetcher.publish import Publisher
from fetcher.remaining import doubtful_pages, planned_pages, remaining_downloads, unasked_pages
from fetcher.traffic import Traffic
from tradeschool.candles import Candles
from tradeschool.columns import are_among
from tradeschool.errors import (
    InvalidCandles,
    ProviderError,
    ProviderUnusable,
    ServiceUnreachable,
    StoreUnwritable,
    TradeschoolError,
)
from tradeschool.market import Wanted
from tradeschool.sessions import expected_slots
from tradeschool.store import Seal
from tradeschool.store.files import sweep
from tradeschool.store.frames import FrameStore

log = logging.getLogger(__name__)

CONFIRM_ROUNDS = 6  # how often doubtful pages are asked for again before their dataset is left unsealed

KEPT_CANDLES = 250_000  # of a download, some 14 MB, that publishing need not parse again

T = TypeVar("T")


async def run(
    wanted: Sequence[Wanted],
    *,
    store: FrameStore,
    access: Mapping[str, Access],
    native: bool,
    now: Callable[[], datetime],
    on_sealed: Callable[[Seal], None] = lambda seal: None,
    show: Callable[[list[Progress]], None] = lambda progress: None,
    confirm_after: float = CONFIRM_AFTER,
    seal: bool = True,
) -> list[Progress]:
    """Download, publish and seal what is wanted and not sealed yet, all providers at once.

    Without `seal`, answers are stored in the ledger, where a later run finds them, and nothing is published.

    A download that a provider's answers stop is left unsealed with its error in the result; the others go on.
    `on_sealed` is called in a thread, a seal at a time. `access` names the providers that may be asked.

    Raises:
        StoreUnwritable: if the disk takes no more; what is stored stays, and the next run goes on from there.
    """
    sweep(store.root)
    plan = remaining_downloads(wanted, store, native=native)
    traffic = {name: Traffic() for name in access}
    progress = [Progress(download=download, traffic=traffic[download.dataset.instrument.provider]) for download in plan]
    with ThreadPoolExecutor(1, "ledger") as pages_disk, ThreadPoolExecutor(1, "publish") as files_disk:
        site = _Site(
            store=store,
            pages=_Desk(pages_disk, Ledger(store.root)),
            files=_Desk(files_disk, Ledger(store.root)),
            now=now,
            on_sealed=on_sealed,
            confirm_after=confirm_after,
            seal=seal,
        )
        try:
            planned = await site.pages.call(partial(planned_pages, plan, site.pages.ledger, access))
            for each in progress:
                each.total = planned[each.download.wanted]
            show(progress)
            await _all(
                _lane(site, access[name], [each for each in progress if each.traffic is traffic[name]])
                for name in access
            )
        finally:
            await site.close()
    return progress


@dataclass(frozen=True, slots=True)
class _Desk:
    """A ledger and the one thread that touches it, so that no write blocks the event loop."""

    thread: ThreadPoolExecutor
    ledger: Ledger

    async def call(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self.thread, work)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Site:
    """What all lanes of a run share."""

    store: FrameStore
    pages: _Desk
    files: _Desk
    now: Callable[[], datetime]
    on_sealed: Callable[[Seal], None]
    confirm_after: float
    seal: bool

    async def close(self) -> None:
        for desk in (self.pages, self.files):
            await desk.call(desk.ledger.close)


async def _lane(site: _Site, access: Access, lane: list[Progress]) -> None:
    """One provider's downloads, in order; whoever does not answer ends the lane, any other failure its download."""
    if not lane:
        return
    provider = find(lane[0].download.dataset.instrument.provider, access.source)
    async with Client(provider, access, lane[0].traffic) as client, asyncio.TaskGroup() as publishing:
        for progress in lane:
            try:
                with _counted(client, progress):
                    await _download(site, client, progress)
            except StoreUnwritable:
                raise
            except ServiceUnreachable as error:
                for left in lane[lane.index(progress) :]:
                    left.error = error
                break
            except TradeschoolError as error:
                progress.error = error
                progress.parsed.clear()
            else:
                publishing.create_task(_publish(site, client, progress))


async def _download(site: _Site, client: Client, progress: Progress) -> None:
    """Ask for every page that is missing, and again for those that lack candles, until all is accounted for."""
    download, ledger = progress.download, site.pages.ledger
    if download.from_sealed:
        return
    publisher = Publisher(site.store, ledger, site.now)
    for lost in await site.pages.call(partial(publisher.forget_lost, download)):
        log.warning(
            "A published file is lost",
            extra={"action": "file_lost", "dataset": download.dataset.name, "window": str(lost)},
        )
    todo = await site.pages.call(partial(unasked_pages, download, ledger, client.provider))
    progress.total = len(todo)
    progress.short = len(await site.pages.call(partial(doubtful_pages, download, ledger)))
    if todo:
        await client.probe(download.dataset)
        _check_clock(client, download)
    await _ask(site, client, progress, todo, fresh=False)
    for _ in range(CONFIRM_ROUNDS):
        doubtful = await site.pages.call(partial(doubtful_pages, download, ledger))
        if not doubtful:
            return
        progress.ask_again(len(doubtful))
        await asyncio.sleep(site.confirm_after)
        await _ask(site, client, progress, doubtful, fresh=True)
    if doubtful := await site.pages.call(partial(doubtful_pages, download, ledger)):
        raise ProviderUnusable(
            f"{doubtful[0]}: {client.provider.name} answers with other candles each time; run tradeschool fetch later"
        )


def _check_clock(client: Client, download: Download) -> None:
    """What a provider does not have yet would come as an empty answer, and be taken for a market without trades."""
    there = client.server_time
    if there and download.wanted.window.end > there:
        raise ProviderUnusable(
            f"{download.dataset}: candles until {download.wanted.window.end:%Y-%m-%d %H:%M} UTC are wanted, but for "
            f"{client.provider.name} it is {there:%Y-%m-%d %H:%M} UTC: set this machine's clock"
        )


async def _ask(site: _Site, client: Client, progress: Progress, todo: list[Page], *, fresh: bool) -> None:
    waiting = deque(todo)

    async def work() -> None:
        while waiting:
            page = waiting.popleft()
            try:
                body, candles = await client.page(page, fresh=fresh)
            except PageTooLarge:
                parts = halves(page)
                if len(parts) == 1:
                    raise
                waiting.extendleft(reversed(parts))
                progress.total += 1
                continue
            except (ProviderError, InvalidCandles, ServiceUnreachable) as error:
                await site.pages.call(partial(site.pages.ledger.fail, page, str(error)))
                raise
            complete = _is_complete(page, candles)
            stored = partial(
                site.pages.ledger.add,
                page,
                body,
                rows=len(candles),
                complete=complete,
                source=client.provider.source,
            )
            number = await site.pages.call(stored)
            if len(progress.parsed) * client.provider.slots_per_page < KEPT_CANDLES:
                progress.parsed[number] = candles
            progress.count(page.window.end, is_short=not complete and not fresh)

    await _all(work() for _ in range(client.provider.connections))


@contextmanager
def _counted(client: Client, progress: Progress) -> Iterator[None]:
    """Add what a client sends meanwhile to a download; a lane asks for one download at a time."""
    before = client.traffic.requests, client.traffic.retries
    try:
        yield
    finally:
        progress.requests += client.traffic.requests - before[0]
        progress.retries += client.traffic.retries - before[1]


async def _publish(site: _Site, client: Client, progress: Progress) -> None:
    if not site.seal:
        return
    publisher = Publisher(site.store, site.files.ledger, site.now)
    try:
        work = partial(publisher.publish, progress.download, progress.parsed)
        seals = await site.files.call(work)
    except StoreUnwritable:
        raise
    except TradeschoolError as error:
        progress.error = error
        return
    finally:
        progress.parsed.clear()
    for seal in seals:
        log.info(
            "Dataset sealed",
            extra={"action": "dataset_sealed", "dataset": seal.dataset, "rows": seal.rows, "missing": seal.missing},
        )
        await site.files.call(partial(site.on_sealed, seal))
    progress.seals = seals
    await _audit(site, client, progress)


async def _audit(site: _Site, client: Client, progress: Progress) -> None:
    """Hold what was derived against native pages; a difference is told, and a failure ends nothing: all is sealed."""
    for page in sample(progress.download, client.provider.slots_per_page, progress.done):
        try:
            _, native = await client.page(page)
            derived = await site.files.call(partial(_derived, site.store, progress.download, page))
        except TradeschoolError as error:
            log.warning("Audit given up", extra={"action": "audit_failed", "page": str(page), "reason": str(error)})
            return
        audit = compare(derived, native, page)
        progress.audits.append(audit)
        level = logging.INFO if audit.is_clean else logging.WARNING
        log.log(
            level,
            "Derived candles compared",
            extra={
                "action": "audited",
                "page": str(page),
                "candles": audit.candles,
                "absent": audit.absent,
                "other_prices": audit.other_prices,
                "other_volumes": audit.other_volumes,
            },
        )


def _derived(store: FrameStore, download: Download, page: Page) -> Candles:
    """The stored candles of a page; its last one may reach beyond what is sealed."""
    inside = page.window.overlap(download.wanted.window)
    return store.candles(page.dataset, inside) if inside else Candles.empty(page.dataset)


def _is_complete(page: Page, candles: Candles) -> bool:
    expected = expected_slots(page.dataset, page.window)
    return bool(are_among(expected, candles.times).all())


async def _all(work: Iterator[Coroutine[Any, Any, None]]) -> None:
    """Do it all at once; of several failures the first is told, as itself."""
    try:
        async with asyncio.TaskGroup() as group:
            for each in work:
                group.create_task(each)
    except BaseExceptionGroup as failures:
        raise _first(failures) from None


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    error = failures.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
