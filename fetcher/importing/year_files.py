"""Year files: temporary files that hold the rows of an import by calendar year, so that memory stays bounded."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import polars as pl

from tradeschool.errors import StoreUnwritable


class YearFiles:
    """Rows of one kind by the calendar year (UTC) of `ts`, in files that `close` removes.

    The files lie directly in `folder`; a killed import leaves them to the next sweep of that folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._name = folder, f"import-{uuid4().hex}"
        self._paths: dict[int, list[Path]] = defaultdict(list)

    @property
    def years(self) -> list[int]:
        """Years with rows, ascending."""
        return sorted(self._paths)

    def add(self, rows: pl.DataFrame) -> None:
        """Store rows.

        Raises:
            StoreUnwritable: if they cannot be written.
        """
        years = rows["ts"].dt.year()
        for year in years.unique().sort().to_list():
            self._write(year, rows.filter(years == year))

    def read(self, year: int) -> pl.DataFrame:
        """Return the rows of a year in the order in which they were added."""
        return pl.concat([pl.read_parquet(path, hive_partitioning=False) for path in self._paths[year]])

    def replace(self, year: int, rows: pl.DataFrame) -> None:
        """Replace the rows of a year.

        Raises:
            StoreUnwritable: if they cannot be written.
        """
        self._discard(self._paths.pop(year, []))
        if rows.height:
            self._write(year, rows)

    def close(self) -> None:
        """Remove all files."""
        for year in list(self._paths):
            self._discard(self._paths.pop(year))

    def __iter__(self) -> Iterator[tuple[int, pl.DataFrame]]:
        for year in self.years:
            yield year, self.read(year)

    def _write(self, year: int, rows: pl.DataFrame) -> None:
        path = self._folder / f"{self._name}-{year}-{len(self._paths[year]):06}-{uuid4().hex[:8]}.parquet"
        self._paths[year].append(path)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            rows.write_parquet(path, compression="lz4", statistics=False)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise StoreUnwritable(f"cannot write {path}: {error}; free space or fix permissions") from error

    def _discard(self, paths: list[Path]) -> None:
        for path in paths:
            path.unlink(missing_ok=True)
