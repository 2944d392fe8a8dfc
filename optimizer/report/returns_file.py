"""Daily returns of a run's winner and of its benchmark out of sample, as a table that other libraries read."""

import io
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl

from optimizer.level.spec import Part
from optimizer.validation.holdout_log import HOLDOUT
from tradeschool.errors import SettingsError

SUFFIXES = (".csv", ".parquet")
EPOCH = date(1970, 1, 1)
SCHEMA = {"date": pl.Date, "strategy": pl.Float64, "benchmark": pl.Float64, "part": pl.String}


def returns_table(report: Mapping[str, Any], level: str | None) -> pl.DataFrame:
    """Return date, strategy, benchmark and part of each day that selected nothing, in order of the days.

    `level`: the one that the recommendation evaluated, by default. Its holdout period is included once it was opened.

    Raises:
        SettingsError: If the level has no winner, or no day out of sample.
    """
    name = level or report["recommendation"].get("level") or report["levels"][-1]["level"]
    found = next((each for each in report["levels"] if each["level"] == name), None)
    if found is None:
        raise SettingsError(f"no level {name!r} in run {report['run']}")
    equity = found.get("equity")
    rows = [row for row in _rows(equity, equity["part"]) if row[3] != Part.TRAIN] if equity else []
    evidence = report.get("evidence") or {}
    look = evidence.get("holdout")
    if look and evidence.get("level") == name:
        rows += _rows(look, [HOLDOUT] * len(look["days"]))
    if not rows:
        raise SettingsError(f"level {name} of run {report['run']} has no winner, so there are no daily returns")
    frame = pl.DataFrame(rows, schema=SCHEMA, orient="row")
    return frame.unique("date", keep="first", maintain_order=True).sort("date")


def returns_file(table: pl.DataFrame, path: Path) -> bytes:
    """Return the table as the content of a CSV or parquet file, by the suffix of its path.

    Raises:
        SettingsError: If the suffix is another one.
    """
    content = io.BytesIO()
    if path.suffix == ".csv":
        table.write_csv(content)
    elif path.suffix == ".parquet":
        table.write_parquet(content, compression="zstd")
    else:
        raise SettingsError(f"--quantstats {path}: expected a file that ends with {' or '.join(SUFFIXES)}")
    return content.getvalue()


def _rows(columns: Mapping[str, Any], parts: list[str]) -> Iterator[tuple[date, float, float, str]]:
    """Yield each day's returns; each part starts at 1."""
    equity, held = ([1.0, *columns[name]] for name in ("equity", "buy_and_hold"))
    starts = [True, *(one != other for one, other in pairwise(parts))]
    for place, (day, part, is_start) in enumerate(zip(columns["days"], parts, starts, strict=True)):
        before = (1.0, 1.0) if is_start else (equity[place], held[place])
        after = (equity[place + 1], held[place + 1])
        strategy, benchmark = (end / start - 1 if start > 0 else 0.0 for start, end in zip(before, after, strict=True))
        yield EPOCH + timedelta(days=int(day)), strategy, benchmark, str(part)
