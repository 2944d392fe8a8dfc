"""Recognition: finds the form of a file, or applies the form and the columns that the user gives."""

from collections.abc import Callable
from dataclasses import replace

from fetcher.importing.files.errors import invalid
from fetcher.importing.files.tables import Head
from fetcher.importing.forms import (
    binance,
    ccxt,
    cryptodatadownload,
    dukascopy,
    freqtrade,
    histdata,
    kraken,
    metatrader,
    plain,
    tradingview,
    yfinance,
)
from fetcher.importing.forms.column_names import parse_columns
from fetcher.importing.forms.layout import FileFormat, Layout, Side
from tradeschool.ohlcv.arrays import PRICES

FORMS: dict[FileFormat, Callable[[Head], Layout | None]] = {
    FileFormat.BINANCE: binance.recognise,
    FileFormat.HISTDATA: histdata.recognise,
    FileFormat.METATRADER: metatrader.recognise,
    FileFormat.DUKASCOPY: dukascopy.recognise,
    FileFormat.KRAKEN: kraken.recognise,
    FileFormat.YFINANCE: yfinance.recognise,
    FileFormat.CRYPTODATADOWNLOAD: cryptodatadownload.recognise,
    FileFormat.FREQTRADE: freqtrade.recognise,
    FileFormat.CCXT: ccxt.recognise,
    FileFormat.TRADINGVIEW: tradingview.recognise,
    FileFormat.PLAIN: plain.recognise,
}
"""Forms in the order in which they are tried: the most particular first."""
COMPLETE = frozenset({"ts", *PRICES})


def layout_of(head: Head, form: FileFormat, *, columns: str | None = None, side: Side | None = None) -> Layout:
    """Return the layout of a file; the options of the user count more than what is recognised.

    Raises:
        InvalidCandles: if the file is not of the form, or of none.
        SettingsError: if `columns` is malformed or names a column that the file has not.
    """
    given = parse_columns(columns, head) if columns else {}
    if given.keys() >= COMPLETE:
        base = Layout(form=FileFormat.PLAIN, time=given["ts"], columns={})
    else:
        base = _recognised(head, form)
    layout = base.with_columns(given)
    if side:
        layout = replace(layout, side=side)
    if not layout.volumes and "volume" not in layout.columns and "volume" not in given:
        raise invalid(
            head.name,
            f"column volume is missing; found {', '.join(head.columns)[:200]}; "
            "name it with --columns volume=COLUMN, or --columns volume=none for a volume of 0",
        )
    return layout


def _recognised(head: Head, form: FileFormat) -> Layout:
    if form is FileFormat.FREQTRADE:
        return freqtrade.layout_of(head)
    if form is not FileFormat.AUTO:
        if layout := FORMS[form](head):
            return layout
        raise invalid(head.name, f"is not of the form {form}; found the columns {', '.join(head.columns)[:200]}")
    return next(layout for recognise in FORMS.values() if (layout := recognise(head)))
