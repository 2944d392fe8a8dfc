"""HistData's one-minute bid candles: ASCII and NinjaTrader (`;`), and MetaTrader (`,`), without a header.

Source: histdata.com/f-a-q/data-files-detailed-specification: Eastern Standard Time without daylight saving, bid
prices, a volume of 0.
"""

import re

from fetcher.importing.files.tables import Head
from fetcher.importing.forms.layout import FileFormat, Layout, Side
from fetcher.importing.forms.metatrader import CLOCK, DATE
from tradeschool.ohlcv.arrays import PRICES

EASTERN_STANDARD = "Etc/GMT+5"
"""UTC-5 all year; the sign of this name is reversed."""
FILE_NAME = re.compile(r"dat_(ascii|mt|nt|xlsx)_")
MOMENT = re.compile(r"\d{8} \d{6}")


def recognise(head: Head) -> Layout | None:
    """Return the layout, None for another form."""
    if head.has_header or head.widths not in (6, 7):
        return None
    first = [(head.sample[name][0] or "").strip() for name in head.columns[:2]]
    is_named = FILE_NAME.match(head.file_name) is not None
    if head.widths == 6 and MOMENT.fullmatch(first[0]):
        time: tuple[str, ...] = ("0",)
        prices = head.columns[1:5]
    elif is_named and DATE.fullmatch(first[0]) and CLOCK.fullmatch(first[1]):
        time, prices = ("0", "1"), head.columns[2:6]
    else:
        return None
    columns = dict(zip(PRICES, prices, strict=True)) | {"volume": head.columns[-1]}
    return Layout(form=FileFormat.HISTDATA, time=time, columns=columns, zone=EASTERN_STANDARD, side=Side.BID)
