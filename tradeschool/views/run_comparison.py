"""Tables of a comparison of two runs."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from optimizer.level.metric_names import COUNTS
from optimizer.validation.labels import label
from tradeschool.views.run_status import result_word
from tradeschool.views.terminal import console

Comparison = Mapping[str, Any]
"""A comparison as JSON; see `optimizer.report.run_comparison.comparison_json`."""


def show_comparison(found: Comparison) -> None:
    """Print what the runs used, then each level, then the recommendations."""
    runs = found["runs"]
    console().print(_code(found))
    if found["settings"]:
        console().print(_values(f"settings of the runs {runs[0]} and {runs[1]} that differ", runs, found["settings"]))
    for run, names in zip(runs, found["only_in"], strict=True):
        if names:
            console().print(f"levels only in {run}: {', '.join(names)}")
    for level in found["levels"]:
        _show_level(runs, level)
    if found["recommendation"]:
        _show_recommendations(runs, found["recommendation"])


def _code(found: Comparison) -> str:
    one, other = found["code"]["fingerprints"]
    return f"code: the same ({one})" if found["code"]["same"] else f"code: differs ({one} and {other})"


def _show_level(runs: Sequence[str], level: Comparison) -> None:
    console().print(f"level {level['level']}")
    console().print(_data(runs, level["data"]))
    if level["settings"]:
        console().print(_values(f"settings of level {level['level']} that differ", runs, level["settings"]))
    for run, trial, attempt, reason in zip(runs, level["winners"], level["attempts"], level["reasons"], strict=True):
        winner = "no winner" if trial is None else f"winner: trial {trial} of attempt {attempt}"
        console().print(f"{run}: {winner}; {reason}")
    if level["parameters"]:
        console().print(_values("parameters of the winners", runs, level["parameters"]))
    if level["gate"]:
        console().print(_gate(runs, level["gate"]))
    for part in level["parts"]:
        console().print(_metrics(runs, part))
        if part["note"]:
            console().print(part["note"])


def _data(runs: Sequence[str], rows: Sequence[Comparison]) -> Table:
    table = Table("dataset", *runs, "candles", title="candles: range and digest")
    for row in rows:
        cells = [
            "-" if span is None else f"{span}, {digest or 'not read'}"
            for span, digest in zip(row["ranges"], row["digests"], strict=True)
        ]
        table.add_row(row["dataset"], *cells, "the same" if row["same"] else "differ")
    return table


def _values(title: str, runs: Sequence[str], rows: Sequence[Comparison]) -> Table:
    table = Table("name", *runs, title=title)
    for row in rows:
        table.add_row(row["name"], *("-" if value is None else _plain(value) for value in row["values"]))
    return table


def _gate(runs: Sequence[str], rows: Sequence[Comparison]) -> Table:
    table = Table("criterion", *(head for run in runs for head in (run, "required", "gate")), title="gate")
    for row in rows:
        table.add_row(row["name"], *(cell for reading in row["readings"] for cell in _reading(row["name"], reading)))
    return table


def _reading(name: str, reading: Comparison | None) -> tuple[str, str, str]:
    if reading is None:
        return "-", "-", "-"
    value = "infinite" if reading["infinite"] else _figure(name, reading["value"])
    return value, f"{reading['sign']} {reading['target']:g}", "met" if reading["met"] else "failed"


def _metrics(runs: Sequence[str], part: Comparison) -> Table:
    table = Table("metric", *runs, "difference", "95 % interval", title=part["part"])
    if part["common"]:
        days, first, last = part["common"]
        table.caption = f"difference on {days:,} common days, {first} to {last}: {runs[1]} minus {runs[0]}"
        if any(row["name"] == "days" and row["values"] != [days, days] for row in part["metrics"]):
            table.caption += "; the metrics beside it are of all days of the part"
    for row in part["metrics"]:
        name = row["name"]
        limits = [_figure(name, row[limit]) for limit in ("low", "high")]
        known = row["low"] is not None or row["high"] is not None
        table.add_row(
            label(name),
            *(_figure(name, value) for value in row["values"]),
            "" if row["difference"] is None else _figure(name, row["difference"]),
            " .. ".join(limits) if known else "",
        )
    return table


def _show_recommendations(runs: Sequence[str], found: Comparison) -> None:
    table = Table("check", *runs, title="checks")
    for row in found["checks"]:
        cells = [
            "-" if said is None else f"{result_word(row['answers'], met)}: {said}"
            for met, said in zip(row["met"], row["found"], strict=True)
        ]
        table.add_row(label(row["name"]), *cells)
    console().print(table)
    for run, action, reason in zip(runs, found["actions"], found["reasons"], strict=True):
        console().print(f"{run}: {'not finished' if action is None else f'{action}: {reason}'}")


def _figure(name: str, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if name in COUNTS else f"{value:.3f}"


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
