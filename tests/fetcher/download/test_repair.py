"""Repair of every kind of damage, also if the repair is killed in between."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fetcher.download import run_loop
from fetcher.download.fetch_context import RunOptions
from fetcher.download.ledger_database import FILE_NAME
from fetcher.download.page_ledger import AGREEING_EMPTY_RESPONSES, PageLedger
from fetcher.download.plan import DownloadPlan
from fetcher.download.repair import RepairResult, repair
from fetcher.download.sealing import Publisher
from fetcher.protocol.provider import Access, Page
from tests.factories.interruptions import Countdown, Stopped
from tradeschool.errors import ForeignFile, InvalidCandles
from tradeschool.markets.catalogue import BTC_USD, DatasetRange
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.timeframes import Timeframe
from tradeschool.markets.windows import Window
from tradeschool.store.frame_store import FrameStore

BTC = Dataset(instrument=BTC_USD, timeframe=Timeframe.M5)
H1 = BTC.at(Timeframe.H1)
DAYS = Window(datetime(2020, 12, 30, tzinfo=UTC), datetime(2021, 1, 3, tzinfo=UTC))
YEAR = Window(datetime(2021, 1, 1, tzinfo=UTC), DAYS.end)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
WANTED = [DatasetRange(dataset=BTC, window=DAYS), DatasetRange(dataset=H1, window=DAYS)]


@pytest.fixture
def ledger(store: FrameStore) -> Iterator[PageLedger]:
    opened = PageLedger(store.root)
    yield opened
    opened.close()


@pytest.fixture
def publisher(store: FrameStore, ledger: PageLedger) -> Publisher:
    return Publisher(store, ledger, lambda: NOW)


@pytest.fixture
def download(store: FrameStore, serving) -> Callable:
    """Download the wanted ranges from an exchange; return the number of pages."""

    async def run(**options: object) -> int:
        async with serving(**options) as served:
            access = {"coinbase": Access(url=served.url, rate=1000.0)}
            done = await run_loop.run(
                WANTED,
                store=store,
                access=access,
                native=False,
                now=lambda: NOW,
                options=RunOptions(confirm_after_seconds=0.0),
            )
            assert not [each.error for each in done if each.error]
            return len({seen.query for seen in served.requests if "start=" in str(seen.query)})

    return run


def fill(ledger: PageLedger, hours: range, *, missing: range = range(0), scale: float = 1.0) -> None:
    """Add one page per hour from the start; every page lacks the slots in `missing`."""
    for hour in hours:
        start = DAYS.start_seconds + hour * 3600
        slots = [slot for slot in range(12) if slot not in missing]
        prices = ",".join(str(price * scale) for price in (9, 12, 10, 10.5))
        body = f"[{','.join(f'[{start + slot * 300},{prices},1.5]' for slot in slots)}]".encode()
        page = Page(dataset=BTC, window=Window.of_seconds(start, start + 3600))
        for _ in range(2 if missing else 1):
            ledger.add(page, body, rows=len(slots), complete=not missing)


def publish(publisher: Publisher) -> None:
    publisher.publish(DownloadPlan(wanted=WANTED[0], derived=(WANTED[1],)))


def repair_pages(
    store: FrameStore, ledger: PageLedger, *, gaps: bool = False, names: tuple[Dataset, ...] = (BTC, H1)
) -> list[RepairResult]:
    return [each for each in repair(names, store, ledger, gaps=gaps) if not each.is_empty]


def break_bodies(store: FrameStore, count: int = 1) -> None:
    with closing(sqlite3.connect(store.root / FILE_NAME)) as other:
        other.execute("UPDATE pages SET body = x'00112233' WHERE id <= ?", (count,))
        other.commit()


def content(folder: Path) -> dict[str, object]:
    seals = {path.name: json.loads(path.read_text()) | {"sealed_at": None} for path in folder.rglob("*.seal.json")}
    return seals | {str(path): path.read_bytes() for path in folder.rglob("*.parquet")}


def test_repair_of_an_intact_folder_removes_nothing(
    store: FrameStore, ledger: PageLedger, publisher: Publisher
) -> None:
    fill(ledger, range(96), missing=range(3))
    publish(publisher)
    before = content(store.root), ledger.covered(BTC)

    assert repair_pages(store, ledger) == []
    assert (content(store.root), ledger.covered(BTC)) == before


def test_only_the_damaged_page_is_forgotten(store: FrameStore, ledger: PageLedger) -> None:
    fill(ledger, range(4))
    break_bodies(store)
    with pytest.raises(ForeignFile, match="data repair"):
        ledger.body(ledger.responses(BTC, DAYS)[0])

    (done,) = repair_pages(store, ledger)
    assert [window.start for window in done.forgotten] == [DAYS.start]
    assert len(ledger.responses(BTC, DAYS)) == len(ledger.covered(BTC)) == 3


async def test_the_next_download_replaces_a_damaged_page(store: FrameStore, ledger: PageLedger, download) -> None:
    first = Page(dataset=BTC, window=Window.of_seconds(DAYS.start_seconds, DAYS.start_seconds + 300 * 300))
    ledger.add(first, b"[]", rows=300, complete=True)
    break_bodies(store)
    repair_pages(store, ledger)

    await download()
    assert len(store.verify(BTC)) == len(store.verify(H1)) == 1


def test_unconfirmed_pages_are_forgotten(store: FrameStore, ledger: PageLedger) -> None:
    page = Page(dataset=BTC, window=Window.of_seconds(DAYS.start_seconds, DAYS.start_seconds + 3600))
    ledger.add(page, b"[]", rows=0, complete=False)

    repair_pages(store, ledger)
    assert ledger.unconfirmed(BTC) == ledger.covered(BTC) == []


def test_pages_refused_by_a_finding_are_forgotten(store: FrameStore, ledger: PageLedger, publisher: Publisher) -> None:
    fill(ledger, range(95))
    fill(ledger, range(95, 96), scale=100)
    with pytest.raises(InvalidCandles, match="price scale"):
        publish(publisher)

    repair_pages(store, ledger)
    assert len(ledger.covered(BTC)) == 95
    fill(ledger, range(95, 96))
    publish(publisher)


def test_pages_that_violate_the_contract_are_forgotten(store: FrameStore, ledger: PageLedger) -> None:
    fill(ledger, range(4))
    page = Page(dataset=BTC, window=Window.of_seconds(DAYS.end_seconds - 3600, DAYS.end_seconds))
    ledger.add(page, b"not json", rows=12, complete=True)

    repair_pages(store, ledger)
    assert len(ledger.covered(BTC)) == 4


@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_a_damaged_file_removes_its_seal_and_its_year(
    store: FrameStore, ledger: PageLedger, publisher: Publisher, damage: str
) -> None:
    fill(ledger, range(96))
    publish(publisher)
    path = store.folder(BTC) / store.seals(BTC)[0].files[1].path
    path.write_bytes(b"x") if damage == "changed" else path.unlink()
    (done,) = repair_pages(store, ledger)

    assert [(each.dataset, each.window) for each in done.unsealed] == [(BTC, DAYS)]
    assert done.forgotten == (YEAR,)
    assert (len(store.seals(BTC)), len(store.seals(H1))) == (0, 1)


def test_an_unreadable_seal_is_removed(store: FrameStore, ledger: PageLedger, publisher: Publisher) -> None:
    fill(ledger, range(96))
    publish(publisher)
    seal = next(store.folder(BTC).glob("*.seal.json"))
    seal.write_text("{")
    with pytest.raises(ForeignFile, match="data repair"):
        store.seals(BTC)

    (done,) = repair_pages(store, ledger)
    assert done.unreadable == (seal.name,)
    publish(publisher)
    assert len(store.verify(BTC)) == 1


def test_gaps_are_requested_again_and_derived_ranges_rebuilt(
    store: FrameStore, ledger: PageLedger, publisher: Publisher
) -> None:
    fill(ledger, range(90))
    fill(ledger, range(90, 96), missing=range(3))
    publish(publisher)
    assert store.seals(BTC)[0].missing == 18

    done = repair_pages(store, ledger, gaps=True)[0]
    assert [each.dataset for each in done.unsealed] == [H1, BTC]
    assert len(ledger.covered(BTC)) == 90
    fill(ledger, range(90, 96))
    publish(publisher)
    assert store.seals(BTC)[0].missing == store.seals(H1)[0].missing == 0


def test_a_derived_dataset_has_the_gaps_of_its_base(
    store: FrameStore, ledger: PageLedger, publisher: Publisher
) -> None:
    fill(ledger, range(95))
    ledger.add(
        Page(dataset=BTC, window=Window.of_seconds(DAYS.end_seconds - 3600, DAYS.end_seconds)),
        b"[]",
        rows=0,
        complete=True,
    )
    publish(publisher)
    repair_pages(store, ledger, gaps=True, names=(H1,))

    assert store.seals(BTC) == store.seals(H1) == []


async def test_gaps_are_filled_once_the_exchange_has_the_candles(
    store: FrameStore, ledger: PageLedger, download
) -> None:
    page = Page(dataset=BTC, window=Window.of_seconds(DAYS.start_seconds, DAYS.start_seconds + 300 * 300))
    for _ in range(AGREEING_EMPTY_RESPONSES):
        ledger.add(page, b"[]", rows=0, complete=False)
    await download()
    assert store.seals(BTC)[0].missing >= 300
    repair_pages(store, ledger, gaps=True)

    await download()
    assert store.seals(BTC)[0].missing <= 2
    assert store.seals(H1)[0].missing == 0


@pytest.mark.parametrize("stop_after", range(8))
def test_a_repair_interrupted_at_any_write_can_be_repeated(
    store: FrameStore, ledger: PageLedger, publisher: Publisher, stop_after: int
) -> None:
    fill(ledger, range(90))
    fill(ledger, range(90, 96), missing=range(3))
    publish(publisher)
    (store.folder(BTC) / store.seals(BTC)[0].files[0].path).unlink()
    step = Countdown(stop_after).step

    class StoppingStore(FrameStore):
        def unseal(self, *args) -> None:
            step()
            super().unseal(*args)

    class StoppingLedger(PageLedger):
        def forget(self, *args) -> Window:
            step()
            return super().forget(*args)

        def forget_pages(self, *args) -> None:
            step()
            super().forget_pages(*args)

    stopping = StoppingLedger(store.root)
    with suppress(Stopped):
        repair_pages(StoppingStore(store.root), stopping, gaps=True)
    stopping.close()
    repair_pages(store, ledger, gaps=True)

    assert store.seals(BTC) == store.seals(H1) == []
    assert next(window.start for window in ledger.covered(BTC)) == YEAR.start
    assert len(ledger.covered(BTC)) == 42
