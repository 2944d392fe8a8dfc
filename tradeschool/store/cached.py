"""A store that decodes candles once a machine: their columns lie in files that every process maps.

A worker that opens four years of twelve datasets does so in milliseconds, and all workers of a machine share the
memory. A file is named by the digest of what it holds, so it never has to be held against its parquet files again.
"""

import os
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tradeschool.columns import CandleArrays, number_names
from tradeschool.errors import StoreUnwritable
from tradeschool.market import Dataset, Window
from tradeschool.store.files import publish
from tradeschool.store.store import Store

KEEP_SECONDS = 7 * 86_400.0
"""A file that nobody has opened for so long is removed when another one is written."""


class CachedStore(Store):
    """The same candles as those of a store, mapped from files in a folder of this machine."""

    def __init__(self, root: Path, folder: Path, *, closed: Window | None = None) -> None:
        super().__init__(root, closed=closed)
        self.columns = folder
        """Where its columns lie."""

    def arrays(self, dataset: Dataset, window: Window) -> CandleArrays:
        """The candles of a sealed window as read-only NumPy columns; where the folder takes no file, a copy of them.

        Raises:
            DataIncomplete: where the window is not sealed.
            PeriodClosed: where a part of the window is closed.
            ForeignFile: where a file cannot be read, or is not what its seal says.
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
    """All columns bit by bit in one array of shape (n_columns, n_candles), the time first."""
    return np.stack([arrays.time, *(column.view(np.int64) for column in arrays.numbers.values())])


def _columns(rows: NDArray[np.int64], dataset: Dataset) -> CandleArrays:
    numbers = {name: rows[place].view(np.float64) for place, name in enumerate(number_names(dataset), 1)}
    return CandleArrays.of(dataset, rows[0], numbers)


def _mapped(path: Path, dataset: Dataset) -> NDArray[np.int64] | None:
    """What an earlier process wrote; None where it wrote nothing, or something else."""
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
