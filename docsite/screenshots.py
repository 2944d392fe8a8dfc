"""Takes the pictures of docs/images: the monitoring page during and after a run, and the report of the run.

The run searches four small levels on synthetic candles of a loopback exchange. `scripts/screenshots` starts it.
"""

import base64
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

from tradeschool.cli.setup.demo import loopback_exchange

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
RUN = "example"
UP = ("up", "--curriculum", "curriculum.toml", "--seed=7", "--workers=2", "--surrogates=20", "--page", "--run", RUN)
WIDTH, PHONE_WIDTH, REPORT_WIDTH = 1360, 390, 1100
QUALITY = 80
PATIENCE_MS = 1_200_000
SETTINGS = """\
oanda_api_token_file = "token"

[fetch]
coinbase_url = "{url}"
oanda_url = "{url}"
coinbase_rate = 9
oanda_rate = 9

[serve]
port = {port}
"""
LEVEL = """\
[[level]]
name = "{name}"
title = "{title}"
direction = "{direction}"
strategy = "sma_cross"
trials = 100
datasets = [{datasets}]
gate = {{ win_rate = 0.2, sharpe = -3.0, max_drawdown_intrabar = 0.6, profit_factor = 0.5 }}
min_trades = {{ train = 30, validation = 10 }}
drawdown_limit = 0.9
ranges = {{ fast = [5, 50], slow = [60, 200], atr_period = [7, 28], stop_atr = [1.0, 5.0], target_atr = [1.0, 8.0] }}
retries = 0
analyses = [{analyses}]

"""
BTC, EUR = "coinbase/BTC-USD", "oanda/EUR-USD"
LEVELS = (
    ("Long in bull markets", "long", (BTC,), ("2020-01-01", "2020-07-01"), ()),
    ("Short in bear markets", "short", (BTC,), ("2020-07-01", "2021-01-01"), ("similarity",)),
    ("Both ways, full cycles", "both", (BTC, EUR), ("2020-01-01", "2021-01-01"), ("regimes",)),
    ("All regimes, robust", "both", (BTC, EUR), ("2020-01-01", "2021-07-01"), ("regimes", "stability")),
)


def main() -> None:
    """Run the levels in a temporary folder and write all pictures."""
    with tempfile.TemporaryDirectory() as name, loopback_exchange() as url, browser() as opened:
        folder, port = Path(name), free_port()
        address = f"http://127.0.0.1:{port}"
        write_settings(folder, url, port)
        with running(folder, *UP) as search:
            take_during_search(opened, address)
            search.wait()
        with running(folder, "serve"):
            take_after_search(opened, address)
        take_report(opened, folder / "results" / RUN / "report.html")


def take_during_search(browser: Any, address: str) -> None:
    """Pictures of the running search and download."""
    with visiting(browser, address, WIDTH, 1340) as page:
        page.wait_for_selector("#p-importance .shares")
        take(page, "page-work", "#work", "footer")  # while the download of the later levels is running
        page.locator("#p-curriculum").get_by_text("passed", exact=True).nth(1).wait_for()
        page.wait_for_selector("#p-importance .shares")
        take(page, "page")


def take_after_search(browser: Any, address: str) -> None:
    """Pictures of the verdict, of the light theme and of a phone."""
    with visiting(browser, address, WIDTH, 900) as page:
        page.wait_for_selector("#p-recommendation a")
        page.wait_for_selector("#p-equity canvas")
        take(page, "page-verdict", "#curriculum", "#verdict")
    with visiting(browser, address, WIDTH, 760, color_scheme="light") as page:
        page.wait_for_selector("#p-recommendation a")
        take(page, "page-light")
    with visiting(browser, address, PHONE_WIDTH, 1500) as page:
        page.wait_for_selector("#p-recommendation a")
        take(page, "page-phone")


def take_report(browser: Any, report: Path) -> None:
    """Picture of the HTML report."""
    with visiting(browser, report.as_uri(), REPORT_WIDTH, 1560, color_scheme="light") as page:
        take(page, "report")


def take(page: Page, name: str, first: str | None = None, last: str | None = None) -> None:
    """Write a picture of the viewport, or of the part from one element to another."""
    page.evaluate("document.fonts.ready")
    page.wait_for_timeout(1_000)  # charts are drawn after their data has come
    size = page.viewport_size or {"width": WIDTH, "height": 900}
    top, bottom = 0.0, float(size["height"])
    if first and last:
        top = page.eval_on_selector(first, "(element) => element.getBoundingClientRect().top + scrollY")
        bottom = page.eval_on_selector(last, "(element) => element.getBoundingClientRect().bottom + scrollY")
    clip = {"x": 0, "y": top, "width": size["width"], "height": bottom - top, "scale": 1}
    options = {"format": "webp", "quality": QUALITY, "clip": clip, "captureBeyondViewport": True}
    picture = page.context.new_cdp_session(page).send("Page.captureScreenshot", options)["data"]
    (IMAGES / f"{name}.webp").write_bytes(base64.b64decode(picture))
    print(f"{name}.webp: {size['width']} x {bottom - top:.0f}")


@contextmanager
def visiting(browser: Any, url: str, width: int, height: int, color_scheme: str = "dark") -> Iterator[Page]:
    """Open a page in the browser."""
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=color_scheme)
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    end = time.monotonic() + PATIENCE_MS / 1_000
    while url.startswith("http") and not is_listening(url):
        assert time.monotonic() < end, f"{url} does not answer"
        time.sleep(0.2)
    page.goto(url)
    yield page
    context.close()


@contextmanager
def browser() -> Iterator[Any]:
    """Start the installed Chromium."""
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("chromium is not installed")
    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


@contextmanager
def running(folder: Path, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run `tradeschool` in a folder; at the end it is interrupted if it still runs."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TRADESCHOOL_")}
    environment["PYTHONPATH"] = str(ROOT)
    process = subprocess.Popen([sys.executable, "-m", "tradeschool", *words], cwd=folder, env=environment)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def write_settings(folder: Path, url: str, port: int) -> None:
    """Write settings, token and curriculum file."""
    (folder / "token").write_text("any\n")
    (folder / "tradeschool.toml").write_text(SETTINGS.format(url=url, port=port))
    text = ""
    for number, (title, direction, pairs, (start, end), analyses) in enumerate(LEVELS, 1):
        datasets = ", ".join(
            f'{{ dataset = "{pair}/{timeframe}", start = {start}, end = {end} }}'
            for pair in pairs
            for timeframe in ("M5", "M15", "H1")
        )
        quoted = ", ".join(f'"{each}"' for each in analyses)
        text += LEVEL.format(name=number, title=title, direction=direction, datasets=datasets, analyses=quoted)
    (folder / "curriculum.toml").write_text(text)


def free_port() -> int:
    """A port that no process uses."""
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        return int(chosen.getsockname()[1])


def is_listening(url: str) -> bool:
    """Whether a server accepts connections at the URL."""
    host, port = url.removeprefix("http://").split(":")
    with socket.socket() as tried:
        return tried.connect_ex((host, int(port))) == 0


if __name__ == "__main__":
    main()
