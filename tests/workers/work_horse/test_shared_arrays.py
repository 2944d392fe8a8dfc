"""Shared arrays: all workers of a machine map the same files with equal values."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from workers.work_horse.shared_arrays import KEEP_SECONDS, MIN_BYTES, share

LONG = MIN_BYTES // 8


@dataclass(frozen=True)
class Inner:
    marks: NDArray[np.float64]


@dataclass(frozen=True)
class Made:
    name: str
    close: NDArray[np.float64]
    few: NDArray[np.int32]
    inner: Inner


def made(first: float = 0.0) -> Made:
    close = np.arange(LONG, dtype=np.float64) + first
    close[3] = np.nan
    close.flags.writeable = False
    return Made(name="x", close=close, few=np.arange(3, dtype=np.int32), inner=Inner(np.ones((2, LONG))))


def base_of(array: NDArray[np.float64]) -> object:
    return array if array.base is None or isinstance(array, np.memmap) else base_of(array.base)


def test_large_arrays_are_mapped_with_equal_values(tmp_path: Path) -> None:
    value = made()

    (shared,) = share((value,), tmp_path, "key")

    np.testing.assert_array_equal(shared.close, value.close)
    assert isinstance(base_of(shared.close), np.memmap)
    assert isinstance(base_of(shared.inner.marks), np.memmap)
    assert shared.few is value.few
    assert (shared.close.flags.writeable, shared.inner.marks.flags.writeable) == (False, True)
    assert (type(shared.close), shared.close.dtype) == (np.ndarray, np.float64)


def test_read_only_arrays_are_mapped_read_only(tmp_path: Path) -> None:
    (shared,) = share((made(),), tmp_path, "key")

    with pytest.raises(ValueError, match="cannot set WRITEABLE"):
        shared.close.flags.writeable = True


def test_a_second_worker_maps_the_same_files(tmp_path: Path) -> None:
    share((made(), made(1.0)), tmp_path, "key")
    before = {path: path.stat().st_ino for path in tmp_path.iterdir()}

    share((made(), made(1.0)), tmp_path, "key")

    assert {path: path.stat().st_ino for path in tmp_path.iterdir()} == before
    assert len(before) == 4


def test_a_write_is_private_to_its_process(tmp_path: Path) -> None:
    (one,) = share((made(),), tmp_path, "key")
    (other,) = share((made(),), tmp_path, "key")
    one.inner.marks[0, 0] = 7.0

    assert other.inner.marks[0, 0] == 1.0


@pytest.mark.parametrize("damage", [b"", b"no array", None], ids=["empty", "foreign", "other numbers"])
def test_a_damaged_file_is_rewritten(tmp_path: Path, damage: bytes | None) -> None:
    share((made(5.0 if damage is None else 0.0),), tmp_path, "key")
    for path in tmp_path.iterdir():
        if damage is not None:
            path.write_bytes(damage)

    (shared,) = share((made(),), tmp_path, "key")

    np.testing.assert_array_equal(shared.close, made().close)


def test_unused_array_files_are_removed(tmp_path: Path) -> None:
    (shared,) = share((made(),), tmp_path, "key")
    long_ago = time.time() - KEEP_SECONDS - 1
    for path in tmp_path.iterdir():
        os.utime(path, (long_ago, long_ago))

    share((), tmp_path, "other")

    assert list(tmp_path.iterdir()) == []
    assert shared.close[1] == 1.0


def test_on_a_full_disk_arrays_stay_in_memory(small_disk: Path) -> None:
    large = Inner(np.ones(1 << 18))

    (shared,) = share((large,), small_disk / "arrays", "key")

    assert shared is large
    assert list((small_disk / "arrays").iterdir()) == []


def test_a_value_that_is_not_a_dataclass_is_unchanged(tmp_path: Path) -> None:
    values = (np.ones(LONG), "text")

    assert all(one is other for one, other in zip(share(values, tmp_path, "key"), values, strict=True))
