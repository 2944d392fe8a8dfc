"""Memory-mapped columns equal the sealed candles, also after changes to the cache files."""

import os
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from tradeschool.errors import DataIncomplete, ForeignFile, HoldoutClosed
from tradeschool.markets.catalogue import BTC_USD, EUR_USD
from tradeschool.markets.instruments import Dataset, Instrument
from tradeschool.markets.timeframes import Timeframe
from tradeschool.markets.windows import Window
from tradeschool.store import Seal
from tradeschool.store.cached_store import KEEP_SECONDS, CachedStore
from tradeschool.store.frame_store import FrameStore

WEEK = Window(datetime(2021, 12, 29, tzinfo=UTC), datetime(2022, 1, 5, tzinfo=UTC))
PART = Window(datetime(2021, 12, 30, tzinfo=UTC), datetime(2022, 1, 2, tzinfo=UTC))
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def sealed(store: FrameStore, made, instrument: Instrument) -> Dataset:
    dataset = Dataset(instrument=instrument, timeframe=Timeframe.M15)
    candles = made(dataset, WEEK)
    files = tuple(store.write_year(candles.within(part), WEEK, year) for year, part in WEEK.years())
    store.seal(
        dataset,
        Seal(
            dataset=dataset.name,
            start=WEEK.start,
            end=WEEK.end,
            rows=len(candles),
            expected=len(candles),
            gaps=(),
            derived=False,
            files=files,
            sealed_at=NOW,
        ),
    )
    return dataset


@pytest.fixture
def cached(store: FrameStore, tmp_path: Path) -> CachedStore:
    return CachedStore(store.root, tmp_path / "columns")


@pytest.mark.parametrize("instrument", [BTC_USD, EUR_USD], ids=lambda instrument: instrument.name)
def test_mapped_columns_equal_the_store_bit_by_bit(store, cached, made, instrument: Instrument) -> None:
    """The first read decodes, the second maps."""
    dataset = sealed(store, made, instrument)
    wanted = store.arrays(dataset, PART)
    for found in (cached.arrays(dataset, PART), cached.arrays(dataset, PART)):
        assert found.numbers.keys() == wanted.numbers.keys()
        assert np.array_equal(found.time, wanted.time)
        for name, column in wanted.numbers.items():
            assert np.array_equal(found.numbers[name], column)


def test_a_second_process_reads_no_parquet(store, cached, made) -> None:
    dataset = sealed(store, made, BTC_USD)
    before = cached.arrays(dataset, PART)
    for path in store.folder(dataset).rglob("*.parquet"):
        path.unlink()

    assert np.array_equal(CachedStore(store.root, cached.columns).arrays(dataset, PART).close, before.close)


def test_shared_columns_are_read_only(store, cached, made) -> None:
    dataset = sealed(store, made, BTC_USD)
    cached.arrays(dataset, PART)

    with pytest.raises(ValueError, match="read-only"):
        cached.arrays(dataset, PART).close[0] = 1.0


@pytest.mark.parametrize("content", [b"", b"no array", None], ids=["empty", "text", "half"])
def test_a_damaged_file_is_rewritten(store, cached, made, content: bytes | None) -> None:
    dataset = sealed(store, made, BTC_USD)
    cached.arrays(dataset, PART)
    (path,) = cached.columns.glob("*.npy")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if content is None else content)

    assert np.array_equal(cached.arrays(dataset, PART).close, store.arrays(dataset, PART).close)
    assert path.read_bytes() == whole


def test_changed_candles_are_never_cached(store, cached, made) -> None:
    dataset = sealed(store, made, BTC_USD)
    path = next(store.folder(dataset).rglob("*.parquet"))
    path.write_bytes(path.read_bytes() + b"x")

    with pytest.raises(ForeignFile, match="changed since it was sealed"):
        cached.arrays(dataset, PART)
    assert not list(cached.columns.glob("*.npy"))


def test_an_unwritable_cache_folder_only_disables_the_cache(store, made, tmp_path: Path) -> None:
    dataset = sealed(store, made, BTC_USD)
    (tmp_path / "taken").write_text("a file where the folder should be")
    cached = CachedStore(store.root, tmp_path / "taken")

    assert len(cached.arrays(dataset, PART)) == len(store.arrays(dataset, PART))


def test_unused_cache_files_are_removed(store, cached, made) -> None:
    dataset = sealed(store, made, BTC_USD)
    cached.arrays(dataset, PART)
    (old,) = cached.columns.glob("*.npy")
    os.utime(old, (0, old.stat().st_mtime - KEEP_SECONDS - 1))
    cached.arrays(dataset, WEEK)

    assert not old.exists()
    assert len(list(cached.columns.glob("*.npy"))) == 1


def test_a_mapped_holdout_stays_closed(store, cached, made) -> None:
    dataset = sealed(store, made, BTC_USD)
    cached.arrays(dataset, PART)
    closed = CachedStore(store.root, cached.columns, closed=Window(PART.start, WEEK.end))

    with pytest.raises(HoldoutClosed, match="holdout period"):
        closed.arrays(dataset, PART)


def test_unsealed_candles_are_not_cached(cached) -> None:
    with pytest.raises(DataIncomplete, match="not sealed"):
        cached.arrays(Dataset(instrument=BTC_USD, timeframe=Timeframe.M15), PART)
