"""Waiting for a download ends when the download ends."""

import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from optimizer.curriculum.level_files import load_levels
from tradeschool.app.download import download_thread
from tradeschool.app.download.download_thread import DownloadThread
from tradeschool.app.fetch_and_search import downloads_holdout, holdout_of, ranges_of
from tradeschool.app.search.search_request import SearchOptions
from tradeschool.errors import DataIncomplete
from tradeschool.markets.catalogue import BTC_USD, DatasetRange
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.timeframes import Timeframe
from tradeschool.markets.windows import Window
from tradeschool.store import Store

WANTED = [
    DatasetRange(
        dataset=Dataset(instrument=BTC_USD, timeframe=Timeframe.M5),
        window=Window(datetime(2021, 1, 1, tzinfo=UTC), datetime(2021, 2, 1, tzinfo=UTC)),
    )
]


def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, download) -> DownloadThread:
    monkeypatch.setattr(download_thread, "download", download)
    return DownloadThread([(WANTED, Store(tmp_path), lambda seal: None)], {}, native=False)


async def nothing(*_: object, **__: object) -> list:
    return []


async def failing(*_: object, **__: object) -> list:
    raise DataIncomplete("the provider is away")


def test_a_finished_download_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    download = made(tmp_path, monkeypatch, nothing)
    with download.running(to_the_end=True):
        download.wait_while_possible(lambda: False)
        download.wait_until(lambda: False)


def test_a_failed_download_is_reported_and_ends_a_dependent_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    download = made(tmp_path, monkeypatch, failing)
    with download.running(to_the_end=False):
        download.wait_while_possible(lambda: False)
        assert capsys.readouterr().err == "the holdout period was not downloaded: the provider is away\n"
        with pytest.raises(DataIncomplete, match="the provider is away"):
            download.wait_until(lambda: False)


def test_a_running_download_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there, asked = threading.Event(), []

    async def coming(*_: object, **__: object) -> list:
        there.set()
        return []

    def is_there() -> bool:
        asked.append(there.is_set())
        return asked[-1]

    download = made(tmp_path, monkeypatch, coming)
    with download.running(to_the_end=True):
        download.wait_while_possible(is_there)

    assert asked[-1]


LEVEL = """
[[level]]
name = "1"
title = "One"
direction = "long"
trials = 4
datasets = [{ dataset = "coinbase/BTC-USD/H1", start = 2022-01-01, end = 2022-06-01 }]
gate = { win_rate = 0.5, sharpe = 0.8, max_drawdown = 0.15, profit_factor = 1.3 }
ranges = { fast = [5, 50] }
"""
HOLDOUT = "holdout = { start = 2022-06-01, end = 2022-09-01 }\n"


@pytest.mark.parametrize(("holdout", "window"), [(False, "2022-01-01..2022-06-01"), (True, "2022-06-01..2022-09-01")])
def test_the_ranges_of_a_curriculum_file_are_those_of_its_levels(tmp_path: Path, holdout: bool, window: str) -> None:
    file = tmp_path / "my.toml"
    file.write_text(HOLDOUT + LEVEL)

    found = ranges_of(file, holdout=holdout)

    assert [(each.dataset.name, str(each.window)) for each in found] == [("coinbase/BTC-USD/H1", window)]


@pytest.mark.parametrize(("text", "is_downloaded"), [(LEVEL, False), (HOLDOUT + LEVEL, True)])
def test_up_downloads_the_holdout_period_that_a_file_sets(tmp_path: Path, text: str, is_downloaded: bool) -> None:
    file = tmp_path / "my.toml"
    file.write_text(text)

    assert downloads_holdout(SearchOptions(curriculum=file)) is is_downloaded
    assert not downloads_holdout(SearchOptions(curriculum=file, level_name="1"))


def test_up_downloads_the_holdout_period_of_the_built_in_levels() -> None:
    assert downloads_holdout(SearchOptions())
    assert {each.window for each in holdout_of(load_levels())} == {load_levels()[0].holdout.window}
    assert len(holdout_of(load_levels())) == 12
