"""Overview: an unavailable part reports an error, other parts are read, and a restored part is read again."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from redis import Redis

from tests.factories.runs import make_context
from tradeschool.embedded_valkey.server import EmbeddedValkey
from tradeschool.markets.catalogue import BTC_USD
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.timeframes import Timeframe
from tradeschool.store.download_status import DownloadStatus
from workers.monitoring.absence import NOT_RUNNING
from workers.monitoring.overview import Overview, Sources
from workers.monitoring.queue_history import save_history

BTC = Dataset(instrument=BTC_USD, timeframe=Timeframe.M5)


@pytest.fixture
def overview(socket_folder: Path) -> Iterator[Overview]:
    sources = Sources(
        redis_url=f"unix://{socket_folder / 'v'}",
        context=make_context(socket_folder),
        datasets=[BTC],
    )
    made = Overview(sources)
    yield made
    made.close()


def test_an_empty_installation_has_an_overview(overview: Overview) -> None:
    assert "does not answer" in overview.queue().error
    assert (overview.run().value, overview.run().error) == (None, "")
    assert (overview.candles().value, overview.candles().error) == ([], "")
    assert (overview.download().value, overview.download().error) == (None, "")


def test_a_server_outage_is_reported_and_reading_resumes(
    overview: Overview, start_server: Callable[[], subprocess.Popen[bytes]], caplog: pytest.LogCaptureFixture
) -> None:
    server = start_server()
    assert overview.queue().value is not None
    assert len(overview.past().value or ()) == 1
    server.kill()
    server.wait()
    for _ in range(3):
        assert "does not answer" in overview.queue().error
    start_server()

    end = time.monotonic() + 60
    while overview.queue().value is None:
        assert time.monotonic() < end
        time.sleep(0.05)
    told = [record.getMessage() for record in caplog.records]
    assert told == ["status not available", "status available again"]


def test_a_password_is_not_shown(socket_folder: Path) -> None:
    overview = Overview(
        Sources(
            redis_url="redis://user:s3cret@127.0.0.1:9/0",
            context=make_context(socket_folder),
            datasets=[],
        )
    )

    assert "s3cret" not in overview.queue().error
    assert "127.0.0.1:9" in overview.queue().error


def test_an_unreadable_data_folder_is_reported(overview: Overview, socket_folder: Path) -> None:
    (socket_folder / "data").write_text("a file where a folder should be")

    assert overview.candles().value == []
    (socket_folder / "data").unlink()
    (socket_folder / "data" / "coinbase").mkdir(parents=True)
    assert overview.candles().value == []


def test_a_running_or_killed_download_is_read(overview: Overview, socket_folder: Path) -> None:
    begun = datetime(2026, 1, 1, tzinfo=UTC)
    record = DownloadStatus(time=begun, running=True, eta_seconds=1, providers=(), downloads=())
    record.publish(socket_folder / "data")

    seen = overview.download().value

    assert seen == record
    later = [begun + timedelta(seconds=seconds) for seconds in (1, 100)]
    assert [seen.state(now) for now in later] == ["running", "lost"]
    assert record.model_copy(update={"running": False}).state(later[1]) == "over"
    (socket_folder / "data" / "download_status.json").write_text("{")
    assert "download_status.json" in overview.download().error


def test_an_overview_writes_nothing_to_the_queue(
    overview: Overview, start_server: Callable[[], subprocess.Popen[bytes]], socket_folder: Path
) -> None:
    start_server()
    overview.queue()

    keys = Redis(unix_socket_path=str(socket_folder / "v")).keys("*")
    assert all(key.startswith(b"tradeschool:history:") for key in keys)


def test_an_embedded_server_stopped_with_its_run_is_no_error(
    socket_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    embedded = EmbeddedValkey.of(socket_folder / "s")
    overview = Overview(
        Sources(redis_url=embedded.url, context=make_context(socket_folder), datasets=[], embedded=embedded)
    )
    with embedded.running():
        assert overview.queue().value is not None
        past = overview.past().value
        save_history(embedded.url, embedded.folder)
    seen = overview.queue()
    overview.close()

    assert (seen.value, seen.error, seen.note) == (None, "", NOT_RUNNING)
    assert past
    assert overview.past().value == past
    assert not caplog.records


def test_an_embedded_server_killed_during_a_run_is_an_error(socket_folder: Path) -> None:
    embedded = EmbeddedValkey.of(socket_folder / "s")
    overview = Overview(
        Sources(redis_url=embedded.url, context=make_context(socket_folder), datasets=[], embedded=embedded)
    )
    with embedded.running():
        pid = embedded.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        end = time.monotonic() + 60
        while not (seen := overview.queue()).error:
            assert time.monotonic() < end
    overview.close()

    assert "does not answer" in seen.error
    assert seen.note == ""
