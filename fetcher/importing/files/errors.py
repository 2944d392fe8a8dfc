"""Errors of a candle file: one line that names the file and the line or row."""

from tradeschool.errors import InvalidCandles


def invalid(name: str, message: str, *, line: int | None = None, unit: str = "line") -> InvalidCandles:
    """Return the error of a file; `unit` is `line` for texts and `row` for other files."""
    return InvalidCandles(f"{name}: {message}" if line is None else f"{name}, {unit} {line}: {message}")
