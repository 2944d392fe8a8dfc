"""The files of one attempt at a level.

results/<run>/<level>/trials.parquet, trials.csv    every trial of the search
results/<run>/<level>/gate.json                     each criterion: value, target, met
results/<run>/<level>/best_params.json              the winner's parameters; a strategy loads them
results/<run>/<level>/metrics.json                  the winner's figures on train, validation and test
results/<run>/<level>/plots/*.svg                   equity and drawdown, the course of the search
results/<run>/openings.jsonl                        every look at validation and test, appended
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from optuna.trial import FrozenTrial

from optimizer.evaluation import Evaluation, finite_or_none
from optimizer.level import Level, Part
from optimizer.portfolio import Portfolio
from optimizer.selection import Winner
from optimizer.table import export
from tradeschool.store.files import publish

Json = Mapping[str, object] | Sequence[object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """All that one attempt at a level came to."""

    level: Level
    attempt: int
    trials: tuple[FrozenTrial, ...]
    winner: Winner | None
    """None where no trial was feasible on train."""
    test: Evaluation | None
    """Of the winner; opened once, decides nothing."""
    accounts: Mapping[Part, Portfolio]
    """The winner's, by part."""

    @property
    def passed(self) -> bool:
        """Whether the gate is met."""
        return self.winner is not None and self.winner.passed


def write_findings(results_dir: Path, folder: Path, findings: Findings) -> Path:
    """Publish the files of an attempt in a run's folder, which lies in `results_dir`; where they are.

    Raises:
        StoreUnwritable: where the disk does not take them.
    """
    from optimizer.report.plots import draw_equity, draw_search  # matplotlib takes a second to import

    here = folder / findings.level.name
    for form in ("parquet", "csv"):
        _publish(results_dir, here / f"trials.{form}", export(findings.trials, form))
    _publish(results_dir, here / "gate.json", _text(gate_json(findings)))
    _publish(results_dir, here / "plots" / "search.svg", draw_search(findings.trials))
    if findings.winner:
        _publish(results_dir, here / "best_params.json", _text(_best_parameters(findings.level, findings.winner)))
        _publish(results_dir, here / "metrics.json", _text(_metrics(findings.winner, findings.test)))
        _publish(results_dir, here / "plots" / "equity.svg", draw_equity(findings.accounts))
    return here


def log_opening(folder: Path, level: Level, attempt: int, part: Part, trials: Sequence[int], now: datetime) -> None:
    """Append that a part was looked at, and with which trials' parameters."""
    line = {"time": now.isoformat(), "level": level.name, "attempt": attempt, "part": part, "trials": list(trials)}
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "openings.jsonl").open("a", encoding="utf-8") as log:
        log.write(json.dumps(line) + "\n")


def gate_json(findings: Findings) -> dict[str, object]:
    """The verdict: whether the gate is met, and each reading beside its target."""
    winner = findings.winner
    readings = [{**asdict(each), "value": finite_or_none(each.value)} for each in winner.readings] if winner else []
    return {
        "level": findings.level.name,
        "attempt": findings.attempt,
        "passed": findings.passed,
        "reason": _reason(winner),
        "trial": winner.number if winner else None,
        "gate": readings,
    }


def _reason(winner: Winner | None) -> str:
    if winner is None:
        return "no trial met every constraint on train"
    missed = [reading.name for reading in winner.readings if not reading.met]
    return f"missed on validation: {', '.join(missed)}" if missed else "every criterion is met on validation"


def _best_parameters(level: Level, winner: Winner) -> dict[str, object]:
    return {"strategy": level.strategy, "direction": level.direction, "parameters": winner.parameters}


def _metrics(winner: Winner, test: Evaluation | None) -> dict[str, object]:
    parts = {Part.TRAIN: winner.train, Part.VALIDATION: winner.validation, Part.TEST: test}
    return {
        part: {name: finite_or_none(value) for name, value in evaluation.metrics.items()}
        for part, evaluation in parts.items()
        if evaluation
    }


def _publish(root: Path, path: Path, content: bytes) -> None:
    publish(root, path, lambda temporary: _write(temporary, content))


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _text(value: Json) -> bytes:
    return (json.dumps(value, indent=1, allow_nan=False) + "\n").encode()
