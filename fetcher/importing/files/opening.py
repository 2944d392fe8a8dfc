"""Opens a candle file as a table by its file type."""

from fetcher.importing.files.binary_tables import ArrowTable, JsonTable
from fetcher.importing.files.csv_table import CsvTable
from fetcher.importing.files.sources import CandleFile
from fetcher.importing.files.tables import Table


def open_table(file: CandleFile) -> Table:
    """Open a file and read its first rows.

    Raises:
        InvalidCandles: if it is no table.
    """
    if file.suffix in {".parquet", ".feather", ".arrow"}:
        return ArrowTable(file)
    return JsonTable(file) if file.suffix in {".json", ".jsonl"} else CsvTable(file)
