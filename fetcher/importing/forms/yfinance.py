"""Files of yfinance: `Datetime` with an offset or `Date`; since version 0.2.51 with two or three header rows.

The further header rows hold the ticker and the name of the index. Prices are of single precision, so they are rounded
to the tick. The column `Adj Close` is ignored.
"""

from fetcher.importing.files.errors import invalid
from fetcher.importing.files.tables import LINE, Head
from fetcher.importing.forms.column_names import named_columns
from fetcher.importing.forms.layout import FileFormat, Layout
from tradeschool.ohlcv.arrays import PRICES

TIMES = ("datetime", "date", "index", "")
SIGNS = frozenset({"adj close", "dividends", "stock splits", "capital gains"})
NEW_ORDER = ("close", "high", "low", "open", "volume")
"""Alphabetical order of the columns since version 0.2.51."""


def recognise(head: Head) -> Layout | None:
    """Return the layout, None for another form.

    Raises:
        InvalidCandles: if the file has candles of several tickers.
    """
    tickers = head.tickers if head.unit == LINE else ()
    is_signed = bool(tickers) or bool(SIGNS & set(head.columns)) or head.columns[1:6] == NEW_ORDER
    if not is_signed or head.columns[0] not in TIMES or not set(PRICES) <= set(head.columns):
        return None
    if len(tickers) > 1:
        raise invalid(
            head.name, f"has the tickers {', '.join(tickers)[:80]}; write one file per ticker (ticker.history)"
        )
    return Layout(
        form=FileFormat.YFINANCE,
        time=(head.columns[0],),
        columns=named_columns(head),
        is_rounded=True,
        names=tickers,
    )
