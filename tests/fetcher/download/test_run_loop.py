import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from fetcher.download import run_loop
from fetcher.download.candle_accounting import SlotState, slot_report
from fetcher.download.fetch_context import RunOptions
from fetcher.download.page_ledger import PageLedger
from fetcher.download.progress import DownloadProgress
from fetcher.locks import exclusive, of_folder
from fetcher.protocol.provider import Access, Page, PageTooLarge
from fetcher.provider_registry import find
from fetcher.simulator.candles.generated import GeneratedCandles
from fetcher.simulator.candles.source import SimulatedCandles
from fetcher.simulator.faults import Faults
from fetcher.simulator.server import serve
from tests.factories.exchanges import exchange_of
from tradeschool.errors import DataIncomplete, ProviderRejected, ProviderUnusable, ServiceUnreachable, StoreUnwritable
from tradeschool.markets.calendars import expected_slots
from tradeschool.markets.catalogue import BTC_USD, ETH_USD, EUR_USD, INSTRUMENTS, DatasetRange
from tradeschool.markets.grid import grid_of
from tradeschool.markets.instruments import Dataset, Instrument
from tradeschool.markets.timeframes import DEFAULT_TIMEFRAMES, Timeframe
from tradeschool.markets.windows import Window
from tradeschool.store import GapReason, Seal
from tradeschool.store.frame_store import FrameStore

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MONTH = Window(datetime(2020, 12, 15, tzinfo=UTC), datetime(2021, 1, 12, tzinfo=UTC))
PAGES = {BTC_USD: 27, ETH_USD: 27, EUR_USD: 2}
"""Of the base timeframe's month."""
FAULTS = "429=0.05,5xx=0.05,html=0.05,cut=0.05,empty=0.1,duplicate=0.1"


def wants(
    *instruments: Instrument, window: Window = MONTH, frames: tuple[Timeframe, ...] = DEFAULT_TIMEFRAMES
) -> list[DatasetRange]:
    return [
        DatasetRange(dataset=Dataset(instrument=instrument, timeframe=timeframe), window=window)
        for instrument in instruments
        for timeframe in frames
    ]


async def fetch(
    wanted: list[DatasetRange], store: FrameStore, url: str, *, native: bool = False, **changes: object
) -> list[DownloadProgress]:
    """One run without a rate limit."""
    access = {
        name: Access(**({"url": url, "rate": 2000.0, "token": "any", "patience_seconds": 20.0} | changes))  # type: ignore[arg-type]
        for name in dict.fromkeys(want.dataset.instrument.provider for want in wanted)
    }
    return await run_loop.run(
        wanted,
        store=store,
        access=access,
        native=native,
        now=lambda: NOW,
        options=RunOptions(confirm_after_seconds=0.0),
    )


def content(store: FrameStore) -> dict[str, str]:
    """Every visible file of a store with its digest."""
    return {
        path.relative_to(store.root).as_posix(): sha256(path.read_bytes()).hexdigest()
        for path in store.root.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }


def files(store: FrameStore) -> list[Path]:
    return sorted(store.root.rglob("*.parquet"))


def errors(progress: list[DownloadProgress]) -> list[type[Exception] | None]:
    return [type(each.error) if each.error else None for each in progress]


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, generated: GeneratedCandles) -> FrameStore:
    """A month of two instruments, one per protocol, fetched without faults."""
    store = FrameStore(tmp_path_factory.mktemp("undisturbed"))

    async def run() -> None:
        async with serve(exchange_of(generated)) as served:
            await fetch(wants(BTC_USD, EUR_USD), store, served.url)

    asyncio.run(run())
    return store


def test_all_candles_of_the_source_are_sealed(undisturbed: FrameStore, generated: GeneratedCandles) -> None:
    """Both protocols, all timeframes, to the last digit."""
    for want in wants(BTC_USD, EUR_USD):
        found = undisturbed.arrays(want.dataset, MONTH)
        source = generated.candles(want.dataset, MONTH.start_seconds, MONTH.end_seconds)

        assert found.time.tolist() == source.times.tolist()
        prices = np.column_stack([found.open, found.high, found.low, found.close])
        assert (prices == source.prices).all()
        assert np.array_equal(found.volume, source.volumes)


def test_the_half_spread_at_the_open_is_sealed(undisturbed: FrameStore, generated: GeneratedCandles) -> None:
    for timeframe in DEFAULT_TIMEFRAMES:
        dataset = Dataset(instrument=EUR_USD, timeframe=timeframe)
        source = generated.candles(dataset, MONTH.start_seconds, MONTH.end_seconds)
        assert source.bid is not None
        assert source.ask is not None

        expected = ((source.ask[:, 0] - source.bid[:, 0]) / 2).round(6)
        assert np.array_equal(undisturbed.arrays(dataset, MONTH).half_spread, expected)


def test_every_expected_candle_is_accounted_for(undisturbed: FrameStore) -> None:
    for want in wants(BTC_USD, EUR_USD):
        (seal,) = undisturbed.verify(want.dataset)
        expected = expected_slots(want.dataset, MONTH)
        present = undisturbed.arrays(want.dataset, MONTH).time
        gap_slots = [
            slot for gap in seal.gaps for slot in expected if gap.start.timestamp() <= slot < gap.end.timestamp()
        ]

        assert sorted(gap_slots) == np.setdiff1d(expected, present).tolist()
        assert (seal.rows, seal.expected, seal.missing) == (len(present), len(expected), len(gap_slots))
        assert seal.derived == (want.dataset.timeframe is not Timeframe.M5)
        assert {gap.reason for gap in seal.gaps} <= {
            GapReason.SOURCE_GAP if seal.derived else GapReason.CONFIRMED_EMPTY
        }


def test_sealed_pages_keep_no_body(undisturbed: FrameStore) -> None:
    ledger = PageLedger(undisturbed.root)

    assert not [each for want in wants(BTC_USD, EUR_USD) for each in ledger.responses(want.dataset, MONTH)]
    ledger.close()


async def test_each_page_is_requested_once_and_unconfirmed_ones_twice(store: FrameStore, serving) -> None:
    async with serving() as served:
        (progress,) = await fetch(wants(BTC_USD), store, served.url)
        seen = [request.path + request.query for request in served.requests]
    candles = [each for each in seen if "candles" in each]

    assert len(set(candles)) == PAGES[BTC_USD]
    assert max(candles.count(each) for each in candles) <= 2
    assert progress.requests == len(seen)
    assert progress.done == progress.total == len(candles)


async def test_a_finished_run_makes_no_request_and_no_change(store: FrameStore, serving) -> None:
    async with serving() as served:
        await fetch(wants(BTC_USD, EUR_USD), store, served.url)
        asked, before = len(served.requests), content(store)
        progress = await fetch(wants(BTC_USD, EUR_USD), store, served.url)

        assert progress == []
        assert (len(served.requests), content(store)) == (asked, before)


@pytest.mark.parametrize("seed", [1, 2])
async def test_provider_faults_do_not_change_the_files(
    store: FrameStore, serving, undisturbed: FrameStore, seed: int
) -> None:
    async with serving(faults=Faults.parse(FAULTS), seed=seed) as served:
        progress = await fetch(wants(BTC_USD, EUR_USD), store, served.url)

    assert errors(progress) == [None, None]
    assert content(store) == content(undisturbed)


async def test_an_outage_does_not_change_the_files(store: FrameStore, serving, undisturbed: FrameStore) -> None:
    async with serving(faults=Faults.parse("outage=0.05+1,latency=1-5")) as served:
        await fetch(wants(BTC_USD, EUR_USD), store, served.url)

    assert content(store) == content(undisturbed)


async def test_a_longer_range_requests_only_the_new_part(store: FrameStore, serving) -> None:
    shorter = Window(MONTH.start, MONTH.start + timedelta(days=14))
    async with serving() as served:
        await fetch(wants(BTC_USD, window=shorter), store, served.url)
        asked = len(served.requests)
        await fetch(wants(BTC_USD), store, served.url)
        starts = [query.split("start=")[1][:10] for query in (seen.query for seen in served.requests[asked:]) if query]

    assert min(starts) >= f"{shorter.end:%Y-%m-%d}"
    assert store.coverage(Dataset(instrument=BTC_USD, timeframe=Timeframe.M15), MONTH) > 0.9


async def test_longer_timeframes_are_derived_later_without_a_request(
    store: FrameStore, serving, undisturbed: FrameStore
) -> None:
    """Also after a kill between the seals of M5 and M15."""
    async with serving() as served:
        await fetch(wants(BTC_USD, EUR_USD, frames=(Timeframe.M5,)), store, served.url)
        asked = len(served.requests)
        progress = await fetch(wants(BTC_USD, EUR_USD), store, served.url)

        assert len(served.requests) == asked
    assert {seal.dataset for each in progress for seal in each.seals} == {
        want.dataset.name for want in wants(BTC_USD, EUR_USD, frames=(Timeframe.M15, Timeframe.H1))
    }
    assert content(store) == content(undisturbed)


async def test_native_timeframes_are_requested(store: FrameStore, serving, undisturbed: FrameStore) -> None:
    async with serving() as served:
        progress = await fetch(wants(EUR_USD), store, served.url, native=True)
        asked = {seen.query.split("&")[0] for seen in served.requests}
    quarter = Dataset(instrument=EUR_USD, timeframe=Timeframe.M15)

    assert asked == {"granularity=M5", "granularity=M15", "granularity=H1"}
    assert not any(seal.derived for each in progress for seal in each.seals)
    assert store.arrays(quarter, MONTH).close.tolist() == undisturbed.arrays(quarter, MONTH).close.tolist()


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


@pytest.mark.parametrize("corrupt", [damage, Path.unlink], ids=["cut", "lost"])
@pytest.mark.parametrize("timeframe", DEFAULT_TIMEFRAMES, ids=lambda timeframe: timeframe.name)
@pytest.mark.parametrize("year", [2020, 2021])
async def test_only_the_damaged_file_is_fetched_again(
    store: FrameStore,
    serving,
    undisturbed: FrameStore,
    corrupt: Callable[[Path], None],
    timeframe: Timeframe,
    year: int,
) -> None:
    """Only its year is requested, nothing for a derived dataset; the other year stays."""
    async with serving() as served:
        await fetch(wants(BTC_USD), store, served.url)
        corrupt(next((store.root / "coinbase" / "BTC-USD" / timeframe.name / f"year={year}").iterdir()))
        asked = len(served.requests)
        progress = await fetch(wants(BTC_USD), store, served.url)
        again = len([seen for seen in served.requests[asked:] if seen.path.endswith("candles")])

    assert errors(progress) == [None]
    assert again == 0 if timeframe is not Timeframe.M5 else 0 < again < PAGES[BTC_USD]
    assert content(store) == {name: it for name, it in content(undisturbed).items() if "oanda" not in name}


async def test_a_lost_ledger_loses_no_sealed_range(store: FrameStore, serving) -> None:
    async with serving() as served:
        await fetch(wants(BTC_USD), store, served.url)
        before = content(store)
        for path in store.root.glob(".ledger*"):
            path.unlink()
        await fetch(wants(BTC_USD), store, served.url)

    assert content(store) == before


async def test_a_refused_dataset_does_not_stop_the_others(store: FrameStore, generated: GeneratedCandles) -> None:
    class WithoutBitcoin:
        instruments = tuple(each for each in INSTRUMENTS if each is not BTC_USD)
        candles = generated.candles

    async with serve(exchange_of(WithoutBitcoin())) as served:
        progress = await fetch(wants(BTC_USD, ETH_USD, EUR_USD), store, served.url)

    assert errors(progress) == [ProviderRejected, None, None]
    assert "coinbase/BTC-USD/M5: coinbase answered 404: NotFound" in str(progress[0].error)
    store.require(Dataset(instrument=ETH_USD, timeframe=Timeframe.H1), MONTH)
    store.require(Dataset(instrument=EUR_USD, timeframe=Timeframe.H1), MONTH)


async def test_a_wrong_token_ends_only_oanda(store: FrameStore, serving) -> None:
    async with serving(oanda_token="another") as served:
        progress = await fetch(wants(BTC_USD, EUR_USD), store, served.url)

    assert errors(progress) == [None, ProviderRejected]
    assert "Check OANDA_API_TOKEN" in str(progress[1].error)


async def test_an_unreachable_provider_ends_only_its_own_downloads(store: FrameStore, serving) -> None:
    async with serving() as served:
        access = {
            "coinbase": Access(url="http://127.0.0.1:9", rate=500.0, patience_seconds=0.0),
            "oanda": Access(url=served.url, rate=500.0, token="any"),
        }
        wanted = wants(BTC_USD, ETH_USD, EUR_USD)
        progress = await run_loop.run(
            wanted,
            store=store,
            access=access,
            native=False,
            now=lambda: NOW,
            options=RunOptions(confirm_after_seconds=0.0),
        )

    assert errors(progress) == [ServiceUnreachable, ServiceUnreachable, None]
    assert progress[0].error is progress[1].error


class Flaky:
    """A source whose responses differ each time, stay incomplete, or refuse long ranges."""

    def __init__(self, source: GeneratedCandles, change: Callable[[SimulatedCandles, int], SimulatedCandles]) -> None:
        self.instruments = source.instruments
        self._source, self._change, self._asked = source, change, 0

    def candles(self, dataset: Dataset, start: int, end: int) -> SimulatedCandles:
        self._asked += 1
        return self._change(self._source.candles(dataset, start, end), self._asked)


async def test_a_response_that_differs_each_time_is_never_sealed(
    store: FrameStore, generated: GeneratedCandles
) -> None:
    week = Window(datetime(2021, 3, 1, tzinfo=UTC), datetime(2021, 3, 2, tzinfo=UTC))
    fewer = Flaky(generated, lambda candles, asked: candles[: 100 + asked])
    async with serve(exchange_of(fewer)) as served:
        progress = await fetch(wants(BTC_USD, window=week), store, served.url)

    assert errors(progress) == [ProviderUnusable]
    assert "returns different candles each time; run tradeschool fetch later" in str(progress[0].error)
    with pytest.raises(DataIncomplete):
        store.require(wants(BTC_USD)[0].dataset, week)


async def test_an_unreadable_stored_page_ends_only_its_dataset(store: FrameStore, serving) -> None:
    day = Window(MONTH.start, MONTH.start + timedelta(days=1))
    ledger = PageLedger(store.root)
    ledger.add(
        Page(dataset=Dataset(instrument=BTC_USD, timeframe=Timeframe.M5), window=day), b"[", rows=288, complete=True
    )
    ledger.close()
    async with serving() as served:
        progress = await fetch(wants(BTC_USD, ETH_USD, window=day), store, served.url)

    assert errors(progress) == [ProviderUnusable, None]


async def test_a_one_candle_page_that_is_too_large_ends_its_dataset(
    store: FrameStore, serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fetcher.simulator.protocols.coinbase.MAX_INTERVALS", -1)
    async with serving() as served:
        progress = await fetch(wants(BTC_USD), store, served.url)

    assert errors(progress) == [PageTooLarge]


async def test_a_page_that_is_too_large_is_requested_in_halves(
    store: FrameStore, serving, undisturbed: FrameStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Simulates a provider whose limit is lower than documented."""
    monkeypatch.setattr("fetcher.simulator.protocols.coinbase.MAX_INTERVALS", 80)
    async with serving() as served:
        (progress,) = await fetch(wants(BTC_USD), store, served.url)

    assert progress.error is None
    assert progress.done == progress.total
    assert content(store) == {name: it for name, it in content(undisturbed).items() if "oanda" not in name}


async def test_waiting_callers_are_notified_when_a_dataset_is_sealed(store: FrameStore, serving) -> None:
    told: list[Seal] = []
    async with serving() as served:
        access = {"coinbase": Access(url=served.url, rate=2000.0)}
        await run_loop.run(
            wants(BTC_USD),
            store=store,
            access=access,
            native=False,
            now=lambda: NOW,
            options=RunOptions(on_sealed=told.append, confirm_after_seconds=0.0),
        )

    assert [seal.dataset for seal in told] == [want.dataset.name for want in wants(BTC_USD)]


async def test_a_cancelled_run_resumes_at_the_same_page(store: FrameStore, serving, undisturbed: FrameStore) -> None:
    """It is cancelled three times after a few requests; stored pages are not requested again."""
    async with serving(faults=Faults.parse("latency=20-20")) as served:
        for _ in range(3):
            until = len(served.requests) + 5
            async with asyncio.TaskGroup() as group:
                run = group.create_task(fetch(wants(BTC_USD, EUR_USD), store, served.url))
                while len(served.requests) < until:  # noqa: ASYNC110  # no event tells it
                    await asyncio.sleep(0.002)
                run.cancel()
            assert run.cancelled()
        await fetch(wants(BTC_USD, EUR_USD), store, served.url)
        pages_asked = [seen.query for seen in served.requests if seen.path.endswith("candles")]

    assert content(store) == content(undisturbed)
    assert len(pages_asked) < 2 * (PAGES[BTC_USD] + PAGES[EUR_USD])


async def test_a_download_can_change_its_source_midway(store: FrameStore, serving, undisturbed: FrameStore) -> None:
    """Pages of both Coinbase APIs give equal bytes."""
    datasets = [want.dataset for want in wants(BTC_USD)]
    half = PAGES[BTC_USD] // 2
    async with serving(faults=Faults.parse("latency=20-20")) as served:
        async with asyncio.TaskGroup() as group:
            first = group.create_task(fetch(wants(BTC_USD), store, served.url, source="exchange"))
            while sum(seen.path.endswith("/candles") for seen in served.requests) < half:  # noqa: ASYNC110  # no event tells it
                await asyncio.sleep(0.005)
            first.cancel()
        await fetch(wants(BTC_USD), store, served.url, source="advanced_trade")
        asked = {seen.protocol for seen in served.requests}

    assert asked == {"coinbase", "coinbase_advanced"}
    for dataset in datasets:
        (seal,) = store.verify(dataset)
        (other,) = undisturbed.verify(dataset)
        assert (seal.rows, seal.files, seal.gaps) == (other.rows, other.files, other.gaps)


async def test_a_full_disk_ends_the_run_without_data_loss(
    small_disk: Path, remount, serving, store: FrameStore
) -> None:
    """Stored pages are not requested again after space is available."""
    little = FrameStore(small_disk / "data")
    quarter = Window(MONTH.start, MONTH.start + timedelta(days=150))
    async with serving() as served:
        with pytest.raises(StoreUnwritable, match=r"free space|full"):
            await fetch(wants(BTC_USD, window=quarter), little, served.url)
        ledger = PageLedger(little.root)
        covered = len(ledger.covered(wants(BTC_USD)[0].dataset))
        ledger.close()
        asked = len(served.requests)
        remount("size=20m")
        await fetch(wants(BTC_USD, window=quarter), little, served.url)
        again = len({seen.query for seen in served.requests[asked:] if seen.path.endswith("candles")})
        await fetch(wants(BTC_USD, window=quarter), store, served.url)

    assert covered > 0
    assert again <= 144 - covered + 4
    assert content(little) == content(store)


async def test_a_read_only_folder_is_reported(small_disk: Path, remount, serving) -> None:
    remount("ro")
    async with serving() as served:
        with pytest.raises(StoreUnwritable, match="Read-only file system"):
            async with exclusive(of_folder(small_disk / "data"), lambda: None):
                pass
        with pytest.raises(StoreUnwritable, match=r"cannot open .*ledger.*; free space, fix permissions"):
            await fetch(wants(BTC_USD), FrameStore(small_disk / "data"), served.url)

        assert not served.requests


async def test_the_second_fetcher_waits_for_the_first(tmp_path: Path) -> None:
    order = []

    waits = asyncio.Event()

    def wait(name: str) -> None:
        order.append(f"{name} waits")
        waits.set()

    async def one(name: str) -> None:
        async with exclusive(of_folder(tmp_path), lambda: wait(name)):
            order.append(f"{name} in")
            await waits.wait()
            order.append(f"{name} out")

    await asyncio.gather(one("first"), one("second"))

    assert order == ["first in", "second waits", "first out", "second in", "second out"]


async def test_waiting_for_another_fetcher_can_be_cancelled(tmp_path: Path) -> None:
    async with exclusive(of_folder(tmp_path), lambda: None):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05), exclusive(of_folder(tmp_path), lambda: None):
                pass


@pytest.mark.parametrize("sunday", [datetime(2022, 3, 13, tzinfo=UTC), datetime(2022, 11, 6, tzinfo=UTC)])
async def test_every_timeframe_is_sealed_over_a_clock_change(
    serving, store: FrameStore, generated: GeneratedCandles, sunday: datetime
) -> None:
    """Derived from M1, accounted for to the last slot, and equal to what the provider itself makes of the days."""
    window = Window(sunday - timedelta(days=9), sunday + timedelta(days=9))
    wanted = wants(BTC_USD, EUR_USD, window=window, frames=tuple(Timeframe))
    async with serving() as served:
        progress = await fetch(wanted, store, served.url)
        assert errors(progress) == [None, None]
        assert await fetch(wanted, store, served.url) == []

    with PageLedger(store.root) as ledger:
        for want in wanted:
            whole = grid_of(want.dataset).whole(window)
            assert whole
            source = generated.candles(want.dataset, whole.start_seconds, whole.end_seconds)
            found = store.arrays(want.dataset, window)
            assert found.time.tolist() == source.times.tolist()
            assert np.array_equal(found.close, source.prices[:, 3])
            slots = slot_report(want, store, ledger).slots
            assert slots[SlotState.STORED] == len(source)
            assert slots[SlotState.UNASKED] == slots[SlotState.FAILED] == 0
            assert sum(slots.values()) == grid_of(want.dataset).count(window)
            (seal,) = store.seals(want.dataset)
            assert (seal.window, seal.derived) == (whole, want.dataset.timeframe is not Timeframe.M1)
    audits = [audit for each in progress for audit in each.audits]
    assert {audit.page.dataset.timeframe for audit in audits} == find("coinbase").timeframes - {Timeframe.M1}
    assert all(audit.is_clean and audit.candles for audit in audits)


async def test_days_of_fx_are_asked_for_where_nothing_is_there_to_derive_them_from(
    serving, store: FrameStore, generated: GeneratedCandles
) -> None:
    sunday = datetime(2022, 11, 6, tzinfo=UTC)
    window = Window(sunday - timedelta(days=6), sunday + timedelta(days=6))
    (want,) = wants(EUR_USD, window=window, frames=(Timeframe.D1,))
    async with serving() as served:
        await fetch([want], store, served.url)

    whole = grid_of(want.dataset).whole(window)
    assert whole
    source = generated.candles(want.dataset, whole.start_seconds, whole.end_seconds)
    assert store.arrays(want.dataset, window).time.tolist() == source.times.tolist()
    assert [request.query for request in served.requests if "from" in request.query] == [
        "granularity=D&price=MBA&smooth=false&includeFirst=true"
        f"&from={whole.start_seconds}&to={whole.end_seconds}&dailyAlignment=17&alignmentTimezone=America/New_York"
    ]
