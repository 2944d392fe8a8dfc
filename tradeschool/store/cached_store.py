"""Dataset store with a cache of decoded candles in memory-mapped files, shared by all processes of a machine.

A worker opens four years of twelve datasets in milliseconds, and all workers share the memory. A cache file is named by
the digest of its content, so the parquet files need not be verified again.
"""

import os
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tradeschool.atomic_files import publish
from tradeschool.errors import StoreUnwritable
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.windows import Window
from tradeschool.object_storage.bucket_config import DataLocation
from tradeschool.ohlcv.arrays import CandleArrays, number_names
from tradeschool.store.store import Store

KEEP_SECONDS = 7 * 86_400.0
"""Age since the last use after which a cache file is removed; checked when another file is written."""


class CachedStore(Store):
    """A store that reads candles from memory-mapped cache files in a local folder."""

    def __init__(self, place: Path | DataLocation, folder: Path, *, closed: Window | None = None) -> None:
        super().__init__(place, closed=closed)
        self.columns = folder
        """Folder of the cache files."""

    def arrays(self, dataset: Dataset, window: Window) -> CandleArrays:
        """Return the candles of a sealed window as NumPy columns: read-only, or a copy if the cache is not writable.

        Raises:
            DataIncomplete: if the window is not sealed.
            HoldoutClosed: if the window overlaps the holdout period.
            ForeignFile: if a file cannot be read or does not match its seal.
        """
        path = self.columns / f"{self.digest(dataset, window)}.npy"
        rows = _mapped(path, dataset)
        if rows is None:
            self.check_files(dataset, window)
            rows = _rows(super().arrays(dataset, window))
            with suppress(StoreUnwritable, OSError):
                _remove_old(self.columns)
                publish(self.columns, path, lambda temporary: _save(temporary, rows))
        return _columns(rows, dataset)


def _rows(arrays: CandleArrays) -> NDArray[np.int64]:
    """Return all columns as int64 bit patterns in one array of shape (n_columns, n_candles), the time first."""
    return np.stack([arrays.time, *(column.view(np.int64) for column in arrays.numbers.values())])


def _columns(rows: NDArray[np.int64], dataset: Dataset) -> CandleArrays:
    numbers = {name: rows[place].view(np.float64) for place, name in enumerate(number_names(dataset), 1)}
    return CandleArrays.of(dataset, rows[0], numbers)


def _mapped(path: Path, dataset: Dataset) -> NDArray[np.int64] | None:
    """Return the memory-mapped content of a cache file, None if it is missing or invalid."""
    with suppress(OSError, ValueError, EOFError):
        rows: NDArray[np.int64] = np.load(path, mmap_mode="r", allow_pickle=False)
        if rows.dtype == np.int64 and rows.ndim == 2 and len(rows) == 1 + len(number_names(dataset)):
            os.utime(path)
            return rows
    return None


def _save(path: Path, rows: NDArray[np.int64]) -> None:
    with path.open("wb") as file:
        np.save(file, rows, allow_pickle=False)


def _remove_old(folder: Path) -> None:
    oldest = time.time() - KEEP_SECONDS
    for path in folder.glob("*.npy"):
        if path.stat().st_mtime < oldest:
            path.unlink(missing_ok=True)
