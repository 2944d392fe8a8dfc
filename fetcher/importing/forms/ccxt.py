"""JSON of ccxt: rows of milliseconds, open, high, low, close and volume, alone or inside of objects by pair."""

from fetcher.importing.files.binary_tables import JSON_COLUMNS
from fetcher.importing.files.tables import Head
from fetcher.importing.forms.layout import FileFormat, Layout


def recognise(head: Head) -> Layout | None:
    """Return the layout, None for another form."""
    if head.suffix not in {".json", ".jsonl"} or head.columns != JSON_COLUMNS:
        return None
    columns = {name: name for name in JSON_COLUMNS[1:]}
    return Layout(form=FileFormat.CCXT, time=("date",), columns=columns, names=head.tickers)
