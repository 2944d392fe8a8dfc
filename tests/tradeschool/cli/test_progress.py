import asyncio
from datetime import UTC, datetime

import pytest

from fetcher.plan import Download
from fetcher.sync import Progress
from tradeschool.cli.progress import eta_seconds, watch
from tradeschool.market import BTC_USD, CURRICULUM_WINDOW, EUR_USD, Dataset, Instrument, Timeframe, Wanted

RATES = {"coinbase": 3.0, "oanda": 2.0}


def progress(instrument: Instrument, done: int, total: int) -> Progress:
    wanted = Wanted(dataset=Dataset(instrument=instrument, timeframe=Timeframe.M5), window=CURRICULUM_WINDOW)
    reached = datetime(2021, 5, 6, tzinfo=UTC) if done else None
    return Progress(download=Download(wanted=wanted), done=done, total=total, reached=reached)


def test_the_time_left_is_that_of_the_slower_provider() -> None:
    assert eta_seconds([progress(BTC_USD, 3, 30), progress(EUR_USD, 10, 50)], RATES) == 20.0


def test_pages_beyond_the_plan_are_no_time_gained() -> None:
    assert eta_seconds([progress(BTC_USD, 40, 30), progress(EUR_USD, 0, 2)], RATES) == 1.0


def test_of_nothing_no_time_is_left() -> None:
    assert eta_seconds([], {}) == 0.0


async def test_the_end_is_told_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    async with watch(RATES) as show:
        show([progress(BTC_USD, 10, 10), progress(EUR_USD, 5, 6)])
    told = capsys.readouterr()

    assert told.out == ""
    assert told.err.startswith("fetched 15 of 16 pages, ")
    assert "oanda/EUR-USD/M5 reached 2021-05-06, about 0 s left" in told.err


async def test_where_nothing_is_asked_for_nothing_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    async with watch(RATES) as show:
        show([])

    assert capsys.readouterr().err == ""


async def test_a_terminal_gets_a_bar_a_dataset(capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    async with watch(RATES) as show:
        show([progress(BTC_USD, 5, 10)])
        await asyncio.sleep(0)
    told = capsys.readouterr().err

    assert "coinbase/BTC-USD/M5" in told
    assert "2021-05-06" in told
