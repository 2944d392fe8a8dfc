"""Download run: plans, requests, stores and seals the wanted ranges; it can be killed at any point.

One task per provider runs concurrently; it processes its downloads in order, with several pages in flight. While a
download is published, its provider task continues with the next one. A restart needs only the ledger and the seals.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import Any

from fetcher.download.audit import compare, sample
from fetcher.download.fetch_context import DEFAULT_OPTIONS, FetchContext, LedgerThread, RunOptions
from fetcher.download.page_ledger import PageLedger
from fetcher.download.pending import missing_pages, planned_pages, remaining_downloads, unconfirmed_pages
from fetcher.download.plan import DownloadPlan, halves
from fetcher.download.progress import DownloadProgress
from fetcher.download.sealing import Publisher
from fetcher.http.client import Client
from fetcher.http.request_statistics import Traffic
from fetcher.protocol.provider import Access, Page, PageTooLarge
from fetcher.provider_registry import find
from tradeschool.atomic_files import sweep
from tradeschool.errors import (
    InvalidCandles,
    ProviderError,
    ProviderUnusable,
    ServiceUnreachable,
    StoreUnwritable,
    TradeschoolError,
)
from tradeschool.markets.calendars import expected_slots
from tradeschool.markets.catalogue import DatasetRange
from tradeschool.ohlcv.arrays import are_among
from tradeschool.ohlcv.frame import Candles
from tradeschool.store.frame_store import FrameStore

log = logging.getLogger(__name__)

CONFIRM_ROUNDS = 6  # rounds in which unconfirmed pages are requested again before the download fails

CACHED_CANDLES = 250_000  # parsed candles kept in memory per download (about 14 MB) so that they are not parsed again


async def run(
    wanted: Sequence[DatasetRange],
    *,
    store: FrameStore,
    access: Mapping[str, Access],
    native: bool,
    now: Callable[[], datetime],
    options: RunOptions = DEFAULT_OPTIONS,
) -> list[DownloadProgress]:
    """Download and seal the wanted ranges that are not sealed yet, from all providers concurrently.

    `access` contains the providers to use.

    A download that fails because of its provider stays unsealed, with the error in its progress; the others continue.

    Raises:
        StoreUnwritable: if a file cannot be written; stored pages are kept, and the next run continues.
    """
    sweep(store.root)
    plan = remaining_downloads(wanted, store, native=native, access=access)
    traffic = {name: Traffic() for name in access}
    progress = [
        DownloadProgress(download=download, traffic=traffic[download.dataset.instrument.provider]) for download in plan
    ]
    with ThreadPoolExecutor(1, "ledger") as pages_disk, ThreadPoolExecutor(1, "publish") as files_disk:
        context = FetchContext(
            store=store,
            pages=LedgerThread(pages_disk, PageLedger(store.root)),
            files=LedgerThread(files_disk, PageLedger(store.root)),
            now=now,
            options=options,
        )
        try:
            await _run_providers(context, access, progress)
        finally:
            await context.close()
    return progress


async def _run_providers(context: FetchContext, access: Mapping[str, Access], progress: list[DownloadProgress]) -> None:
    """Plan the pages of all downloads, then run one task per provider."""
    plan = [each.download for each in progress]
    planned = await context.pages.call(partial(planned_pages, plan, context.pages.ledger, access))
    for each in progress:
        each.total = planned[each.download.wanted]
    context.options.show(progress)
    groups = {name: [each for each in progress if each.download.dataset.instrument.provider == name] for name in access}
    await _all(_provider_task(context, access[name], group) for name, group in groups.items())


async def _provider_task(context: FetchContext, access: Access, group: list[DownloadProgress]) -> None:
    """Run the downloads of one provider in order; an unreachable provider ends all, another error one download."""
    if not group:
        return
    provider = find(group[0].download.dataset.instrument.provider, access.source)
    async with Client(provider, access, group[0].traffic) as client, asyncio.TaskGroup() as publishing:
        for progress in group:
            try:
                with _counted(client, progress):
                    await _download(context, client, progress)
            except StoreUnwritable:
                raise
            except ServiceUnreachable as error:
                for left in group[group.index(progress) :]:
                    left.error = error
                break
            except TradeschoolError as error:
                progress.error = error
                progress.parsed.clear()
            else:
                publishing.create_task(_publish(context, client, progress))


async def _download(context: FetchContext, client: Client, progress: DownloadProgress) -> None:
    """Request all missing pages, then repeat incomplete pages until every missing candle is confirmed."""
    download, ledger = progress.download, context.pages.ledger
    if download.from_sealed:
        return
    publisher = Publisher(context.store, ledger, context.now)
    for lost in await context.pages.call(partial(publisher.forget_lost, download)):
        log.warning(
            "Published file is missing or changed",
            extra={"action": "file_lost", "dataset": download.dataset.name, "window": str(lost)},
        )
    todo = await context.pages.call(partial(missing_pages, download, ledger, client.provider))
    progress.total = len(todo)
    progress.short = len(await context.pages.call(partial(unconfirmed_pages, download, ledger)))
    if todo:
        await client.probe(download.dataset)
        _check_clock(client, download)
    await _fetch_pages(context, client, progress, todo, fresh=False)
    for _ in range(CONFIRM_ROUNDS):
        unconfirmed = await context.pages.call(partial(unconfirmed_pages, download, ledger))
        if not unconfirmed:
            return
        progress.add_pages(len(unconfirmed))
        await asyncio.sleep(context.options.confirm_after_seconds)
        await _fetch_pages(context, client, progress, unconfirmed, fresh=True)
    if unconfirmed := await context.pages.call(partial(unconfirmed_pages, download, ledger)):
        raise ProviderUnusable(
            f"{unconfirmed[0]}: {client.provider.name} returns different candles each time; run tradeschool fetch later"
        )


def _check_clock(client: Client, download: DownloadPlan) -> None:
    """Check that the range ends before the provider's time; later candles would be taken for confirmed empty."""
    there = client.server_time
    if there and download.wanted.window.end > there:
        raise ProviderUnusable(
            f"{download.dataset}: candles until {download.wanted.window.end:%Y-%m-%d %H:%M} UTC are requested, but the "
            f"clock of {client.provider.name} is at {there:%Y-%m-%d %H:%M} UTC: correct the clock of this machine"
        )


async def _fetch_pages(
    context: FetchContext, client: Client, progress: DownloadProgress, todo: list[Page], *, fresh: bool
) -> None:
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
                await context.pages.call(partial(context.pages.ledger.fail, page, str(error)))
                raise
            complete = _is_complete(page, candles)
            stored = partial(
                context.pages.ledger.add,
                page,
                body,
                rows=len(candles),
                complete=complete,
                source=client.provider.source,
            )
            number = await context.pages.call(stored)
            if len(progress.parsed) * client.provider.slots_per_page < CACHED_CANDLES:
                progress.parsed[number] = candles
            progress.count(page.window.end, is_short=not complete and not fresh)

    await _all(work() for _ in range(client.provider.connections))


@contextmanager
def _counted(client: Client, progress: DownloadProgress) -> Iterator[None]:
    """Add the requests that the client sends during the block to the download."""
    before = client.traffic.requests, client.traffic.retries
    try:
        yield
    finally:
        progress.requests += client.traffic.requests - before[0]
        progress.retries += client.traffic.retries - before[1]


async def _publish(context: FetchContext, client: Client, progress: DownloadProgress) -> None:
    if not context.options.seal:
        return
    publisher = Publisher(context.store, context.files.ledger, context.now)
    try:
        work = partial(publisher.publish, progress.download, progress.parsed)
        seals = await context.files.call(work)
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
        await context.files.call(partial(context.options.on_sealed, seal))
    progress.seals = seals
    await _audit(context, client, progress)


async def _audit(context: FetchContext, client: Client, progress: DownloadProgress) -> None:
    """Compare derived candles with native pages and log differences; an error only ends the audit."""
    for page in sample(progress.download, client.provider, progress.done):
        try:
            _, native = await client.page(page)
            derived = await context.files.call(partial(_derived, context.store, progress.download, page))
        except TradeschoolError as error:
            log.warning("Audit failed", extra={"action": "audit_failed", "page": str(page), "reason": str(error)})
            return
        audit = compare(derived, native, page)
        progress.audits.append(audit)
        level = logging.INFO if audit.is_clean else logging.WARNING
        log.log(
            level,
            "Compared derived candles with native candles",
            extra={
                "action": "audited",
                "page": str(page),
                "candles": audit.candles,
                "absent": audit.absent,
                "other_prices": audit.other_prices,
                "other_volumes": audit.other_volumes,
            },
        )


def _derived(store: FrameStore, download: DownloadPlan, page: Page) -> Candles:
    """Return the stored candles of a page inside the sealed range."""
    inside = page.window.overlap(download.wanted.window)
    return store.candles(page.dataset, inside) if inside else Candles.empty(page.dataset)


def _is_complete(page: Page, candles: Candles) -> bool:
    expected = expected_slots(page.dataset, page.window)
    return bool(are_among(expected, candles.times).all())


async def _all(work: Iterator[Coroutine[Any, Any, None]]) -> None:
    """Run coroutines concurrently; the first of several errors is raised without its group."""
    try:
        async with asyncio.TaskGroup() as group:
            for each in work:
                group.create_task(each)
    except BaseExceptionGroup as failures:
        raise _first(failures) from None


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    error = failures.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
