import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fetcher.download.plan import DownloadPlan
from fetcher.download.progress import CONFIRM_AFTER, DownloadProgress
from fetcher.download.status import download_status
from fetcher.http.request_statistics import RequestOutcome
from tradeschool.errors import ForeignFile, ProviderBanned, ProviderUnusable
from tradeschool.markets.catalogue import BTC_USD, CURRICULUM_WINDOW, EUR_USD, DatasetRange
from tradeschool.markets.instruments import Dataset, Instrument
from tradeschool.markets.timeframes import Timeframe
from tradeschool.store.download_status import FILE_NAME, read_download_status
from tradeschool.views.download_progress import line, watch

M15, H1 = Timeframe.M15, Timeframe.H1
RATES = {"coinbase": 3.0, "oanda": 2.0}
NOW = datetime(2026, 1, 2, tzinfo=UTC)


def progress(instrument: Instrument, done: int, total: int, **more: object) -> DownloadProgress:
    wanted = DatasetRange(dataset=Dataset(instrument=instrument, timeframe=Timeframe.M5), window=CURRICULUM_WINDOW)
    reached = datetime(2021, 5, 6, tzinfo=UTC) if done else None
    return DownloadProgress(download=DownloadPlan(wanted=wanted), done=done, total=total, reached=reached, **more)  # type: ignore[arg-type]


def eta(*shown: DownloadProgress, elapsed: float = 1.0) -> float:
    return download_status(shown, RATES, elapsed=elapsed, now=NOW, running=True).eta_seconds


def test_the_first_eta_is_that_of_the_slowest_provider_at_its_limit() -> None:
    assert eta(progress(BTC_USD, 3, 30), progress(EUR_USD, 10, 50)) == 20.0


def test_the_later_eta_uses_the_measured_rate() -> None:
    assert eta(progress(BTC_USD, 50, 100), elapsed=100.0) == 100.0


def test_repeated_pages_are_estimated_from_incomplete_ones() -> None:
    """4 % of the pages so far, therefore 4 % of the remaining hundred."""
    assert eta(progress(BTC_USD, 100, 200, short=4), elapsed=100.0) == 108.0 + CONFIRM_AFTER


def test_audit_pages_are_counted() -> None:
    """Two pages each of M15 and H1, after more than four hundred pages."""
    shown = progress(BTC_USD, 400, 500)
    derived = tuple(replace(shown.download.wanted, dataset=shown.download.dataset.at(each)) for each in (M15, H1))
    shown.download = replace(shown.download, derived=derived)

    assert eta(shown, elapsed=400.0) == 104.0


def test_a_failed_download_has_no_eta() -> None:
    assert eta(progress(BTC_USD, 10, 100, error=ProviderUnusable("no")), elapsed=50.0) == 0.0


def test_extra_pages_do_not_reduce_the_eta() -> None:
    assert eta(progress(BTC_USD, 40, 30), progress(EUR_USD, 0, 2)) == 1.0


def test_an_empty_download_has_no_eta() -> None:
    assert download_status([], {}, elapsed=0.0, now=NOW, running=True).eta_seconds == 0.0


def test_a_line_shows_the_reason_of_a_wait() -> None:
    shown = progress(BTC_USD, 50, 100)
    shown.traffic.requests, shown.traffic.waiting_for_token, shown.traffic.waiting_for_network = 58, 3, 1

    assert line(download_status([shown], RATES, elapsed=20.0, now=NOW, running=True)) == (
        "fetched 50 of 100 pages, coinbase 2.90/s (97% of the limit), 3 waiting for the rate limit, 1 for the network, "
        "coinbase/BTC-USD/M5 reached 2021-05-06, ETA 20 s"
    )


async def test_the_end_is_reported_in_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    async with watch(RATES, tmp_path) as show:
        show([progress(BTC_USD, 10, 10), progress(EUR_USD, 5, 6)])
    told = capsys.readouterr()

    assert told.out == ""
    assert told.err.startswith("fetched 15 of 16 pages, ")
    assert "oanda/EUR-USD/M5 reached 2021-05-06, ETA 0 s" in told.err


async def test_without_requests_no_progress_is_shown(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    async with watch(RATES, tmp_path) as show:
        show([])

    assert capsys.readouterr().err == ""
    assert read_download_status(tmp_path) is None


async def test_a_terminal_shows_one_bar_per_dataset(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    async with watch(RATES, tmp_path) as show:
        show([progress(BTC_USD, 5, 10)])
        await asyncio.sleep(0)
    told = capsys.readouterr().err

    assert "coinbase/BTC-USD/M5" in told
    assert "2021-05-06" in told
    assert "waiting for the rate limit" in told


async def test_the_progress_file_is_readable_by_other_programs(tmp_path: Path) -> None:
    shown = progress(BTC_USD, 5, 10)
    shown.traffic.outcomes[RequestOutcome.BUSY] = 2
    shown.traffic.response_seconds.add(0.2)
    async with watch(RATES, tmp_path) as show:
        show([shown])
    record = read_download_status(tmp_path)

    assert record is not None
    assert (record.running, record.pages_done, record.pages_total) == (False, 5, 10)
    assert record.providers[0].outcomes == {"busy": 2}
    assert record.providers[0].response_seconds.counts[2] == 1


def test_an_invalid_progress_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("{}")

    with pytest.raises(ForeignFile, match=r"download_status\.json: not a download status"):
        read_download_status(tmp_path)


def test_a_ban_is_distinguished_from_other_failures() -> None:
    banned = progress(BTC_USD, 10, 100, error=ProviderBanned("a pause of 7200 s"))
    failed = progress(EUR_USD, 10, 100, error=ProviderUnusable("no"))
    status = download_status([banned, failed], RATES, elapsed=1.0, now=NOW, running=True)

    assert [(each.error, each.banned) for each in status.downloads] == [("a pause of 7200 s", True), ("no", False)]
