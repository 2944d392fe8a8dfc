import gzip
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fetcher.download.ledger_database import FILE_NAME
from fetcher.download.page_ledger import PageLedger
from fetcher.protocol.provider import Page
from tradeschool.errors import ForeignFile, StoreUnwritable
from tradeschool.markets.catalogue import BTC_USD, ETH_USD, DatasetRange
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.timeframes import Timeframe
from tradeschool.markets.windows import Window
from tradeschool.store import PartFile

BTC = Dataset(instrument=BTC_USD, timeframe=Timeframe.M5)
ETH = Dataset(instrument=ETH_USD, timeframe=Timeframe.M5)
NEW_YEAR = datetime(2021, 1, 1, tzinfo=UTC)
BODY = b"[[1,2,3,4,5,6]]" * 20

KILLED = """
import os, signal, sys
from pathlib import Path
from fetcher.download.page_ledger import PageLedger
from fetcher.protocol.provider import Page
from tradeschool.markets.catalogue import BTC_USD
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.timeframes import Timeframe
from tradeschool.markets.windows import Window

ledger = PageLedger(Path(sys.argv[1]))
dataset = Dataset(instrument=BTC_USD, timeframe=Timeframe.M5)
page = Page(dataset=dataset, window=Window.of_seconds(1609459200, 1609462800))
ledger.add(page, b"body", rows=1, complete=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def hours(first: int, last: int) -> Window:
    """Hours counted from New Year 2021."""
    return Window(NEW_YEAR + timedelta(hours=first), NEW_YEAR + timedelta(hours=last))


def page(first: int, last: int, dataset: Dataset = BTC) -> Page:
    return Page(dataset=dataset, window=hours(first, last))


def bodies(ledger: PageLedger, dataset: Dataset, window: Window) -> list[bytes]:
    return [ledger.body(stored) for stored in ledger.responses(dataset, window)]


def part_file(year: int) -> PartFile:
    return PartFile(path=f"year={year}/x.parquet", rows=1, bytes=1, sha256="0" * 64)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[PageLedger]:
    opened = PageLedger(tmp_path)
    yield opened
    opened.close()


def test_a_complete_page_is_recorded(ledger: PageLedger) -> None:
    ledger.add(page(0, 4), BODY, rows=48, complete=True)

    assert ledger.covered(BTC) == [hours(0, 4)]
    assert ledger.unconfirmed(BTC) == []
    assert bodies(ledger, BTC, hours(3, 9)) == [BODY]


def test_datasets_are_stored_separately(ledger: PageLedger) -> None:
    ledger.add(page(0, 4), BODY, rows=48, complete=True)

    assert ledger.covered(ETH) == ledger.unconfirmed(ETH) == bodies(ledger, ETH, hours(0, 4)) == []


def test_a_second_connection_reads_added_pages(tmp_path: Path, ledger: PageLedger) -> None:
    ledger.add(page(0, 4), BODY, rows=48, complete=True)
    other = PageLedger(tmp_path)

    assert other.covered(BTC) == [hours(0, 4)]
    other.close()


def test_added_pages_survive_a_killed_process(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    ledger = PageLedger(tmp_path)

    assert done.returncode == -signal.SIGKILL
    assert ledger.covered(BTC) == [hours(0, 1)]
    ledger.close()


def test_a_page_with_gaps_needs_a_second_equal_response(ledger: PageLedger) -> None:
    ledger.add(page(0, 4), BODY, rows=47, complete=False)
    assert (ledger.covered(BTC), ledger.unconfirmed(BTC)) == ([], [hours(0, 4)])

    ledger.add(page(0, 4), BODY, rows=47, complete=False)
    assert ledger.unconfirmed(BTC) == []


def test_a_response_with_fewer_candles_confirms_nothing(ledger: PageLedger) -> None:
    """A false empty response, then one with a real gap: the gap is still unconfirmed."""
    ledger.add(page(0, 4), b"[]", rows=0, complete=False)
    ledger.add(page(0, 4), BODY, rows=47, complete=False)
    ledger.add(page(0, 4), b"[]", rows=0, complete=False)
    assert ledger.covered(BTC) == []

    ledger.add(page(0, 4), BODY, rows=47, complete=False)
    assert ledger.unconfirmed(BTC) == []


def test_a_complete_response_confirms_every_page_in_its_window(ledger: PageLedger) -> None:
    ledger.add(page(0, 2), b"[]", rows=0, complete=False)
    ledger.add(page(0, 4), BODY, rows=48, complete=True)

    assert ledger.unconfirmed(BTC) == []


def test_responses_are_read_in_the_order_of_arrival(ledger: PageLedger) -> None:
    for number in range(4):
        ledger.add(page(8 - 2 * number, 10 - 2 * number), b"%d" % number, rows=1, complete=True)

    assert bodies(ledger, BTC, hours(0, 10)) == [b"0", b"1", b"2", b"3"]


def test_a_gzip_body_is_stored_unchanged(tmp_path: Path, ledger: PageLedger) -> None:
    packed = gzip.compress(BODY, 9)
    ledger.add(page(0, 4), packed, rows=48, complete=True)
    with sqlite3.connect(tmp_path / FILE_NAME) as other:
        ((stored,),) = other.execute("SELECT body FROM pages").fetchall()
    other.close()

    assert stored == packed
    assert bodies(ledger, BTC, hours(0, 4)) == [BODY]


def test_responses_are_numbered_in_order_of_arrival(ledger: PageLedger) -> None:
    numbers = [ledger.add(page(first, first + 1), BODY, rows=12, complete=True) for first in range(3)]

    assert [stored.number for stored in ledger.responses(BTC, hours(0, 3))] == numbers == sorted(set(numbers))


def test_bodies_are_dropped_when_their_year_is_published(ledger: PageLedger) -> None:
    """Except for a page that extends into another year."""
    whole = hours(-10, 10)
    for first in (-10, -2, 2):
        ledger.add(page(first, first + 4), b"%d" % first, rows=48, complete=True)
    ledger.publish(DatasetRange(dataset=BTC, window=whole), 2021, hours(0, 10), part_file(2021))

    assert bodies(ledger, BTC, whole) == [b"-10", b"-2"]
    assert ledger.published(BTC, whole) == [(whole, 2021, part_file(2021))]
    assert len(ledger.covered(BTC)) == 3


def test_bodies_are_dropped_when_their_range_is_sealed(ledger: PageLedger) -> None:
    ledger.add(page(0, 4), BODY, rows=48, complete=True)
    ledger.drop(DatasetRange(dataset=BTC, window=hours(0, 4)))

    assert bodies(ledger, BTC, hours(0, 4)) == []
    assert ledger.covered(BTC) == [hours(0, 4)]


def test_only_the_lost_year_is_forgotten(ledger: PageLedger) -> None:
    whole = hours(-10, 10)
    for first in (-10, -4, 4):
        ledger.add(page(first, first + 6), BODY, rows=72, complete=True)
    for year, part in whole.years():
        ledger.publish(DatasetRange(dataset=BTC, window=whole), year, part, part_file(year))

    assert ledger.forget(BTC, whole, 2021) == hours(0, 10)
    assert [year for _, year, _ in ledger.published(BTC, whole)] == [2020]
    assert ledger.covered(BTC) == [hours(-10, -4), hours(-4, 2)]


def test_a_damaged_body_is_reported(tmp_path: Path, ledger: PageLedger) -> None:
    ledger.add(page(0, 4), BODY, rows=48, complete=True)
    with sqlite3.connect(tmp_path / FILE_NAME) as other:
        other.execute("UPDATE pages SET body = x'00112233'")
    other.close()

    with pytest.raises(
        ForeignFile, match=r"the stored page coinbase/BTC-USD/M5 .* is damaged: .*data repair coinbase/BTC-USD/M5"
    ):
        bodies(ledger, BTC, hours(0, 4))


def test_a_replaced_body_is_reported(tmp_path: Path, ledger: PageLedger) -> None:
    ledger.add(page(0, 4), BODY, rows=48, complete=True)
    ledger.add(page(4, 8), b"[]", rows=48, complete=True)
    with sqlite3.connect(tmp_path / FILE_NAME) as other:
        other.execute("UPDATE pages SET body = (SELECT body FROM pages WHERE id = 2)")
    other.close()

    with pytest.raises(ForeignFile, match="does not match its digest"):
        bodies(ledger, BTC, hours(0, 4))


def test_a_failed_write_is_rolled_back(tmp_path: Path, ledger: PageLedger) -> None:
    """The second statement of a transaction fails: the first is rolled back, and the ledger stays usable."""
    ledger.add(page(0, 4), b"[]", rows=0, complete=False)
    with sqlite3.connect(tmp_path / FILE_NAME) as other:
        other.execute("CREATE TRIGGER refuse BEFORE UPDATE ON pages BEGIN SELECT RAISE(ABORT, 'refused'); END")
    with pytest.raises(StoreUnwritable, match="refused"):
        ledger.add(page(0, 4), BODY, rows=48, complete=True)
    assert bodies(ledger, BTC, hours(0, 4)) == [b"[]"]

    other.execute("DROP TRIGGER refuse")
    other.commit()
    other.close()
    ledger.add(page(0, 4), BODY, rows=48, complete=True)
    assert ledger.covered(BTC) == [hours(0, 4), hours(0, 4)]


def test_a_ledger_locked_by_another_process_is_reported(tmp_path: Path, ledger: PageLedger) -> None:
    ledger._database.execute("PRAGMA busy_timeout = 10")
    other = sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(StoreUnwritable, match=r"cannot use .*ledger\.sqlite3: database is locked"):
        ledger.add(page(0, 4), BODY, rows=48, complete=True)
    other.close()


def test_a_file_that_is_not_a_ledger_is_reported(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"no database" * 1000)

    with pytest.raises(StoreUnwritable, match=r"cannot open .*: file is not a database; .*sealed data stays"):
        PageLedger(tmp_path)


def test_a_ledger_damaged_in_the_middle_is_reported(tmp_path: Path) -> None:
    ledger = PageLedger(tmp_path)
    for first in range(300):
        ledger.add(page(first, first + 1), os.urandom(2000), rows=12, complete=True)
    ledger.close()
    size = (tmp_path / FILE_NAME).stat().st_size
    with (tmp_path / FILE_NAME).open("r+b") as file:
        file.seek(4096 * 3)
        file.write(b"\xff" * (size - 4096 * 3))

    with pytest.raises(StoreUnwritable, match="malformed"), PageLedger(tmp_path) as ledger:
        bodies(ledger, BTC, hours(0, 300))


def test_an_empty_page_needs_three_responses(tmp_path: Path) -> None:
    """False empty responses may occur before and after a kill."""
    with PageLedger(tmp_path) as ledger:
        unconfirmed = []
        for _ in range(3):
            ledger.add(page(0, 2), b"[]", rows=0, complete=False)
            unconfirmed.append(bool(ledger.unconfirmed(BTC)))

    assert unconfirmed == [True, True, False]


def test_a_failure_is_kept_until_a_later_response_succeeds(tmp_path: Path) -> None:
    """Also after a restart, and only for the windows that overlap the response."""
    with PageLedger(tmp_path) as ledger:
        ledger.fail(page(0, 2), "status 400")
        ledger.fail(page(4, 6), "status 403")
        before = [reason for _, reason in ledger.failures(BTC)]
    with PageLedger(tmp_path) as again:
        again.add(page(0, 2), b"[]", rows=0, complete=False)

        assert before == ["status 400", "status 403"]
        assert again.failures(BTC) == [(hours(4, 6), "status 403")]


def test_a_full_disk_is_reported_and_stored_pages_remain(small_disk: Path) -> None:
    ledger = PageLedger(small_disk / "data")
    stored = 0

    with pytest.raises(StoreUnwritable, match="full"):
        for stored in range(1000):
            ledger.add(page(stored, stored + 1), os.urandom(8000), rows=12, complete=True)
    assert len(ledger.covered(BTC)) == stored
    ledger.close()


def test_a_response_is_stored_with_its_source(ledger: PageLedger) -> None:
    ledger.add(page(0, 4), b"one", rows=48, complete=True)
    ledger.add(page(4, 8), b"other", rows=48, complete=True, source="advanced_trade")

    assert [stored.source for stored in ledger.responses(BTC, hours(0, 8))] == [None, "advanced_trade"]


def test_two_equal_sources_confirm_each_other(ledger: PageLedger) -> None:
    ledger.add(page(0, 4), b"one", rows=47, complete=False, source="exchange")
    ledger.add(page(0, 4), b"other", rows=47, complete=False, source="advanced_trade")

    assert ledger.unconfirmed(BTC) == []


def test_a_ledger_without_source_column_is_read(tmp_path: Path) -> None:
    """Its responses count as those of the provider's default API."""
    ledger = PageLedger(tmp_path)
    ledger.add(page(0, 4), BODY, rows=48, complete=True)
    ledger.close()
    with sqlite3.connect(tmp_path / FILE_NAME) as older:
        older.execute("ALTER TABLE pages DROP COLUMN source")
    older.close()
    ledger = PageLedger(tmp_path)
    ledger.add(page(4, 8), b"[]", rows=48, complete=True, source="advanced_trade")

    assert [stored.source for stored in ledger.responses(BTC, hours(0, 8))] == [None, "advanced_trade"]
    ledger.close()
