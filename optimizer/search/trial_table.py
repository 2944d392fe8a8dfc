"""Trial table of a study: byte-identical for the same seed, data and settings."""

import io
import json
import math
from collections.abc import Sequence
from typing import Literal

import polars as pl
from optuna.trial import FrozenTrial

from optimizer.search.pareto import pareto_front

TableFormat = Literal["csv", "json", "parquet"]
TableCell = int | float | str | None


def trial_rows(trials: Sequence[FrozenTrial]) -> list[dict[str, TableCell]]:
    """Return one row per trial, in number order: number, state, value, then parameters, steps, constraints and metrics.

    Non-finite numbers are None, so that all formats agree. With several objectives there is one value column for each.
    """
    rows = [_row(trial) for trial in sorted(trials, key=lambda trial: trial.number)]
    columns = dict.fromkeys(name for row in rows for name in row)
    ordered = sorted(columns, key=lambda name: (_group(name), name))
    return [{name: row.get(name) for name in ordered} for row in rows]


def export(trials: Sequence[FrozenTrial], form: TableFormat) -> bytes:
    """Return the table as the content of one file."""
    return table_file(table_rows(trials), form)


def table_file(rows: Sequence[dict[str, TableCell]], form: TableFormat) -> bytes:
    """Return rows as the content of one file."""
    if form == "json":
        return (json.dumps(rows, indent=1, allow_nan=False) + "\n").encode()
    frame = pl.DataFrame(rows, infer_schema_length=None)
    content = io.BytesIO()
    if form == "csv":
        frame.write_csv(content)
    else:
        frame.write_parquet(content, compression="zstd", compression_level=3)
    return content.getvalue()


def table_rows(trials: Sequence[FrozenTrial]) -> list[dict[str, TableCell]]:
    """Return the rows; with several objectives each says whether its trial is on the Pareto front."""
    rows = trial_rows(trials)
    if not any(len(trial.values or ()) > 1 for trial in trials):
        return rows
    front = {trial.number for trial in pareto_front(trials)}
    return [{**row, "pareto_front": int(row["number"] in front)} for row in rows]


GROUPS = ("number", "state", "value", "params_", "intermediate_", "constraint_", "metric_", "failure")


def _row(trial: FrozenTrial) -> dict[str, TableCell]:
    row: dict[str, TableCell] = {"number": trial.number, "state": trial.state.name.lower()}
    if len(trial.values or ()) > 1:
        row |= {f"value_{name}": _finite(value) for name, value in named_values(trial).items()}
    else:
        row["value"] = _finite(trial.value)
    row |= {f"params_{name}": value for name, value in trial.params.items()}
    row |= {f"intermediate_{step}": _finite(value) for step, value in trial.intermediate_values.items()}
    row |= {f"constraint_{name}": _finite(value) for name, value in trial.constraints.items()}
    row |= {f"metric_{name}": _finite(value) for name, value in trial.user_attrs.get("metrics", {}).items()}
    if "failure" in trial.user_attrs:
        row["failure"] = trial.user_attrs["failure"]
    return row


def named_values(trial: FrozenTrial) -> dict[str, float]:
    """Return the values of a trial by objective, as its study stores the names; by place if it stores none."""
    values = trial.values or ()
    names = trial.user_attrs.get("objectives") or [str(place) for place in range(len(values))]
    return dict(zip(names, values, strict=True))


def _group(name: str) -> int:
    return next(place for place, group in enumerate(GROUPS) if name.startswith(group))


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
