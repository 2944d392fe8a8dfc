"""Layout of a candle file: the meaning of its columns, its time zone and its side of the spread."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from fetcher.importing.files.errors import invalid
from fetcher.importing.files.tables import Head
from tradeschool.ohlcv.arrays import PRICES

BID_ASK = tuple(f"{side}_{name}" for side in ("bid", "ask") for name in PRICES)
OURS = (*PRICES, "volume", "spread", "half_spread", "symbol", *BID_ASK)
"""What a column may mean besides the time."""
NONE = "none"
"""As a column: the file has none; the volume is then 0."""


class FileFormat(StrEnum):
    """Form of a candle file."""

    AUTO = "auto"
    """Recognise the form by the file name, the columns and the first rows."""
    BINANCE = "binance"
    """Binance's public data, spot and futures."""
    CCXT = "ccxt"
    """JSON of ccxt's `fetch_ohlcv`."""
    CRYPTODATADOWNLOAD = "cryptodatadownload"
    """CSV with a URL in the first line, newest candle first, and one volume column per currency."""
    DUKASCOPY = "dukascopy"
    """Dukascopy's export: one file for bid, one for ask."""
    FREQTRADE = "freqtrade"
    """Feather, parquet or JSON with the columns date, open, high, low, close, volume."""
    HISTDATA = "histdata"
    """HistData's bid candles in Eastern Standard Time."""
    KRAKEN = "kraken"
    """Kraken's bulk CSV."""
    METATRADER = "metatrader"
    """Exports of MetaTrader 4 and 5: bid candles in the broker's time."""
    PLAIN = "plain"
    """Columns open, high, low, close, volume and a time column, in any order and case."""
    TRADINGVIEW = "tradingview"
    """TradingView's chart export."""
    YFINANCE = "yfinance"
    """CSV or parquet of yfinance, with one or several header rows."""


class Side(StrEnum):
    """Side of the spread on which the prices of a file are."""

    MID = "mid"
    BID = "bid"
    ASK = "ask"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Meaning of a file's columns."""

    form: FileFormat
    time: tuple[str, ...]
    """The column of the candles' opens; or two, date and time of day."""
    columns: Mapping[str, str]
    """Column of the file by what it means (`OURS`)."""
    volumes: tuple[str, ...] = ()
    """Volume columns by currency, such as `volume btc`; they replace `volume`."""
    zone: str | None = None
    """Time zone of times without one, if the form says it."""
    side: Side = Side.MID
    day_first: bool | None = None
    """Whether dates such as 01/02/2024 begin with the day, if the form says it."""
    has_local_unix_times: bool = False
    """Whether Unix times may count local seconds, because the program writes its broker's clock so."""
    is_rounded: bool = False
    """Whether prices are to be rounded to the tick, because the vendor's are of single precision."""
    ends_unfinished: bool = False
    """Whether a newest candle without volume is unfinished."""
    names: tuple[str, ...] = field(default=())
    """Texts that may name the instrument and the timeframe: the file name, tickers."""

    @property
    def is_both(self) -> bool:
        """Whether the file has bid and ask prices."""
        return "bid_open" in self.columns

    @property
    def wanted(self) -> list[str]:
        """Columns to read."""
        return list(dict.fromkeys([*self.time, *self.columns.values(), *self.volumes]))

    def with_columns(self, given: Mapping[str, tuple[str, ...]]) -> "Layout":
        """Return the layout after replacing the meaning of columns."""
        columns = dict(self.columns)
        for ours, theirs in given.items():
            columns.pop(ours, None)
            if ours != "ts" and theirs != (NONE,):
                columns[ours] = theirs[0]
        volumes = () if "volume" in given else self.volumes
        return replace(self, time=given.get("ts", self.time), columns=columns, volumes=volumes)


def require(head: Head, names: Iterable[str]) -> None:
    """Check that a file has columns.

    Raises:
        InvalidCandles: if one is missing; names all that are, and those that were found.
    """
    if missing := [name for name in names if name not in head.columns]:
        raise invalid(head.name, f"column {', '.join(missing)} is missing; found {', '.join(head.columns)[:200]}")
