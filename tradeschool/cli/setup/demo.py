"""`tradeschool demo`: run `up` in a new folder, with synthetic candles from the loopback exchange."""

import asyncio
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import click

from fetcher.simulator.candles.generated import GeneratedCandles
from fetcher.simulator.rate_limit import ExchangeLimits, Limit
from fetcher.simulator.server import Exchange, serve
from tradeschool.app.global_options import GLOBAL_OPTIONS
from tradeschool.cli.operations.up import up
from tradeschool.errors import GateNotMet, StoreUnwritable
from tradeschool.settings import loading, model
from tradeschool.views.terminal import now, say

SEED = 7
WORKERS = 2
LIMITS = ExchangeLimits(coinbase=Limit(rate_per_second=60, burst=60))
"""At Coinbase's own rate the download takes 20 s, in which nothing happens."""
TOKEN_FILE, CURRICULUM_FILE = Path("token"), Path("curriculum.toml")

SETTINGS = """\
# Settings of this demo; all other settings have their defaults.
oanda_api_token_file = "{token}"

[fetch]
coinbase_url = "{url}"
oanda_url = "{url}"
coinbase_rate = 40 # the loopback exchange of the demo allows more requests per second than Coinbase

[serve]
port = 0
"""

CURRICULUM = """\
[[level]]
name = "1"
title = "Two months of synthetic candles"
direction = "both"
strategy = "sma_cross"
trials = 40
datasets = [
  { dataset = "coinbase/BTC-USD/M5", start = 2023-01-01, end = 2023-03-01 },
  { dataset = "coinbase/BTC-USD/M15", start = 2023-01-01, end = 2023-03-01 },
  { dataset = "oanda/EUR-USD/M5", start = 2023-01-01, end = 2023-03-01 },
  { dataset = "oanda/EUR-USD/M15", start = 2023-01-01, end = 2023-03-01 },
]
gate = { win_rate = 0.30, sharpe = 0.5, max_drawdown_intrabar = 0.30, profit_factor = 1.0 }
min_trades = { train = 10, validation = 3 }
ranges = { fast = [5, 50], slow = [20, 150], atr_period = [7, 28], stop_atr = [1.0, 5.0], target_atr = [1.0, 8.0] }
retries = 0
"""


@click.command()
@click.option(
    "--folder", type=click.Path(path_type=Path), default=Path("demo"), show_default=True, help="Parent folder."
)
@click.pass_context
def demo(ctx: click.Context, folder: Path) -> None:
    """Fetch synthetic candles over HTTP, search a small level with two workers, and print a verdict.

    The demo needs no API key and no internet access, and ignores your settings. Exit code 0 means that a verdict
    was reached. The expected verdict is that the gate fails, because synthetic candles contain nothing to learn.
    """
    here = folder.resolve() / now().strftime("%Y%m%d-%H%M%S")
    try:
        here.mkdir(parents=True)
    except OSError as error:
        raise StoreUnwritable(f"cannot create {here}: {error.strerror}; choose another folder with --folder") from error
    loading.forget_environment()
    GLOBAL_OPTIONS.set(replace(GLOBAL_OPTIONS.get(), settings_file=None))
    os.chdir(here)  # from here on equivalent to `cd demo/...; tradeschool up`
    say(f"all files of this demo are in {here}")
    with loopback_exchange() as url:
        CURRICULUM_FILE.write_text(CURRICULUM)
        TOKEN_FILE.write_text("any\n")
        model.SETTINGS_FILE.write_text(SETTINGS.format(token=TOKEN_FILE, url=url))
        try:
            ctx.invoke(up, curriculum=CURRICULUM_FILE, seed=SEED, workers=WORKERS)
        except GateNotMet as verdict:
            say(f"verdict: {verdict}: do not deploy")
        else:
            say("verdict: gate passed on synthetic candles: a false positive, do not deploy")


@contextmanager
def loopback_exchange() -> Iterator[str]:
    """Yield the URL of an exchange simulator that serves generated candles from a thread."""
    loop = asyncio.new_event_loop()
    listening: list[str] = []
    ready, over = threading.Event(), asyncio.Event()

    async def listen() -> None:
        async with serve(Exchange(GeneratedCandles(seed=SEED), limits=LIMITS)) as served:
            listening.append(served.url)
            ready.set()
            await over.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(listen()), name="exchange")
    thread.start()
    ready.wait()
    try:
        yield listening[0]
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
        loop.close()
