"""Names that vendors give to columns, and the mapping that a user gives."""

import re
from collections.abc import Mapping

from fetcher.importing.files.errors import invalid
from fetcher.importing.files.tables import Head, plain_name
from fetcher.importing.forms.layout import NONE, OURS
from tradeschool.errors import SettingsError
from tradeschool.ohlcv.arrays import PRICES

TIMES = (
    *("ts", "unix", "unix timestamp", "unix_timestamp", "timestamp", "time", "datetime", "date", "open_time"),
    *("open time", "opentime", "date/time", "date time", "date_time", "gmt time", "utc time", "utc", "local time"),
    *("timestamp_ms", "time_period_start", "period_start", "start_time", "start", "begins_at", "begin", "candle_time"),
    *("candle_begin_time", "startdate", "open_timestamp", "dt", "t", "__index_level_0__", "index", "unnamed: 0", ""),
)
"""Names of columns with the candle's open; the first one that exists is used."""
CLOCKS = ("time", "hour", "clock")
"""Names of a second column with the time of day, beside a column `date`."""
SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "open": ("open", "o", "open price", "open_price", "price_open", "mid_o", "mid_open", "first", "opening", "1. open"),
    "high": ("high", "h", "high price", "high_price", "price_high", "mid_h", "mid_high", "max", "2. high"),
    "low": ("low", "l", "low price", "low_price", "price_low", "mid_l", "mid_low", "min", "3. low"),
    "close": (
        *("close", "c", "close price", "close_price", "price_close", "mid_c", "mid_close", "last", "closing"),
        *("close/last", "4. close"),
    ),
    "volume": (
        *("volume", "vol", "v", "base_volume", "base volume", "volume_base", "basevolume", "volume_traded"),
        *("tickvol", "tick_volume", "tick volume", "tickvolume", "5. volume"),
    ),
    "half_spread": ("half_spread",),
    "symbol": ("symbol", "ticker", "pair", "instrument", "tic"),
}
SHORT = {"open": "o", "high": "h", "low": "l", "close": "c"}
BASE_VOLUME = re.compile(r"vol(?:ume)?[ _]?\(?([a-z0-9]{2,6})\)?")
"""A volume column with its currency, such as `volume btc` or `volume_(btc)`."""
NOT_CURRENCIES = frozenset({"ma", "sma", "ema", "quote", "base", "traded", "usd_sum"})


def time_columns(head: Head) -> tuple[str, ...]:
    """Return the column of the candles' opens, or date and time of day.

    Raises:
        InvalidCandles: if there is none.
    """
    clock = next((name for name in CLOCKS if name in head.columns), None)
    if "date" in head.columns and clock and not {"ts", "unix", "timestamp"} & set(head.columns):
        if any(":" in text for text in head.texts("date")):
            return ("date",)
        return ("date", clock)
    name = next((name for name in TIMES if name in head.columns), None)
    name = name if name is not None else next((each for each in head.columns if each.startswith("time (")), None)
    if name is None:
        raise invalid(
            head.name,
            f"no times: expected rows and a column {', '.join(TIMES[:9])}; found {', '.join(head.columns)[:200]}; "
            "name it, such as --columns ts=0",
        )
    return (name,)


def named_columns(head: Head) -> dict[str, str]:
    """Return the columns of a file by what their names mean."""
    found = {}
    for ours, names in SYNONYMS.items():
        if (name := next((name for name in names if name in head.columns), None)) is not None:
            found[ours] = name
    return found | _bid_ask(head)


def volumes_by_currency(head: Head) -> tuple[str, ...]:
    """Return the volume columns that name a currency."""
    matches = ((name, BASE_VOLUME.fullmatch(name)) for name in head.columns)
    return tuple(name for name, match in matches if match and match[1] not in NOT_CURRENCIES and not match[1].isdigit())


def currency_of(volume: str) -> str:
    """Return the currency in the name of a volume column, in upper case."""
    match = BASE_VOLUME.fullmatch(volume)
    return match[1].upper() if match else ""


def _bid_ask(head: Head) -> dict[str, str]:
    found = {}
    for side in ("bid", "ask"):
        for ours in PRICES:
            forms = [
                f"{a}{between}{b}"
                for between in ("_", " ", "", ".")
                for a, b in ((side, ours), (ours, side), (side, SHORT[ours]))
            ]
            if (name := next((name for name in forms if name in head.columns), None)) is not None:
                found[f"{side}_{ours}"] = name
    return found if len(found) == 2 * len(PRICES) else {}


def parse_columns(text: str, head: Head) -> dict[str, tuple[str, ...]]:
    """Parse a mapping such as `ts=0,open=1,high=2` or `ts=Date+Time,open=Open`: numbers count from 0.

    Raises:
        SettingsError: if it is malformed or names a column that the file has not.
    """
    found: dict[str, tuple[str, ...]] = {}
    for part in text.split(","):
        ours, equals, theirs = part.partition("=")
        ours = {"time": "ts", "date": "ts"}.get(ours.strip().lower(), ours.strip().lower())
        if not equals or ours not in ("ts", *OURS):
            raise SettingsError(f"--columns {text}: {part!r}: expected NAME=COLUMN with NAME of ts, {', '.join(OURS)}")
        found[ours] = tuple(_column(each, head, text) for each in theirs.split("+"))
        if len(found[ours]) > (2 if ours == "ts" else 1):
            raise SettingsError(f"--columns {text}: {part!r}: only ts may have two columns, such as ts=0+1")
    return found


def _column(text: str, head: Head, given: str) -> str:
    name = plain_name(text)
    if name == NONE or name in head.columns:
        return name
    if name.isdigit() and int(name) < len(head.columns):
        return head.columns[int(name)]
    raise SettingsError(
        f"--columns {given}: {head.name} has no column {text!r}; found {', '.join(head.columns)[:200]}, or 0 to "
        f"{len(head.columns) - 1}"
    )
