"""Small candle files in the forms of other programs, written by the tests themselves."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

START = datetime(2024, 1, 2, tzinfo=UTC)
"""Open of the first candle: a Tuesday, so that FX is open."""


def times(count: int, step: int = 300, start: datetime = START) -> list[datetime]:
    """Opens of candles that are `step` seconds apart."""
    return [start + timedelta(seconds=at * step) for at in range(count)]


def row(at: int, level: float = 100.0, digits: int = 2) -> list[str]:
    """Open, high, low, close and volume of the candle number `at`: each differs from the next candle's."""
    tick = 10**-digits
    prices = (level + at * tick, level + (at + 9) * tick, level + (at - 7) * tick, level + (at + 1) * tick)
    return [*(f"{price:.{digits}f}" for price in prices), str(at + 1)]


def table(
    moments: Iterable[datetime],
    time: Callable[[datetime], str],
    *,
    separator: str = ",",
    level: float = 100.0,
    digits: int = 2,
    more: Callable[[int], list[str]] = lambda at: [],
) -> list[str]:
    """Lines of a file: the time as `time` writes it, prices and volume, and any further columns."""
    return [separator.join([time(moment), *row(at, level, digits), *more(at)]) for at, moment in enumerate(moments)]


def strftime(form: str) -> Callable[[datetime], str]:
    """Write times in a format."""
    return lambda moment: moment.strftime(form)


def unix(scale: int = 1) -> Callable[[datetime], str]:
    """Write Unix times; a scale of 1000 makes milliseconds."""
    return lambda moment: str(int(moment.timestamp()) * scale)


def written(path: Path, lines: Iterable[str], encoding: str = "utf-8") -> Path:
    """Write lines to a file and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(("\n".join(lines) + "\n").encode(encoding))
    return path
