from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetcher.download.page_ledger import PageLedger
from fetcher.download.plan import DownloadPlan
from fetcher.download.sealing import Publisher, gaps
from fetcher.protocol.provider import Page
from fetcher.provider_registry import find
from tests.factories.interruptions import Countdown, Stopped
from tradeschool.errors import ForeignFile, InvalidCandles
from tradeschool.markets.calendars import expected_slots
from tradeschool.markets.catalogue import BTC_USD, EUR_USD, DatasetRange
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.timeframes import Timeframe
from tradeschool.markets.windows import Window
from tradeschool.ohlcv.findings import FindingKind
from tradeschool.store import GapReason
from tradeschool.store.frame_store import FrameStore

BTC = Dataset(instrument=BTC_USD, timeframe=Timeframe.M5)
EUR_H1 = Dataset(instrument=EUR_USD, timeframe=Timeframe.H1)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = Window(datetime(2020, 12, 31, 23, 30, tzinfo=UTC), datetime(2021, 1, 1, 0, 30, tzinfo=UTC))
WEEK = Window(datetime(2020, 12, 28, tzinfo=UTC), datetime(2021, 1, 5, tzinfo=UTC))
WANTED = DatasetRange(dataset=BTC, window=HOUR)


@pytest.fixture
def ledger(store: FrameStore) -> Iterator[PageLedger]:
    opened = PageLedger(store.root)
    yield opened
    opened.close()


@pytest.fixture
def publisher(store: FrameStore, ledger: PageLedger) -> Publisher:
    return Publisher(store, ledger, lambda: NOW)


def answer(slots: range, *, close: float = 10.5) -> bytes:
    """Rows of one hour in the format of Coinbase."""
    rows = [f"[{HOUR.start_seconds + slot * 300},9,12,10,{close},1.5]" for slot in slots]
    return f"[{','.join(rows)}]".encode()


def put(ledger: PageLedger, slots: range, **changes: float) -> None:
    ledger.add(Page(dataset=BTC, window=HOUR), answer(slots, **changes), rows=len(slots), complete=True)


def test_a_seal_lists_rows_gaps_and_one_file_per_year(
    publisher: Publisher, ledger: PageLedger, store: FrameStore
) -> None:
    put(ledger, range(3, 12))
    (seal,) = publisher.publish(DownloadPlan(wanted=WANTED))

    assert (seal.rows, seal.expected, seal.missing, seal.sealed_at) == (9, 12, 3, NOW)
    assert [(gap.slots, gap.start, gap.reason) for gap in seal.gaps] == [(3, HOUR.start, GapReason.CONFIRMED_EMPTY)]
    assert [file.rows for file in seal.files] == [3, 6]
    assert store.verify(BTC) == [seal]


def test_the_latest_response_wins_for_a_candle(publisher: Publisher, ledger: PageLedger, store: FrameStore) -> None:
    put(ledger, range(12), close=10.5)
    put(ledger, range(6), close=11.0)
    publisher.publish(DownloadPlan(wanted=WANTED))

    assert store.arrays(BTC, HOUR).close.tolist() == [11.0] * 6 + [10.5] * 6


def test_a_parsed_page_is_not_parsed_again(publisher: Publisher, ledger: PageLedger, store: FrameStore) -> None:
    """A response of this process is used as parsed, one of an earlier process is parsed from its body."""
    coinbase, page = find("coinbase"), Page(dataset=BTC, window=HOUR)
    put(ledger, range(6), close=10.0)
    parsed = coinbase.parse(answer(range(6, 12), close=11.0), page)
    number = ledger.add(page, b"not to be read", rows=6, complete=True)
    publisher.publish(DownloadPlan(wanted=WANTED), {number: parsed})

    assert store.arrays(BTC, HOUR).close.tolist() == [10.0] * 6 + [11.0] * 6


def test_publishing_again_from_files_gives_equal_bytes(
    publisher: Publisher, ledger: PageLedger, store: FrameStore
) -> None:
    """Simulates a kill between the last file and the seal."""
    put(ledger, range(12))
    first = publisher.publish(DownloadPlan(wanted=WANTED))
    store.unseal(BTC, HOUR)

    assert publisher.publish(DownloadPlan(wanted=WANTED)) == first


@pytest.mark.parametrize("stop_after", range(5))
def test_sealing_interrupted_at_any_write_can_be_repeated(
    store: FrameStore, ledger: PageLedger, stop_after: int
) -> None:
    """Fails at each write in turn: two year files, their ledger records and the seal."""
    put(ledger, range(12))
    step = Countdown(stop_after).step

    class StoppingStore(FrameStore):
        def write_year(self, *args, **kwargs):
            step()
            return super().write_year(*args, **kwargs)

        def seal(self, *args) -> None:
            step()
            super().seal(*args)

    class StoppingLedger(PageLedger):
        def publish(self, *args) -> None:
            step()
            super().publish(*args)

    stopping = StoppingLedger(store.root)
    with pytest.raises(Stopped):
        Publisher(StoppingStore(store.root), stopping, lambda: NOW).publish(DownloadPlan(wanted=WANTED))
    stopping.close()
    assert store.seals(BTC) == []

    publisher = Publisher(store, ledger, lambda: NOW)
    assert publisher.forget_lost(DownloadPlan(wanted=WANTED)) == []
    publisher.publish(DownloadPlan(wanted=WANTED))
    assert store.arrays(BTC, HOUR).close.tolist() == [10.5] * 12


def test_a_page_that_violates_the_contract_prevents_sealing(
    publisher: Publisher, ledger: PageLedger, store: FrameStore
) -> None:
    put(ledger, range(12), close=100.0)

    with pytest.raises(InvalidCandles, match="high must be the highest price"):
        publisher.publish(DownloadPlan(wanted=WANTED))
    assert store.seals(BTC) == []


def test_a_refusing_finding_is_reported_and_its_pages_are_kept(
    publisher: Publisher, ledger: PageLedger, store: FrameStore
) -> None:
    rows = [f"[{HOUR.start_seconds + slot * 300},9,12,10,10.5,1.5]" for slot in range(6)]
    rows += [f"[{HOUR.start_seconds + slot * 300},900,1200,1000,1050,1.5]" for slot in range(6, 12)]
    ledger.add(Page(dataset=BTC, window=HOUR), f"[{','.join(rows)}]".encode(), rows=12, complete=True)

    with pytest.raises(InvalidCandles, match=r"price scale in .* run: tradeschool data repair coinbase/BTC-USD/M5"):
        publisher.publish(DownloadPlan(wanted=WANTED))
    assert store.seals(BTC) == []
    assert len(ledger.responses(BTC, HOUR)) == 1


def test_warnings_are_stored_in_the_seal(publisher: Publisher, ledger: PageLedger, store: FrameStore) -> None:
    rows = [f"[{HOUR.start_seconds + slot * 300},10,10,10,10,0]" for slot in range(12)]
    ledger.add(Page(dataset=BTC, window=HOUR), f"[{','.join(rows)}]".encode(), rows=12, complete=True)
    publisher.publish(DownloadPlan(wanted=WANTED))
    (seal,) = store.seals(BTC)

    assert [(finding.kind, finding.rows) for finding in seal.findings] == [(FindingKind.FLAT_WITHOUT_VOLUME, 6)] * 2


def test_only_the_lost_file_is_forgotten(publisher: Publisher, ledger: PageLedger, store: FrameStore) -> None:
    put(ledger, range(12))
    (seal,) = publisher.publish(DownloadPlan(wanted=WANTED))
    (store.folder(BTC) / seal.files[1].path).unlink()

    assert publisher.forget_lost(DownloadPlan(wanted=WANTED)) == [Window(datetime(2021, 1, 1, tzinfo=UTC), HOUR.end)]
    assert [year for _, year, _ in ledger.published(BTC, HOUR)] == [2020]


def test_deriving_from_a_damaged_base_is_refused(publisher: Publisher, ledger: PageLedger, store: FrameStore) -> None:
    put(ledger, range(12))
    (seal,) = publisher.publish(DownloadPlan(wanted=WANTED))
    path: Path = store.folder(BTC) / seal.files[0].path
    path.write_bytes(path.read_bytes() + b"x")
    quarter = DatasetRange(dataset=BTC.at(Timeframe.M15), window=HOUR)

    with pytest.raises(ForeignFile, match="changed since it was sealed"):
        publisher.publish(DownloadPlan(wanted=quarter, sealed_base=BTC))


@given(st.sets(st.integers(0, 119)))
def test_gaps_are_exactly_the_missing_slots(missing: set[int]) -> None:
    """Over a week with a weekend and New Year in it."""
    expected = expected_slots(EUR_H1, WEEK)
    absent = np.array(sorted(slot for slot in missing if slot < len(expected)), dtype=np.int64)
    found = list(gaps(EUR_H1, expected, np.delete(expected, absent), GapReason.CONFIRMED_EMPTY))
    told = [
        slot for slot in expected.tolist() if any(gap.start.timestamp() <= slot < gap.end.timestamp() for gap in found)
    ]

    assert told == expected[absent].tolist()
    assert sum(gap.slots for gap in found) == len(absent)


def test_a_gap_over_a_weekend_is_one_gap() -> None:
    expected = expected_slots(EUR_H1, WEEK)
    closing = int(np.flatnonzero(np.diff(expected) > 3600)[0])
    (gap,) = gaps(EUR_H1, expected, np.delete(expected, [closing, closing + 1]), GapReason.CONFIRMED_EMPTY)

    assert gap.slots == 2
    assert gap.end - gap.start > timedelta(days=2)
