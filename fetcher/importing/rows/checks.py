"""Checks of rows: the candle contract, the order of times and the grid; each error names the file and the line."""

from datetime import datetime

import polars as pl

from fetcher.importing.files.errors import invalid
from fetcher.importing.files.tables import LINE, Head
from tradeschool.ohlcv.arrays import PRICES


def check_contract(frame: pl.DataFrame, head: Head) -> None:
    """Check prices, volume and spread of rows against the candle contract.

    Raises:
        InvalidCandles: if a rule is broken; names the first line that breaks one.
    """
    rules = _rules(frame)
    broken = frame.select(pl.any_horizontal(*rules.values()).alias("broken"))["broken"]
    if not broken.any():
        return
    row = frame.slice(int(broken.arg_max() or 0), 1)
    rule = next(words for words, is_broken in rules.items() if row.select(is_broken.alias("broken")).item())
    values = ", ".join(f"{name}={row[name].item():g}" for name in _numbers(frame))
    raise invalid(head.name, f"{rule}: {values}", line=int(row[LINE].item()), unit=head.unit)


def _numbers(frame: pl.DataFrame) -> list[str]:
    return [name for name in (*PRICES, "volume", "half_spread") if name in frame.columns]


def _rules(frame: pl.DataFrame) -> dict[str, pl.Expr]:
    """Return each rule with an expression of the rows that break it."""
    open_, high, low, close = (pl.col(name) for name in PRICES)
    others = [name for name in _numbers(frame) if name not in PRICES]
    rules = {f"{name} must be a finite number": ~pl.col(name).is_finite() for name in _numbers(frame)}
    rules |= {f"{name} must be positive": pl.col(name) <= 0 for name in PRICES}
    rules |= {f"{name} must not be negative": pl.col(name) < 0 for name in others}
    return rules | {
        "low must be the lowest price": (low > open_) | (low > close) | (low > high),
        "high must be the highest price": (high < open_) | (high < close),
    }


class OrderCheck:
    """Checks that the times of a file strictly increase, or strictly decrease, from batch to batch."""

    def __init__(self, head: Head) -> None:
        self._head = head
        self._last: tuple[datetime, int] | None = None
        self.direction = 0
        """1 for oldest first, -1 for newest first, 0 before the second row."""

    def check(self, frame: pl.DataFrame) -> None:
        """Check the next rows.

        Raises:
            InvalidCandles: if a time is repeated or out of order; names the line.
        """
        times, lines = frame["ts"], frame[LINE]
        if self._last:
            times = pl.concat([pl.Series("ts", [self._last[0]], dtype=times.dtype), times])
            lines = pl.concat([pl.Series(LINE, [self._last[1]], dtype=lines.dtype), lines])
        self._last = times.item(-1), int(lines.item(-1))
        if len(times) < 2:
            return
        step = times.dt.epoch("us").diff()
        self.direction = self.direction or (1 if (step.item(1) or 0) >= 0 else -1)
        wrong = (step * self.direction <= 0).fill_null(False)
        if wrong.any():
            at = int(wrong.arg_max() or 0)
            before, time = times.item(at - 1), times.item(at)
            raise invalid(
                self._head.name,
                _order_words(before, time, int(lines.item(at - 1)), self._head.unit, self.direction),
                line=int(lines.item(at)),
                unit=self._head.unit,
            )


def _order_words(before: datetime, time: datetime, line: int, unit: str, direction: int) -> str:
    if before == time:
        return f"the time {time:%Y-%m-%d %H:%M:%S} is that of {unit} {line} again: times must be strictly increasing"
    order = "strictly increasing, or strictly decreasing"
    relation = "before" if direction > 0 else "after"
    return f"the time {time:%Y-%m-%d %H:%M:%S} is {relation} that of {unit} {line}: times must be {order}"
