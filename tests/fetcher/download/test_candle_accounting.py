"""Slot accounting: each slot has one of five states at any stage of a download."""

from datetime import UTC, datetime

import pytest

from fetcher.download import run_loop
from fetcher.download.candle_accounting import SlotReport, SlotState, slot_report
from fetcher.download.fetch_context import RunOptions
from fetcher.download.page_ledger import AGREEING_EMPTY_RESPONSES, PageLedger
from fetcher.protocol.provider import Page
from tradeschool.markets.catalogue import BTC_USD, EUR_USD, DatasetRange
from tradeschool.markets.instruments import Dataset, Instrument
from tradeschool.markets.timeframes import Timeframe
from tradeschool.markets.windows import Window
from tradeschool.store.frame_store import FrameStore

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DAYS = Window(datetime(2020, 1, 3, tzinfo=UTC), datetime(2020, 1, 6, tzinfo=UTC))  # from a Friday to a Monday
DAY = 288


def m5(instrument: Instrument) -> DatasetRange:
    return DatasetRange(dataset=Dataset(instrument=instrument, timeframe=Timeframe.M5), window=DAYS)


def counted(wanted: DatasetRange, store: FrameStore) -> dict[SlotState, int]:
    with PageLedger(store.root) as ledger:
        found: SlotReport = slot_report(wanted, store, ledger)
    assert sum(found.slots.values()) == 3 * DAY
    return {state: count for state, count in found.slots.items() if count}


def test_before_the_first_request_slots_come_from_the_calendar(store) -> None:
    assert counted(m5(BTC_USD), store) == {SlotState.UNASKED: 3 * DAY}
    assert counted(m5(EUR_USD), store) == {SlotState.CLOSED: 576, SlotState.UNASKED: 288}


@pytest.mark.parametrize("seal", [False, True], ids=["in the ledger", "sealed"])
async def test_received_slots_are_stored_or_confirmed_empty(seal: bool, serving, store, fast) -> None:
    async with serving() as served:
        await run_loop.run(
            [m5(EUR_USD)],
            store=store,
            access={"oanda": fast(served.url)},
            native=False,
            now=lambda: NOW,
            options=RunOptions(confirm_after_seconds=0.0, seal=seal),
        )
    found = counted(m5(EUR_USD), store)

    assert found[SlotState.CLOSED] == 576
    assert found[SlotState.STORED] + found.get(SlotState.CONFIRMED_EMPTY, 0) == 288
    assert bool(store.seals(m5(EUR_USD).dataset)) is seal


def test_a_partial_page_is_stored_and_the_missing_part_fails(store, made) -> None:
    """An incomplete page is unconfirmed until it is requested again; a rejected page counts as failed."""
    wanted = m5(BTC_USD)
    first, second, _ = (
        Window.of_seconds(DAYS.start_seconds + n * 86400, DAYS.start_seconds + (n + 1) * 86400) for n in range(3)
    )
    rows = [[time, 0.8, 1.2, 1.0, 1.1, 5.0] for time in range(first.start_seconds, first.end_seconds, 300)][1:]
    with PageLedger(store.root) as ledger:
        page = Page(dataset=wanted.dataset, window=first)
        ledger.add(page, str(rows[::-1]).encode(), rows=len(rows), complete=False)
        ledger.fail(Page(dataset=wanted.dataset, window=second), "status 400")

    assert counted(wanted, store) == {
        SlotState.STORED: DAY - 1,
        SlotState.FAILED: DAY + 1,
        SlotState.UNASKED: DAY,
    }


def test_a_confirmed_page_has_empty_slots(store) -> None:
    wanted = m5(BTC_USD)
    first = Window.of_seconds(DAYS.start_seconds, DAYS.start_seconds + 86400)
    with PageLedger(store.root) as ledger:
        for _ in range(AGREEING_EMPTY_RESPONSES):
            ledger.add(Page(dataset=wanted.dataset, window=first), b"[]", rows=0, complete=False)

    assert counted(wanted, store) == {SlotState.CONFIRMED_EMPTY: DAY, SlotState.UNASKED: 2 * DAY}
