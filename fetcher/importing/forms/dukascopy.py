"""Dukascopy's exports: bid and ask candles in two files, day first, in GMT, another named zone or local time.

The header names the zone: `Gmt time`, `Local time` (each time then has its offset), or `Time (EET)` from JForex.
"""

import re

from fetcher.importing.files.tables import Head
from fetcher.importing.forms.layout import FileFormat, Layout, Side
from tradeschool.ohlcv.arrays import PRICES

ZONED = re.compile(r"time \((\w+)\)")
ZONES = {"gmt time": "UTC", "utc time": "UTC", "local time": None}
NAMED_ZONES = {"gmt": "UTC", "utc": "UTC", "eet": "Europe/Kyiv", "est": "America/New_York"}
"""Time zones of JForex; both follow daylight saving time."""
SIDE = re.compile(r"(?:^|[^a-z])(bid|ask)(?:[^a-z]|$)")


def recognise(head: Head) -> Layout | None:
    """Return the layout, None for another form."""
    first = head.columns[0]
    zoned = ZONED.fullmatch(first)
    if (first not in ZONES and not zoned) or not set(PRICES) <= set(head.columns):
        return None
    zone = NAMED_ZONES.get(zoned[1]) if zoned else ZONES[first]
    columns = {name: name for name in PRICES}
    if volume := next((name for name in head.columns if name.startswith("volume")), None):
        columns["volume"] = volume
    return Layout(
        form=FileFormat.DUKASCOPY,
        time=(first,),
        columns=columns,
        zone=zone,
        side=side_in(head.file_name) or Side.MID,
        day_first=True,
    )


def side_in(file_name: str) -> Side | None:
    """Return the side of the spread that a file name says, None if it says none or both."""
    sides = set(SIDE.findall(file_name))
    return Side(sides.pop()) if len(sides) == 1 else None
