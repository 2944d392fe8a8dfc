"""How far a download is: bars on a terminal, a line now and then elsewhere."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bars

from fetcher.sync import Progress
from tradeschool.cli.context import say

REFRESH = 0.25  # seconds between two looks on a terminal
LINE_EVERY = 10.0  # seconds between two lines elsewhere


@asynccontextmanager
async def watch(rates: Mapping[str, float]) -> AsyncIterator[Callable[[list[Progress]], None]]:
    """Show the progress that is handed over, until the block ends; `rates` are requests a second by provider."""
    shown: list[Progress] = []
    board = _Bars(shown, rates) if sys.stderr.isatty() else _Lines(shown, rates)
    task = asyncio.create_task(board.run())
    try:
        yield shown.extend
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        board.close()


def eta_seconds(shown: list[Progress], rates: Mapping[str, float]) -> float:
    """Time until the last page at the limit's pace; providers work side by side."""
    left = {
        name: sum(max(0, each.total - each.done) for each in shown if each.download.dataset.instrument.provider == name)
        for name in rates
    }
    return max((pages / rates[name] for name, pages in left.items()), default=0.0)


class _Lines:
    """One line now and then: for logs."""

    def __init__(self, shown: list[Progress], rates: Mapping[str, float]) -> None:
        self._shown, self._rates, self._started = shown, rates, time.monotonic()

    async def run(self) -> None:
        while True:
            await asyncio.sleep(LINE_EVERY)
            say(self._line())

    def close(self) -> None:
        if any(each.total for each in self._shown):
            say(self._line())

    def _line(self) -> str:
        done, total = sum(each.done for each in self._shown), sum(each.total for each in self._shown)
        pace = done / (time.monotonic() - self._started)
        active = next((each for each in self._shown if each.done < each.total), None)
        where = f", {active.download.dataset} reached {active.reached:%Y-%m-%d}" if active and active.reached else ""
        left = f", about {eta_seconds(self._shown, self._rates):.0f} s left" if active else ""
        return f"fetched {done:,} of {total:,} pages, {pace:.2f} pages/s{where}{left}"


class _Bars:
    """A bar a dataset: for people."""

    def __init__(self, shown: list[Progress], rates: Mapping[str, float]) -> None:
        self._shown, self._rates = shown, rates
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[reached]}"),
            console=Console(stderr=True),
        )
        self._total = self._bars.add_task("all", total=None, reached="")

    async def run(self) -> None:
        self._bars.start()
        while True:
            self._draw()
            await asyncio.sleep(REFRESH)

    def close(self) -> None:
        self._draw()
        self._bars.stop()

    def _draw(self) -> None:
        tasks = {task.description: task.id for task in self._bars.tasks}
        for each in self._shown:
            name = f"{each.download.dataset} {each.download.wanted.window}"
            if each.total and name not in tasks:
                tasks[name] = self._bars.add_task(name, reached="")
            if name in tasks:
                reached = f"{each.reached:%Y-%m-%d}" if each.reached else ""
                self._bars.update(tasks[name], completed=each.done, total=each.total, reached=reached)
        done, total = sum(each.done for each in self._shown), sum(each.total for each in self._shown)
        left = f"about {eta_seconds(self._shown, self._rates):.0f} s left"
        self._bars.update(self._total, completed=done, total=total or None, reached=left)
