"""Freqtrade's candle files: feather, parquet or JSON named `BTC_USDT-5m.feather`."""

import re

from fetcher.importing.files.tables import Head
from fetcher.importing.forms.layout import FileFormat, Layout, require
from tradeschool.ohlcv.arrays import PRICES

COLUMNS = ("date", *PRICES, "volume")
FILE_NAME = re.compile(r"[a-z0-9.]+_[a-z0-9.]+(_[a-z0-9.]+)?-\d+[mhdwy](o)?(-\w+)?\.\w+")


def recognise(head: Head) -> Layout | None:
    """Return the layout, None for another form."""
    is_named = FILE_NAME.fullmatch(head.file_name) is not None
    return layout_of(head) if is_named and set(COLUMNS) <= set(head.columns) else None


def layout_of(head: Head) -> Layout:
    """Return the layout of a file that is known to be of this form.

    Raises:
        InvalidCandles: if a column is missing.
    """
    require(head, COLUMNS)
    columns = {name: name for name in COLUMNS[1:]}
    return Layout(form=FileFormat.FREQTRADE, time=("date",), columns=columns)
