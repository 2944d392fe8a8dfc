"""Kraken's bulk CSV (OHLCVT): Unix seconds, open, high, low, close, volume, trades; no header, `XBTUSD_5.csv`.

Source: support.kraken.com, "Downloadable historical OHLCVT data". Slots without a trade have no row.
"""

import re

from fetcher.importing.files.tables import Head
from fetcher.importing.forms.layout import FileFormat, Layout
from tradeschool.ohlcv.arrays import PRICES

FILE_NAME = re.compile(r"[a-z0-9.]+_(\d+)\.csv")
LATEST = 1e11
"""Largest Unix time in seconds; a larger one is in milliseconds."""


def recognise(head: Head) -> Layout | None:
    """Return the layout, None for another form."""
    if head.has_header or head.widths not in (7, 8) or head.suffix != ".csv":
        return None
    is_named = FILE_NAME.fullmatch(head.file_name) is not None
    times, trades = head.texts("0"), head.texts(head.columns[-1])
    if not all(text.isdigit() for text in (*times, *trades)) or float(times[0]) > LATEST:
        return None
    if head.widths == 8 and not is_named:
        return None
    columns = dict(zip(PRICES, head.columns[1:5], strict=True)) | {"volume": head.columns[-2]}
    return Layout(form=FileFormat.KRAKEN, time=("0",), columns=columns)
