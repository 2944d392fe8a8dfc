"""Plain tables: columns found by their names, or, without a header, by the order of the prices in each row."""

from collections.abc import Sequence

import polars as pl

from fetcher.importing.files.errors import invalid
from fetcher.importing.files.tables import Head
from fetcher.importing.forms.column_names import named_columns, time_columns
from fetcher.importing.forms.dukascopy import side_in
from fetcher.importing.forms.layout import FileFormat, Layout, Side, require
from fetcher.importing.forms.metatrader import CLOCK
from tradeschool.ohlcv.arrays import PRICES

NAMED = (*PRICES, "volume")
ORDERS = (PRICES, ("low", "high", "open", "close"))
"""Orders of prices in rows without names: the usual one and Coinbase's."""


def recognise(head: Head) -> Layout | None:
    """Return the layout.

    Raises:
        InvalidCandles: if a column is missing, or a file without a header has another order.
    """
    return _headed(head) if head.has_header else _headless(head)


def _headed(head: Head) -> Layout:
    columns = named_columns(head)
    is_both = "bid_open" in columns
    missing = [name for name in (("volume",) if is_both else NAMED) if name not in columns]
    if missing and missing != ["volume"]:
        require(head, missing)
    side = Side.MID if is_both else side_in(head.file_name) or Side.MID
    return Layout(form=FileFormat.PLAIN, time=time_columns(head), columns=columns, side=side)


def _headless(head: Head) -> Layout:
    names = head.columns
    has_clock = len(names) > 5 and all(CLOCK.fullmatch(text) for text in head.texts("1"))
    time, rest = (names[:2], names[2:]) if has_clock else (names[:1], names[1:])
    if len(rest) < len(PRICES):
        raise invalid(head.name, f"has {len(names)} columns and no header; expected a time and four prices")
    fitting = [order for order in ORDERS if _fits(head, rest, order)]
    if len(fitting) != 1 or len(rest) > 7:
        raise invalid(
            head.name,
            f"has no header, and the meaning of its {len(names)} columns is not certain; "
            "give it, such as --columns ts=0,open=1,high=2,low=3,close=4,volume=5",
        )
    columns = dict(zip(fitting[0], rest, strict=False))
    if len(rest) > len(PRICES):
        columns["volume"] = rest[4]
    side = side_in(head.file_name) or Side.MID
    return Layout(form=FileFormat.PLAIN, time=time, columns=columns, side=side)


def _fits(head: Head, rest: Sequence[str], order: Sequence[str]) -> bool:
    """Whether the highest and lowest prices of the first rows are where an order has them, and differ once."""
    numbers = head.sample.select(
        pl.col(name)
        .cast(pl.String)
        .str.strip_chars()
        .str.replace(",", ".", literal=True)
        .cast(pl.Float64, strict=False)
        for name in rest[: len(PRICES)]
    )
    named = dict(zip(order, numbers.get_columns(), strict=False))
    extremes = numbers.select(pl.max_horizontal(pl.all()).alias("max"), pl.min_horizontal(pl.all()).alias("min"))
    is_right = ((named["high"] == extremes["max"]) & (named["low"] == extremes["min"])).fill_null(False)
    return bool(is_right.all()) and bool((extremes["max"] > extremes["min"]).any())
