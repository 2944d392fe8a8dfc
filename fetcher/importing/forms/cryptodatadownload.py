"""CryptoDataDownload's CSV: a URL in the first line, newest candle first, and one volume column per currency.

Unix times change from seconds to milliseconds within a file, and the two volume columns may be swapped in some rows.
"""

from fetcher.importing.files.tables import Head
from fetcher.importing.forms.column_names import named_columns, time_columns, volumes_by_currency
from fetcher.importing.forms.layout import FileFormat, Layout


def recognise(head: Head) -> Layout | None:
    """Return the layout, None for another form."""
    volumes = volumes_by_currency(head)
    is_signed = any("cryptodatadownload" in line.lower() for line in head.preamble)
    if not head.has_header or not ((volumes and "volume" not in head.columns) or is_signed):
        return None
    return Layout(
        form=FileFormat.CRYPTODATADOWNLOAD,
        time=time_columns(head),
        columns=named_columns(head),
        volumes=volumes,
        ends_unfinished=True,
    )
