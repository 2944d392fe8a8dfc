"""Download part of `tradeschool fetch`: run a download, print its plan, or follow the providers."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial

from fetcher.download import run_loop
from fetcher.download.fetch_context import RunOptions
from fetcher.download.follow import FollowPlan, FollowStatus, follow
from fetcher.download.pending import remaining_downloads
from fetcher.download.progress import DownloadProgress
from fetcher.locks import exclusive, of_provider
from fetcher.protocol.provider import Access
from fetcher.provider_registry import find
from tradeschool.app.context import data_lock
from tradeschool.app.download.dataset_selection import say_nothing_to_do
from tradeschool.errors import SettingsError
from tradeschool.markets.catalogue import DatasetRange
from tradeschool.markets.timerange import SETTLED_AFTER
from tradeschool.settings.model import Settings
from tradeschool.store import Seal, Store
from tradeschool.store.frame_store import FrameStore
from tradeschool.views import download_summary
from tradeschool.views.download_plan import require_space, show_plan
from tradeschool.views.download_progress import watch
from tradeschool.views.terminal import now, say


def fetch_all(wanted: list[DatasetRange], store: Store, settings: Settings, *, native: bool, as_json: bool) -> None:
    """Download and seal candles, then print a summary.

    Raises:
        StoreUnwritable: If the disk is too small; no request was sent then.
        TradeschoolError: Error of the first failed download; the other downloads were completed.
    """
    wanted, access = reachable(wanted, settings)
    require_space(remaining_downloads(wanted, store, native=native, access=access), store)
    with _notifying(settings):
        conclude = partial(download_summary.write, store=store)
        progress = asyncio.run(download(wanted, store, access, native=native, conclude=conclude))
    if progress:
        download_summary.show(progress, store, as_json=as_json)
    else:
        say_nothing_to_do(wanted, store, as_json=as_json)
    raise_first(progress)


def plan(wanted: list[DatasetRange], store: Store, settings: Settings, *, native: bool, as_json: bool) -> None:
    """Print the plan of a download: requests, time and disk space. It needs no token, because it sends no request."""
    access = {name: access_to(name, settings) for name in _providers(wanted)}
    for name, given in access.items():
        try:
            find(name, given.source).headers(given.token)
        except SettingsError as error:
            say(f"to download: {error}")
    show_plan(wanted, store, access, native=native, as_json=as_json)


def keep_up(
    wanted: list[DatasetRange],
    store: Store,
    settings: Settings,
    *,
    every: float,
    native: bool = False,
    after_round: Callable[[], None] = lambda: None,
) -> None:
    """Keep the chosen datasets up to date until interrupted; print one line per round and call `after_round`.

    An exception of `after_round` ends the download and is raised here.
    """
    wanted, access = reachable(wanted, settings)

    def tell(health: FollowStatus) -> None:
        say(health.line())
        after_round()

    with _notifying(settings):
        asyncio.run(_follow(_following(wanted, native=native), store, access, every, tell))


@contextmanager
def _notifying(settings: Settings) -> Iterator[None]:
    """Send notifications about the download until the block ends, if the settings configure any."""
    if not settings.notify.is_set:
        yield
        return
    from tradeschool.app.notifications import notifications  # imports search code that a plain download does not need

    with notifications(settings):
        yield


def reachable(wanted: list[DatasetRange], settings: Settings) -> tuple[list[DatasetRange], dict[str, Access]]:
    """Return the ranges that the configured credentials allow, and how to access their providers.

    Raises:
        SettingsError: If no range is left.
    """
    access = {}
    for name in _providers(wanted):
        access[name] = access_to(name, settings)
        try:
            find(name, access[name].source).headers(access[name].token)
        except SettingsError as error:
            if len(_providers(wanted)) == 1:
                raise
            left_out = sum(want.dataset.instrument.provider == name for want in wanted)
            say(f"{error}; skipping {left_out} dataset ranges of {name}")
            del access[name]
    return [want for want in wanted if want.dataset.instrument.provider in access], access


def _providers(wanted: list[DatasetRange]) -> list[str]:
    return list(dict.fromkeys(want.dataset.instrument.provider for want in wanted))


def access_to(provider: str, settings: Settings) -> Access:
    """Return the access data of a provider: the settings' values, else the provider's defaults."""
    given = settings.fetch.provider(provider)
    asked = find(provider, given.source)
    return Access(
        url=given.url or asked.url,
        rate=given.rate or asked.rate,
        source=asked.source,
        token=settings.token(provider) if asked.needs_token else None,
        shared_limit_url=shared_limit_of(settings),
        total_timeout_seconds=settings.fetch.total_timeout_seconds,
        patience_seconds=settings.fetch.patience_seconds,
    )


def shared_limit_of(settings: Settings) -> str | None:
    """Return the URL of the Redis server that shares one rate limit among fetchers; None if it is not shared.

    Raises:
        SettingsError: If the limit is shared and redis_url is not set.
    """
    if not settings.fetch.shared_limit:
        return None
    url = settings.redis_server
    if url is None:
        raise SettingsError("fetch.shared_limit needs a Redis server that all fetchers can reach; set redis_url")
    return url


async def download(
    wanted: list[DatasetRange],
    store: Store,
    access: dict[str, Access],
    *,
    native: bool,
    on_sealed: Callable[[Seal], None] = lambda seal: None,
    conclude: Callable[[list[DownloadProgress]], None] = lambda progress: None,
) -> list[DownloadProgress]:
    """Download the wanted ranges and show progress.

    `conclude` receives the progress while this process still holds the folder's lock: the next fetcher starts by
    removing unfinished files.
    """
    rates = {name: each.rate for name, each in access.items()}
    async with (
        locked(store, access),
        watch(rates, store.root) as show,
    ):
        progress = await run_loop.run(
            wanted,
            store=FrameStore.of(store),
            access=access,
            native=native,
            now=now,
            options=RunOptions(on_sealed=on_sealed, show=show),
        )
        conclude(progress)
    return progress


@asynccontextmanager
async def locked(store: Store, access: dict[str, Access]) -> AsyncIterator[None]:
    """Hold the locks of the folder and its providers; print a line while another fetcher holds one of them."""
    async with AsyncExitStack() as locks:
        await locks.enter_async_context(data_lock(store))
        for name, each in access.items():
            if each.shared_limit_url is None:
                waits = partial(say, f"another fetcher uses {name} at {each.url}; waiting for it to finish")
                await locks.enter_async_context(exclusive(of_provider(name, each.url), waits))
        yield


def _following(wanted: Sequence[DatasetRange], *, native: bool) -> FollowPlan:
    """Return the datasets to keep up to date, from the first chosen day on."""
    return FollowPlan(
        datasets=tuple(dict.fromkeys(want.dataset for want in wanted)),
        since=min(want.window.start for want in wanted),
        settled_after=SETTLED_AFTER,
        native=native,
    )


async def _follow(
    what: FollowPlan, store: Store, access: dict[str, Access], every: float, tell: Callable[[FollowStatus], None]
) -> None:
    """Keep datasets up to date until interrupted; `tell` receives the result of each round."""
    async with locked(store, access):
        await follow(
            what,
            store=FrameStore.of(store),
            access=access,
            now=now,
            pause=lambda: asyncio.sleep(every),
            tell=tell,
        )


def raise_first(progress: Sequence[DownloadProgress]) -> None:
    """Print all errors but the first, then raise the first one; do nothing if no download failed."""
    failed = list(dict.fromkeys(each.error for each in progress if each.error))  # downloads may share an error
    for error in failed[1:]:
        say(f"tradeschool: {error}")
    if failed:
        raise failed[0]
