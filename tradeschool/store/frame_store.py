"""Dataset store with polars: writes candles and reads them as frames. Do not use in a process that forks."""

from pathlib import Path

import polars as pl

from tradeschool.atomic_files import publish, sha256_of
from tradeschool.errors import ForeignFile, first_line
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.windows import Window
from tradeschool.ohlcv.frame import Candles
from tradeschool.store.seal import PartFile
from tradeschool.store.store import Store

COMPRESSION_LEVEL = 3  # zstd


class FrameStore(Store):
    """A store that writes candles and reads them as polars frames."""

    def write_year(self, candles: Candles, window: Window, year: int) -> PartFile:
        """Write the candles of one calendar year of a range; return the file's entry for the seal.

        Raises:
            StoreUnwritable: if the file cannot be written; no partial file is left.
            ServiceUnreachable: if it cannot be written to the bucket; the next run writes it again.
        """
        folder = self.folder(candles.dataset)
        path = folder / f"year={year}" / f"{window.name}.parquet"
        publish(self.root, path, lambda temporary: _write_parquet(candles.frame, temporary))
        file = PartFile(
            path=path.relative_to(folder).as_posix(),
            rows=len(candles),
            bytes=path.stat().st_size,
            sha256=sha256_of(path),
        )
        self._files.keep(path, file)
        return file

    def candles(self, dataset: Dataset, window: Window) -> Candles:
        """Return the candles of a sealed window; do not call it in a process that forks.

        Raises:
            DataIncomplete: if the window is not sealed.
            ForeignFile: if a file does not match its seal.
        """
        frames = []
        self.check_files(dataset, window)
        for file, part in self.parts(dataset, window):
            with self.opened(dataset, file) as path:
                frames.append(read_frame(path).filter(pl.col("ts").is_between(part.start, part.end, closed="left")))
        return Candles.parse(pl.concat(frames), dataset, window) if frames else Candles.empty(dataset)


def read_frame(path: Path) -> pl.DataFrame:
    """Read a parquet file of the data folder.

    Raises:
        ForeignFile: if the file is not parquet, truncated or unreadable.
    """
    try:
        return pl.read_parquet(path, hive_partitioning=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise ForeignFile(f"{path}: cannot be read as parquet: {first_line(error)}") from error


def _write_parquet(frame: pl.DataFrame, path: Path) -> None:
    try:
        frame.rechunk().write_parquet(
            path, compression="zstd", compression_level=COMPRESSION_LEVEL, statistics=True, row_group_size=1 << 30
        )
    except pl.exceptions.PolarsError as error:  # such as ComputeError on a full disk
        raise OSError(first_line(error)) from error
