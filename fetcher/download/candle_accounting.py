"""Slot accounting: counts the candle slots of a range by state. Each slot has exactly one of five states."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from fetcher.download.page_ledger import PageLedger
from fetcher.download.sealing import stored_candles
from tradeschool.markets.calendars import expected_slots
from tradeschool.markets.catalogue import DatasetRange
from tradeschool.markets.grid import grid_of
from tradeschool.markets.windows import Window, merge, subtract
from tradeschool.ohlcv.arrays import are_among
from tradeschool.store import Store


class SlotState(StrEnum):
    """Download state of one candle slot."""

    STORED = "stored"
    CONFIRMED_EMPTY = "confirmed empty"
    """The provider, the imported file or the base candles have no candle in this slot."""
    CLOSED = "closed by calendar"
    FAILED = "failed"
    """Requested, but no response could be stored, or a missing candle is still unconfirmed."""
    UNASKED = "not yet requested"


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotReport:
    """Number of slots of a range in each state."""

    wanted: DatasetRange
    slots: dict[SlotState, int]
    """Number of slots by state; the numbers add up to all slots of the grid."""


def slot_report(wanted: DatasetRange, store: Store, ledger: PageLedger) -> SlotReport:
    """Count the slots of a range by state: sealed parts from the seals, other parts from the ledger.

    Raises:
        ForeignFile: if a seal, a file or a stored page cannot be read.
    """
    dataset = wanted.dataset
    slots = dict.fromkeys(SlotState, 0)
    window = grid_of(dataset).whole(wanted.window)
    if window is None:
        return SlotReport(wanted=wanted, slots=slots)
    sealed = merge([part for seal in store.seals(dataset) if (part := seal.window.overlap(window))])
    for part in sealed:
        expected = expected_slots(dataset, part)
        stored = int(are_among(expected, store.arrays(dataset, part).time).sum())
        slots[SlotState.STORED] += stored
        slots[SlotState.CONFIRMED_EMPTY] += len(expected) - stored
    for part in subtract(window, sealed):
        for state, count in _under_way(DatasetRange(dataset=dataset, window=part), store, ledger).items():
            slots[state] += count
    slots[SlotState.CLOSED] = grid_of(dataset).count(window) - sum(slots.values())
    return SlotReport(wanted=wanted, slots=slots)


def _under_way(wanted: DatasetRange, store: Store, ledger: PageLedger) -> dict[SlotState, int]:
    """Count the expected slots of an unsealed range by state."""
    dataset, expected = wanted.dataset, expected_slots(wanted.dataset, wanted.window)
    failed = [*ledger.unconfirmed(dataset), *(window for window, _ in ledger.failures(dataset))]
    is_stored = are_among(expected, stored_candles(wanted, store, ledger).time)
    is_failed = ~is_stored & _inside(expected, failed)
    is_empty = ~is_stored & ~is_failed & _inside(expected, ledger.covered(dataset))
    masks = {SlotState.STORED: is_stored, SlotState.FAILED: is_failed, SlotState.CONFIRMED_EMPTY: is_empty}
    counts = {state: int(mask.sum()) for state, mask in masks.items()}
    return counts | {SlotState.UNASKED: len(expected) - sum(counts.values())}


def _inside(times: NDArray[np.int64], windows: Sequence[Window]) -> NDArray[np.bool_]:
    """Return a mask of the times inside one of the windows; `times` must be ascending."""
    chosen = np.zeros(len(times), dtype=np.bool_)
    for window in merge(list(windows)):
        first, last = np.searchsorted(times, [window.start_seconds, window.end_seconds])
        chosen[first:last] = True
    return chosen
