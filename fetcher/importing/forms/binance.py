"""Binance's public data (data.binance.vision), spot and futures, with and without a header.

Source: github.com/binance/binance-public-data: 12 columns, the open time in milliseconds, for spot in microseconds
from 2025 on. The volume of a coin-margined future is in contracts; its base volume is in the eighth column.
"""

import re

from fetcher.importing.files.tables import Head
from fetcher.importing.forms.layout import FileFormat, Layout
from tradeschool.ohlcv.arrays import PRICES

WIDTHS = (11, 12)
OPEN_TIMES = ("open_time", "open time", "opentime")
CLOSE_TIMES = ("close_time", "close time", "closetime")
COIN_MARGINED = re.compile(r"^[a-z0-9]+usd_(perp|\d{6})-")
EARLIEST = 1e11
"""Smallest open time, in milliseconds: March 1973."""


def recognise(head: Head) -> Layout | None:
    """Return the layout, None for another form."""
    if not (_is_headed(head) if head.has_header else _is_headless(head)):
        return None
    names = head.columns
    volume = names[7] if COIN_MARGINED.match(head.file_name) and len(names) > 7 else names[5]
    columns = dict(zip(PRICES, names[1:5], strict=True)) | {"volume": volume}
    return Layout(form=FileFormat.BINANCE, time=(names[0],), columns=columns)


def _is_headed(head: Head) -> bool:
    return (
        head.columns[0] in OPEN_TIMES
        and head.columns[1:5] == PRICES
        and head.columns[6:7] in {(n,) for n in CLOSE_TIMES}
    )


def _is_headless(head: Head) -> bool:
    if head.widths not in WIDTHS:
        return False
    opens, closes = head.texts("0"), head.texts("6")
    return all(text.isdigit() for text in (*opens, *closes)) and float(closes[0]) > float(opens[0]) > EARLIEST
