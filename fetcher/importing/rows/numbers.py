"""Numbers of text tables: finds the decimal mark by evidence over the file and converts columns."""

from collections.abc import Sequence

import polars as pl

from fetcher.importing.files.errors import invalid
from fetcher.importing.files.tables import LINE, Head, Table
from tradeschool.errors import InvalidCandles

POINT, COMMA = ".", ","
GROUPED = r"^[+-]?\d{1,3}(?:[,.' \u{00a0}\u{202f}]\d{3})+(?:[.,]\d+)?$"
"""A number with thousands separators, or with three decimals."""
DECIMAL_COMMA = r"^[+-]?(?:0|\d+),(?:\d{1,2}|\d{4,})$|^[+-]?0\d*,\d+$|^[+-]?\d{4,},\d+$"
"""A number whose comma cannot separate thousands."""
BOTH_MARKS = r"\d,\d{3}.*\.|\d\.\d{3}.*,"


def decimal_mark(table: Table, prices: Sequence[str], given: str | None) -> str:
    """Return the decimal mark of a table's prices: the given one, or the one that all prices of the file fit.

    Raises:
        InvalidCandles: if a price has a thousands separator, or if all prices have exactly three digits after a comma.
    """
    if given:
        return given
    texts = [name for name in prices if table.head.sample.schema[name] == pl.String]
    if not any(COMMA in text for name in texts for text in table.head.texts(name)):
        return POINT
    first = None
    for batch in table.batches(texts):
        for name in texts:
            values = batch.select(LINE, pl.col(name).str.strip_chars().alias("text"))
            if rows := values.filter(pl.col("text").str.contains(BOTH_MARKS)).rows():
                raise _grouped(table.head, rows[0][0], name, rows[0][1])
            if values["text"].str.contains(DECIMAL_COMMA).any():
                return COMMA
            first = first or next(iter(values.filter(pl.col("text").str.contains(COMMA, literal=True)).rows()), None)
    line, text = first or (1, "")
    raise invalid(
        table.head.name,
        f"{text!r} may have a decimal comma or a thousands separator: give --decimal-mark ',' or --decimal-mark .",
        line=line,
        unit=table.head.unit,
    )


def with_numbers(frame: pl.DataFrame, names: Sequence[str], mark: str, head: Head) -> pl.DataFrame:
    """Convert columns to Float64.

    Raises:
        InvalidCandles: if a value is missing or no number; names the first line.
    """
    converted = frame.with_columns(_number(frame.schema[name], name, mark) for name in names)
    bad = converted.select(pl.any_horizontal(pl.col(name).is_null() for name in names)).to_series()
    if bad.any():
        at = int(bad.arg_max() or 0)
        raise _not_a_number(frame, converted, names, at, head)
    return converted


def _number(dtype: pl.DataType, name: str, mark: str) -> pl.Expr:
    column = pl.col(name)
    if dtype == pl.String:
        column = column.str.strip_chars()
        if mark == COMMA:  # a point is then a separator of thousands, which no number may have
            column = column.str.replace(".", "x", literal=True).str.replace(",", ".", literal=True)
    elif dtype == pl.Boolean or dtype.is_temporal():
        return pl.lit(None, dtype=pl.Float64).alias(name)
    return column.cast(pl.Float64, strict=False).alias(name)


def _not_a_number(
    frame: pl.DataFrame, converted: pl.DataFrame, names: Sequence[str], at: int, head: Head
) -> InvalidCandles:
    line = frame[LINE].item(at)
    name = next(name for name in names if converted[name].item(at) is None)
    value = frame[name].item(at)
    if value is None or not str(value).strip():
        return invalid(head.name, f"{name} is missing", line=line, unit=head.unit)
    if pl.Series([str(value).strip()]).str.contains(GROUPED).item():
        return _grouped(head, line, name, value)
    return invalid(head.name, f"{name} {str(value)[:40]!r}: expected a number", line=line, unit=head.unit)


def _grouped(head: Head, line: int, name: str, value: object) -> InvalidCandles:
    return invalid(
        head.name,
        f"{name} {str(value)[:40]!r} has a thousands separator; write numbers without one, "
        "or give the decimal mark, such as --decimal-mark ','",
        line=line,
        unit=head.unit,
    )
