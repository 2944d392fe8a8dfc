"""Inventory of a store by month; unchanged datasets are not read again."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tradeschool.candles.frame import Candles
from tradeschool.markets.catalogue import BTC_USD, EUR_USD
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.timeframes import Timeframe
from tradeschool.markets.windows import Window
from tradeschool.store import Gap, GapReason, Seal
from tradeschool.store.frame_store import FrameStore
from tradeschool.store.inventory import Inventory, inventory_of, months_of

BTC = Dataset(instrument=BTC_USD, timeframe=Timeframe.H1)
EUR = Dataset(instrument=EUR_USD, timeframe=Timeframe.H1)
Made = Callable[[Dataset, Window], Candles]
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def seal(store: FrameStore, candles: Candles, window: Window, gaps: tuple[Gap, ...] = ()) -> Seal:
    files = tuple(
        store.write_year(candles, window, year) for year, part in window.years() if part == window or year == 2021
    )
    expected = len(candles) + sum(gap.slots for gap in gaps)
    made = Seal(
        dataset=candles.dataset.name,
        start=window.start,
        end=window.end,
        rows=len(candles),
        expected=expected,
        gaps=gaps,
        derived=False,
        files=files,
        sealed_at=NOW,
    )
    store.seal(candles.dataset, made)
    return made


def test_the_inventory_lists_sealed_ranges(store: FrameStore, made: Made) -> None:
    window = Window(moment("2021-03-01"), moment("2021-03-03"))
    seal(store, made(BTC, window), window)

    holding = inventory_of(store, BTC)

    assert holding is not None
    assert (holding.rows, holding.expected, holding.coverage, holding.gaps) == (48, 48, 1.0, 0)
    assert holding.first == "2021-03-01T00:00:00+00:00"
    assert holding.last == "2021-03-02T23:00:00+00:00"
    assert holding.to_json()["ranges"] == ["2021-03-01..2021-03-03"]


def test_months_count_expected_candles_minus_gaps(store: FrameStore, made: Made) -> None:
    window = Window(moment("2021-01-25"), moment("2021-03-05"))
    gap = Gap(start=moment("2021-01-31T12:00"), end=moment("2021-02-01T06:00"), slots=18, reason=GapReason.SOURCE_GAP)
    sealed = seal(store, made(BTC, window), window, (gap,))

    assert months_of(BTC, [sealed]) == {
        "2021-01": round(1 - 12 / (7 * 24), 4),
        "2021-02": round(1 - 6 / (28 * 24), 4),
        "2021-03": 1.0,
    }


def test_a_closed_market_has_no_missing_candles(store: FrameStore, made: Made) -> None:
    window = Window(moment("2021-03-01"), moment("2021-04-01"))

    assert months_of(EUR, [seal(store, made(EUR, window), window)]) == {"2021-03": 1.0}


def test_only_changed_datasets_are_read_again(store: FrameStore, made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    window = Window(moment("2021-03-01"), moment("2021-03-03"))
    seal(store, made(BTC, window), window)
    inventory = Inventory(store)
    reads: list[Dataset] = []
    read = FrameStore.arrays

    def noted(self: FrameStore, dataset: Dataset, window: Window):
        reads.append(dataset)
        return read(self, dataset, window)

    monkeypatch.setattr(FrameStore, "arrays", noted)
    assert len(inventory.look([BTC, EUR])) == 1
    first = len(reads)
    assert inventory.look([BTC, EUR])[0].inventory.rows == 48
    assert len(reads) == first > 0
    later = Window(moment("2021-03-03"), moment("2021-03-04"))
    seal(store, made(BTC, later), later)

    assert inventory.look([BTC, EUR])[0].inventory.rows == 72
    assert len(reads) > first


def test_an_unreadable_seal_is_reported_with_the_others(store: FrameStore, made: Made) -> None:
    window = Window(moment("2021-03-01"), moment("2021-03-03"))
    seal(store, made(EUR, window), window)
    (store.folder(BTC)).mkdir(parents=True)
    (store.folder(BTC) / "20210301-20210303.seal.json").write_text("{")

    broken, sound = (held.inventory for held in Inventory(store).look([BTC, EUR]))

    assert "not a seal" in broken.error
    assert not broken.sealed
    assert sound.sealed


def test_a_missing_folder_has_an_empty_inventory(tmp_path: Path) -> None:
    assert Inventory(FrameStore(tmp_path / "absent")).look([BTC, EUR]) == []
