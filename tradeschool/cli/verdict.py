"""How a run's result is shown: a table for people, one object for programs."""

from collections.abc import Sequence

from optuna.trial import FrozenTrial, TrialState
from pydantic import JsonValue
from rich.table import Table

from optimizer.evaluation import finite_or_none
from optimizer.gate import Reading, gate_readings
from optimizer.level import Part
from optimizer.report.files import Findings
from optimizer.selection import closest
from optimizer.study import best_feasible
from tradeschool.cli.context import console
from workers.search import RunRecord

SHUT, OPEN = "missed", "met"


def as_object(record: RunRecord, findings: Sequence[Findings], exit_reason: str) -> dict[str, JsonValue]:
    """What `optimize run --json` prints."""
    return {
        "run": record.name,
        "seed": record.seed,
        "levels": [_level(each) for each in findings],
        "exit_reason": exit_reason,
    }


def show(findings: Findings) -> None:
    """A level's verdict, criterion by criterion."""
    winner = findings.winner
    states = _counts(findings.trials)
    counted = ", ".join(f"{count} {name}" for name, count in states.items())
    console().print(f"level {findings.level.name}: {findings.level.title}: {len(findings.trials)} trials ({counted})")
    if winner is None:
        console().print("no trial met every constraint on train: the gate stays shut")
        _show_closest(findings)
        return
    parameters = ", ".join(f"{name} {value:g}" for name, value in winner.parameters.items())
    console().print(f"winner: trial {winner.number}: {parameters}")
    table = Table("criterion", "train", "validation", "target", "gate", "test (decides nothing)")
    for reading in winner.readings:
        metric = METRIC_OF.get(reading.name, reading.name)
        test = findings.test.metrics[metric] if findings.test else float("nan")
        table.add_row(
            reading.name,
            f"{winner.train.metrics[metric]:.3f}",
            f"{reading.value:.3f}",
            _target(reading),
            OPEN if reading.met else SHUT,
            f"{test:.3f}",
        )
    console().print(table)


def _show_closest(findings: Findings) -> None:
    """How near the search came, so that a user knows which rule kept everything out."""
    trial = closest(findings.trials)
    if trial is None:
        return
    figures = {name: float("nan") if value is None else value for name, value in trial.user_attrs["metrics"].items()}
    table = Table("criterion", f"closest, trial {trial.number}, train", "target")
    for reading in gate_readings(findings.level, figures, Part.TRAIN):
        value = f"{reading.value:.3f}" + ("" if reading.met else f" {SHUT}")
        table.add_row(reading.name, value, _target(reading))
    console().print(table)


def _target(reading: Reading) -> str:
    return f"{'<=' if reading.name == 'max_drawdown' else '>='} {reading.target:g}"


METRIC_OF = {"max_drawdown": "max_drawdown_intrabar", "min_trades": "trades"}
"""The metric behind a criterion of another name."""


def _level(findings: Findings) -> dict[str, JsonValue]:
    level, winner = findings.level, findings.winner
    best = best_feasible(findings.trials)
    return {
        "level": level.name,
        "attempt": findings.attempt,
        "trials": len(findings.trials),
        **_counts(findings.trials),
        "best_value": best.value if best else None,
        "best_params": dict(winner.parameters) if winner else None,
        "gate": [
            {"name": each.name, "value": finite_or_none(each.value), "target": each.target, "met": each.met}
            for each in (winner.readings if winner else ())
        ],
        "passed": findings.passed,
    }


def _counts(trials: Sequence[FrozenTrial]) -> dict[str, int]:
    names = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
    return {name: sum(trial.state is state for trial in trials) for state, name in names.items()}
