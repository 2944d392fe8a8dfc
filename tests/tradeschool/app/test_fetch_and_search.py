"""Waiting for a download ends when the download ends."""

import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tradeschool.app.download import download_thread
from tradeschool.app.download.download_thread import DownloadThread
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
