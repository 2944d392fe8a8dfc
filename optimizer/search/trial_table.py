"""Trial table of a study: byte-identical for the same seed, data and settings."""

import io
import json
import math
from collections.abc import Sequence
from typing import Literal

import polars as pl
from optuna.trial import FrozenTrial

TableFormat = Literal["csv", "json", "parquet"]
TableCell = int | float | str | None


def trial_rows(trials: Sequence[FrozenTrial]) -> list[dict[str, TableCell]]:
    """Return one row per trial, in number order: number, state, value, then parameters, steps, constraints and metrics.

    Non-finite numbers are None, so that all formats agree.
    """
    rows = [_row(trial) for trial in sorted(trials, key=lambda trial: trial.number)]
    columns = dict.fromkeys(name for row in rows for name in row)
    ordered = sorted(columns, key=lambda name: (_group(name), name))
    return [{name: row.get(name) for name in ordered} for row in rows]


def export(trials: Sequence[FrozenTrial], form: TableFormat) -> bytes:
    """Return the table as the content of one file."""
    rows = trial_rows(trials)
    if form == "json":
        return (json.dumps(rows, indent=1, allow_nan=False) + "\n").encode()
    frame = pl.DataFrame(rows, infer_schema_length=None)
    content = io.BytesIO()
    if form == "csv":
        frame.write_csv(content)
    else:
        frame.write_parquet(content, compression="zstd", compression_level=3)
    return content.getvalue()


GROUPS = ("number", "state", "value", "params_", "intermediate_", "constraint_", "metric_", "failure")


def _row(trial: FrozenTrial) -> dict[str, TableCell]:
    row: dict[str, TableCell] = {
        "number": trial.number,
        "state": trial.state.name.lower(),
        "value": _finite(trial.value),
    }
    row |= {f"params_{name}": value for name, value in trial.params.items()}
    row |= {f"intermediate_{step}": _finite(value) for step, value in trial.intermediate_values.items()}
    row |= {f"constraint_{name}": _finite(value) for name, value in trial.constraints.items()}
    row |= {f"metric_{name}": _finite(value) for name, value in trial.user_attrs.get("metrics", {}).items()}
    if "failure" in trial.user_attrs:
        row["failure"] = trial.user_attrs["failure"]
    return row


def _group(name: str) -> int:
    return next(place for place, group in enumerate(GROUPS) if name.startswith(group))


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
