"""`ccxt.binance` over the simulated Binance: rate limit, page ledger, seal and accounting are those of any provider."""

import asyncio
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from fetcher.download import run_loop
from fetcher.download.fetch_context import RunOptions
from fetcher.download.progress import DownloadProgress
from fetcher.product_lists import refresh_list
from fetcher.protocol.provider import Access
from fetcher.simulator.faults import Faults
from fetcher.simulator.rate_limit import Limit
from tradeschool.app.download.dataset_download import access_to
from tradeschool.markets.catalogue import BTC_USDT, DatasetRange
from tradeschool.markets.instrument_file import read
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.timeframes import Timeframe
from tradeschool.markets.windows import Window
from tradeschool.settings.loading import load
from tradeschool.store.frame_store import FrameStore

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WINDOW = Window(datetime(2020, 1, 6, tzinfo=UTC), datetime(2020, 1, 20, tzinfo=UTC))
SLOTS = 4032
"""Of five minutes; nobody trades in one of them."""
PAGES = 5
"""Requests for them, 1,000 each."""
NAME = "ccxt.binance"
BTC = replace(BTC_USDT, provider=NAME, symbol="BTCUSDT")
FRAMES = (Timeframe.M5, Timeframe.H1, Timeframe.H4, Timeframe.D1)
FAULTS = "429=0.05,5xx=0.05,html=0.05,cut=0.05,empty=0.1,duplicate=0.1"


async def fetch(store: FrameStore, url: str, rate: float = 2000.0, frames=FRAMES) -> list[DownloadProgress]:
    return await run_loop.run(
        [DatasetRange(dataset=Dataset(instrument=BTC, timeframe=each), window=WINDOW) for each in frames],
        store=store,
        access={NAME: Access(url=url, rate=rate, source="ccxt", patience_seconds=60.0)},
        native=False,
        now=lambda: NOW,
        options=RunOptions(confirm_after_seconds=0.0),
    )


def pages(served) -> list[str]:
    """Queries of the candle requests for pages; a probe asks for one candle."""
    klines = [each.query for each in served.requests if each.path.endswith("/klines") and "interval=5m" in each.query]
    return [each for each in klines if "limit=1&" not in each + "&"]


@pytest.mark.parametrize("faults", ["", FAULTS], ids=["undisturbed", "with faults"])
async def test_the_sealed_candles_equal_the_source(faults: str, serving, store, generated) -> None:
    async with serving(faults=Faults.parse(faults)) as served:
        progress = await fetch(store, served.url)

    assert [each.error for each in progress] == [None] * len(progress)
    for timeframe in FRAMES:
        found = store.arrays(Dataset(instrument=BTC, timeframe=timeframe), WINDOW)
        dataset = Dataset(instrument=BTC_USDT, timeframe=timeframe)
        source = generated.candles(dataset, WINDOW.start_seconds, WINDOW.end_seconds)
        assert found.time.tolist() == source.times.tolist()
        assert np.array_equal(np.column_stack([found.open, found.high, found.low, found.close]), source.prices)
    [seal] = store.seals(Dataset(instrument=BTC, timeframe=Timeframe.M5))
    assert (seal.dataset, seal.rows, seal.missing) == ("ccxt.binance/BTC-USDT/M5", SLOTS - 1, 1)


async def test_only_the_page_with_an_empty_slot_is_requested_twice(serving, store) -> None:
    async with serving() as served:
        await fetch(store, served.url)
        first = pages(served)
        await fetch(store, served.url)

        assert pages(served) == first
    assert (len(first), len(set(first))) == (PAGES + 1, PAGES)


async def test_a_cancelled_run_resumes_at_the_same_page(serving, store) -> None:
    """Stored pages are not requested again: at most the four in flight are."""
    async with serving(faults=Faults.parse("latency=20-30")) as served:
        run = asyncio.create_task(fetch(store, served.url, rate=20.0))
        while len(pages(served)) < 3:  # noqa: ASYNC110  # no event tells it
            await asyncio.sleep(0.005)
        run.cancel()
        with suppress(asyncio.CancelledError):
            await run
        progress = await fetch(store, served.url)

        assert progress[0].error is None
        assert PAGES < len(pages(served)) <= PAGES + 1 + 4
        assert len(set(pages(served))) == PAGES


async def test_the_rate_limit_covers_every_request(serving, store) -> None:
    """The exchange answers 429 to a request above its limit, and none comes."""
    async with serving(binance_limit=Limit(rate_per_second=20, burst=3)) as served:
        await fetch(store, served.url, rate=15.0, frames=(Timeframe.M5,))

        assert len(served.requests) > PAGES
        assert {each.status for each in served.requests} == {200}


async def test_the_product_list_is_stored(serving, tmp_path: Path) -> None:
    async with serving() as served:
        access = Access(url=served.url, rate=100.0, source="ccxt", patience_seconds=60.0)
        done = await refresh_list(NAME, access, tmp_path, lambda: NOW)

    listed = {each.pair: each for each in read(tmp_path).lists[NAME].instruments}
    assert (done.is_fresh, done.error, done.requests) == (True, "", 1)
    assert (listed["BTC/USDT"].symbol, f"{listed['BTC/USDT'].exact_tick:f}") == ("BTCUSDT", "0.01")
    assert listed["BTC/USDT"].full_name == "ccxt.binance:BTC/USDT"


def test_url_and_rate_can_be_set_in_the_file_and_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("tradeschool.toml").write_text("[fetch.providers.ccxt.binance]\nurl = 'http://localhost:1'\nrate = 3\n")
    monkeypatch.setenv("TRADESCHOOL_FETCH__PROVIDERS__CCXT__BITSTAMP__URL", "http://localhost:2")
    settings = load()

    assert (access_to(NAME, settings).url, access_to(NAME, settings).rate) == ("http://localhost:1", 3.0)
    assert access_to("ccxt.bitstamp", settings).url == "http://localhost:2"


def test_ccxt_is_imported_only_for_its_exchanges() -> None:
    code = (
        "import sys\n"
        "from fetcher.provider_registry import find, load\n"
        "load(); find('binance')\n"
        "assert 'ccxt' not in sys.modules\n"
    )

    subprocess.run([sys.executable, "-c", code], check=True)
