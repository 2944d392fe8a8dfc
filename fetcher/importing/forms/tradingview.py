"""TradingView's chart export: `COINBASE_BTCUSD, 60.csv` with time, open, high, low, close, Volume and indicators.

Times are Unix seconds or ISO 8601. The volume is there only if the chart shows it.
"""

import re

from fetcher.importing.files.tables import Head
from fetcher.importing.forms.column_names import named_columns
from fetcher.importing.forms.layout import FileFormat, Layout
from tradeschool.ohlcv.arrays import PRICES

FILE_NAME = re.compile(r"[a-z0-9]+_[^,]+, ?\w+.*\.csv")
INDICATORS = frozenset({"volume ma", "plot", "histogram", "basis", "upper", "lower", "vwap"})


def recognise(head: Head) -> Layout | None:
    """Return the layout, None for another form."""
    is_signed = FILE_NAME.fullmatch(head.file_name) is not None or bool(INDICATORS & set(head.columns))
    if not is_signed or head.columns[:5] != ("time", *PRICES):
        return None
    return Layout(form=FileFormat.TRADINGVIEW, time=("time",), columns=named_columns(head))
