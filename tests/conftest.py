"""Fixtures of all tests: real candles, an empty store, a served exchange, a small disk and a browser."""

import gc
import logging
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
)
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import settings

from fetcher.simulator.candles.generated import GeneratedCandles
from fetcher.simulator.server import RunningExchange, serve
from tests.factories.exchanges import exchange_of
from tests.factories.folders import memory
from tests.fork_server import ForkHelper
from tests.revisions import keep_revisions
from tradeschool.markets import registry
from tradeschool.markets.calendars import expected_slots
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.windows import Window
from tradeschool.ohlcv.frame import Candles, schema
from tradeschool.store.frame_store import FrameStore

gc.disable()  # until all tests are collected: collections of everything took a third of that time

settings.register_profile("tradeschool", deadline=None)  # how long an example takes is no property of it
settings.load_profile("tradeschool")
keep_revisions()
if found := memory():
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(found))  # pytest's root of all temporary folders

signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it is ignored, also by the commands that a test starts

HERE = Path(__file__).parent
REPOSITORY = HERE.parent

Serve = Callable[..., AbstractAsyncContextManager[RunningExchange]]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep the tests of a file on one worker, in order, for shared fixtures; the longest files come first."""
    if config.getoption("dist") != "load":
        return None
    from xdist.scheduler import LoadFileScheduling

    config.option.loadscopereorder = False
    return LoadFileScheduling(config, log)


def pytest_collection_finish() -> None:
    """Let the garbage collector skip modules and test items, which stay until the end, and begin."""
    gc.freeze()
    gc.enable()


COMMANDS = (
    "tradeschool.cli.main",
    "tradeschool.cli.candles.exchange",
    "tradeschool.cli.candles.fetch",
    "tradeschool.cli.operations.forward",
    "tradeschool.cli.operations.queue",
    "fetcher.download.run_loop",
    "tests.warmed",
)
"""Modules of the commands that tests start in forks."""

LONGEST = ("acceptance", "chaos", "workers")
"""Folders whose files take longest, in the order in which they run."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run short files last, so that no process waits long for another at the end."""

    def rank(item: pytest.Item) -> int:
        folder = item.path.relative_to(HERE).parts[0] if item.path.is_relative_to(HERE) else ""
        return LONGEST.index(folder) if folder in LONGEST else len(LONGEST)

    items.sort(key=rank)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of real candles and recorded responses, which are not part of the repository."""
    folder = Path(os.environ.get("SHARED_FOLDER", REPOSITORY.parent / "shared")).resolve()
    if not (folder / "recorded" / "manifest.json").is_file():
        pytest.skip(f"no real candles in {folder}: set SHARED_FOLDER")
    return folder


@pytest.fixture
def store(tmp_path: Path) -> FrameStore:
    return FrameStore(tmp_path / "data")


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Isolate tests from the environment variables and the working folder of the caller."""
    for name in [*os.environ]:
        if name.upper().startswith("TRADESCHOOL_"):
            monkeypatch.delenv(name)
    for name in ("OANDA_API_TOKEN", "OPTUNA_STORAGE", "RQ_REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    yield


@pytest.fixture(autouse=True)
def own_log() -> Iterator[None]:
    """A test that configures the log leaves the root logger as pytest has set it up."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


@pytest.fixture(scope="session")
def command_helper() -> Iterator[ForkHelper]:
    """A process with the imports of the commands that tests start from their own process."""
    helper = ForkHelper(COMMANDS)
    yield helper
    helper.close()


@pytest.fixture(scope="module")
def forked_commands(command_helper: ForkHelper) -> Iterator[None]:
    """Commands that a module starts with `subprocess`, as `python -m tradeschool`, are forks."""
    with command_helper.in_use():
        yield


@pytest.fixture(scope="session")
def generated() -> GeneratedCandles:
    """One source for all exchanges; its years are generated once."""
    return GeneratedCandles(seed=7)


@pytest.fixture
def serving(generated: GeneratedCandles) -> Serve:
    """Serve a new exchange over generated candles; without a given limit it has none."""

    @asynccontextmanager
    async def one(**options: object) -> AsyncIterator[RunningExchange]:
        async with serve(exchange_of(generated, **({"seed": 3} | options))) as served:
            yield served

    return one


@pytest.fixture(scope="session")
def day() -> Callable[[str], datetime]:
    """Midnight UTC of `2020-01-31`."""
    return lambda text: datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.fixture(scope="session")
def window(day: Callable[[str], datetime]) -> Callable[[str, str], Window]:
    return lambda start, end: Window(day(start), day(end))


@pytest.fixture(scope="session")
def made() -> Callable[[Dataset, Window], Candles]:
    """Valid candles in every expected slot of a window; only their times matter."""

    def candles(dataset: Dataset, window: Window) -> Candles:
        times = expected_slots(dataset, window)
        level = 1.0 + (times // 300 % 1000) / 1000
        columns = {"open": level, "high": level + 0.2, "low": level - 0.2, "close": level + 0.1, "volume": level}
        frame = pl.DataFrame({"ts": times * 1_000_000, **columns, "half_spread": np.full(len(times), 1e-4)})
        return Candles.parse(frame.select(schema(dataset).keys()).cast(schema(dataset)), dataset, window)

    return candles


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 512 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a small disk can be mounted by root only")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.fixture
def remount(small_disk: Path) -> Callable[[str], None]:
    """Change a mount option of the small disk, such as `ro` or `size=20m`."""

    def change(option: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{option}", str(small_disk)], check=True)

    return change


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium; for modules without asynchronous tests, because its driver keeps an event loop running."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium here: it is Debian's package of that name, which .ci/run installs")
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: ./scripts/bootstrap installs it")
    flags = "--no-sandbox --headless --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    flags += " --disable-component-update --disable-sync"
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=chromium, args=flags.split())
        yield opened
        opened.close()


class Visit:
    """A page, with its errors and foreign requests."""

    def __init__(self, browser: Any, url: str, **options: Any) -> None:
        self.url, self.wrong = url, list[str]()
        self.context = browser.new_context(**({"viewport": {"width": 1360, "height": 900}} | options))
        self.page = self.context.new_page()
        self.page.set_default_timeout(60_000)
        self.page.on("console", lambda said: said.type in {"error", "warning"} and self.wrong.append(said.text))
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("request", lambda asked: self.note(asked.url))

    def note(self, asked: str) -> None:
        if not asked.startswith((self.url, "data:")):
            self.wrong.append(f"a request went elsewhere: {asked}")


@pytest.fixture
def visit(browser: Any) -> Callable[..., AbstractContextManager[Any]]:
    """Opens a page; at the end it must have no error and no foreign request, except those in `expected`."""

    @contextmanager
    def one(url: str, expected: str | None = None, **options: Any) -> Iterator[Any]:
        visit = Visit(browser, url, **options)
        visit.page.goto(url)
        yield visit.page
        visit.context.close()
        assert [text for text in visit.wrong if not (expected and expected in text)] == []

    return one


@pytest.fixture(autouse=True)
def _instruments() -> Iterator[None]:
    """Leave only the shipped instruments known after a test."""
    yield
    registry.use(None)
