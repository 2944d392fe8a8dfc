"""Candle columns: reads one parquet file as NumPy arrays with pyarrow, on one thread."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tradeschool.errors import ForeignFile, first_line
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.windows import Window
from tradeschool.ohlcv.arrays import number_names

Columns = dict[str, NDArray[np.float64] | NDArray[np.int64]]
"""Columns by name, `ts` in Unix seconds."""


def read_columns(path: Path, dataset: Dataset, window: Window) -> Columns:
    """Return the columns of the candles of one file that lie in a window.

    Raises:
        ForeignFile: if the file cannot be read as candles.
    """
    # Imported here because the fetcher does not read columns; the import costs it a seventh of memory and start time.
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # ParquetFile, because read_table also imports pyarrow.dataset and, if installed, pandas.
        with pq.ParquetFile(path) as file:
            names = ["ts", *number_names(dataset)]
            # `read` ignores missing columns, `select` does not.
            table = file.read(columns=names, use_threads=False).select(names)
    except (OSError, pa.ArrowException, KeyError) as error:
        raise ForeignFile(f"{path}: cannot be read as candles: {first_line(error)}") from error
    seconds = table["ts"].cast(pa.int64()).to_numpy() // 1_000_000
    first, last = np.searchsorted(seconds, [window.start_seconds, window.end_seconds])
    columns = {name: table[name].to_numpy()[first:last] for name in number_names(dataset)}
    return {"ts": seconds[first:last], **columns}
