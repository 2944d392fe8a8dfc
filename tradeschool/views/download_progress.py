"""Download progress: bars on a terminal, log lines elsewhere, and a JSON file for other programs."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn
from rich.progress import Progress as Bars

from fetcher.download.progress import DownloadProgress
from fetcher.download.status import download_status
from tradeschool.errors import StoreUnwritable
from tradeschool.store.download_status import DownloadState, DownloadStatus, ProviderState
from tradeschool.views.terminal import now, say

REFRESH = 0.25  # seconds between two updates on a terminal
LINE_EVERY = 10.0  # seconds between two log lines
RECORD_EVERY = 2.0  # seconds between two writes of the JSON file
WORTH_A_LINE = 2.0  # shortest pause, in seconds, that is shown


@asynccontextmanager
async def watch(rates: Mapping[str, float], root: Path) -> AsyncIterator[Callable[[list[DownloadProgress]], None]]:
    """Show the progress passed to the yielded function until the block ends, and publish it below `root`.

    `rates` are the rate limits in requests/s, by provider.
    """
    shown: list[DownloadProgress] = []
    begun = time.monotonic()

    def state(*, running: bool = True) -> DownloadStatus:
        return download_status(shown, rates, elapsed=time.monotonic() - begun, now=now(), running=running)

    board = _Bars(state) if sys.stderr.isatty() else _Lines(state)
    tasks = [asyncio.create_task(work) for work in (board.run(), _publish(state, root))]
    try:
        yield shown.extend
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        board.close()
        if shown:
            with suppress(StoreUnwritable):  # the download reports the same error; resuming does not need the file
                state(running=False).publish(root)


async def _publish(state: Callable[[], DownloadStatus], root: Path) -> None:
    while True:
        await asyncio.sleep(RECORD_EVERY)
        with suppress(StoreUnwritable):
            await asyncio.to_thread(state().publish, root)


class _Lines:
    """Progress as periodic lines, for logs."""

    def __init__(self, state: Callable[[], DownloadStatus]) -> None:
        self._state = state

    async def run(self) -> None:
        while True:
            await asyncio.sleep(LINE_EVERY)
            say(line(self._state()))

    def close(self) -> None:
        state = self._state()
        if state.pages_total:
            say(line(state))


class _Bars:
    """Progress as one bar per dataset, for terminals."""

    def __init__(self, state: Callable[[], DownloadStatus]) -> None:
        self._state = state
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[remark]}"),
            console=Console(stderr=True),
        )
        self._tasks: dict[str, TaskID] = {"all": self._bars.add_task("all", total=None, remark="")}

    async def run(self) -> None:
        self._bars.start()
        while True:
            self._draw()
            await asyncio.sleep(REFRESH)

    def close(self) -> None:
        self._draw()
        self._bars.stop()

    def _draw(self) -> None:
        state = self._state()
        for each in state.downloads:
            if each.pages_total:
                self._update(f"{each.dataset} {each.range}", each.pages_done, each.pages_total, _reached(each))
        for provider in state.providers:
            self._update(provider.provider, provider.requests, None, f"requests, {_traffic(provider)}")
        left = f"ETA {state.eta_seconds:.0f} s"
        self._update("all", state.pages_done, state.pages_total or None, left)

    def _update(self, name: str, done: int, total: int | None, remark: str) -> None:
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=total, remark="")
        self._bars.update(self._tasks[name], completed=done, total=total, remark=remark)


def line(state: DownloadStatus) -> str:
    """Return the progress of a download in one line."""
    told = [f"fetched {state.pages_done:,} of {state.pages_total:,} pages"]
    told += [f"{provider.provider} {_traffic(provider)}" for provider in state.providers if provider.requests]
    active = next((each for each in state.downloads if each.pages_done < each.pages_total and not each.error), None)
    if active:
        told += [f"{active.dataset} {_reached(active)}".rstrip(), f"ETA {state.eta_seconds:.0f} s"]
    return ", ".join(told)


def _traffic(provider: ProviderState) -> str:
    pace = f"{provider.requests_per_second:.2f}/s ({provider.limit_share:.0%} of the limit)"
    waits = f"{provider.waiting_for_token} waiting for the rate limit, {provider.waiting_for_network} for the network"
    pause = f", paused for {provider.paused_seconds:.0f} s" if provider.paused_seconds >= WORTH_A_LINE else ""
    return f"{pace}, {waits}{pause}"


def _reached(each: DownloadState) -> str:
    return f"reached {each.reached:%Y-%m-%d}" if each.reached else ""
