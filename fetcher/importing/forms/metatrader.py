"""Exports of MetaTrader 4 and 5: bid candles in the broker's time, with the spread in points (MetaTrader 5).

MetaTrader 5 writes tabs and `<DATE> <TIME> <OPEN> <HIGH> <LOW> <CLOSE> <TICKVOL> <VOL> <SPREAD>`; daily and longer
candles have no `<TIME>`. Its Python package has `tick_volume`, `spread`, `real_volume` and Unix times of the broker's
clock, which `--time-zone` converts. MetaTrader 4 writes `2024.01.02,02:00,open,high,low,close,volume` without a header.
"""

import re

from fetcher.importing.files.tables import Head
from fetcher.importing.forms.layout import FileFormat, Layout, Side
from tradeschool.ohlcv.arrays import PRICES

DATE = re.compile(r"\d{4}[.-]\d{2}[.-]\d{2}")
CLOCK = re.compile(r"\d{1,2}:\d{2}(:\d{2})?")
TICK_VOLUMES = ("tickvol", "tick_volume")
REAL_VOLUMES = ("vol", "real_volume")


def recognise(head: Head) -> Layout | None:
    """Return the layout, None for another form."""
    return _headed(head) if head.has_header else _headless(head)


def _headed(head: Head) -> Layout | None:
    ticks = next((name for name in TICK_VOLUMES if name in head.columns), None)
    if ticks is None or not set(PRICES) <= set(head.columns):
        return None
    time = tuple(name for name in ("date", "time") if name in head.columns)
    columns = {name: name for name in PRICES} | {"volume": _volume(head, ticks)}
    if "spread" in head.columns:
        columns["spread"] = "spread"
    return (
        Layout(form=FileFormat.METATRADER, time=time, columns=columns, side=Side.BID, has_local_unix_times=True)
        if time
        else None
    )


def _volume(head: Head, ticks: str) -> str:
    """Return the column of the traded volume if the broker has it, else that of the number of ticks."""
    real = next((name for name in REAL_VOLUMES if name in head.columns), None)
    if real and all(text.strip("0.") for text in head.texts(real)):
        return real
    return ticks


def _headless(head: Head) -> Layout | None:
    if head.widths not in (6, 7, 9):
        return None
    first = [head.sample[name][0] or "" for name in head.columns[:2]]
    if not (DATE.fullmatch(first[0].strip()) and CLOCK.fullmatch(first[1].strip())):
        return None
    columns = dict(zip(PRICES, head.columns[2:6], strict=True))
    if head.widths > 6:
        columns["volume"] = "6"
    if head.widths == 9:
        columns["spread"] = "8"
    return Layout(form=FileFormat.METATRADER, time=("0", "1"), columns=columns, side=Side.BID)
