"""Contents of a level's result files, from the findings on an attempt."""

from dataclasses import asdict

from optimizer.level.spec import Part
from optimizer.objective.dominance import FRONT_RULE
from optimizer.objective.trial_result import Evaluation, finite_or_none
from optimizer.report.windows_file import windows_by_day
from optimizer.search.pareto import pareto_front
from optimizer.search.trial_table import named_values
from optimizer.validation.attempt_findings import AttemptFindings
from optimizer.validation.selection import Winner


def gate_json(findings: AttemptFindings) -> dict[str, object]:
    """Return the verdict: whether the gate passed, and each reading with its target."""
    return {
        "level": findings.level.name,
        "attempt": findings.case.attempt,
        "passed": findings.passed,
        "relaxed": findings.case.relaxed,
        "reason": findings.reason,
        "trial": findings.winner.number if findings.winner else None,
        "gate": [each.as_json() for each in findings.readings],
    }


def costs_json(findings: AttemptFindings) -> dict[str, object]:
    """Return the level's cost presets and rates, and the winner's charged and break-even costs by part."""
    costs = findings.level.costs
    return {
        "preset": list(costs.preset),
        "rates": costs.rates,
        "sentence": costs.sentence,
        "parts": {part: {**asdict(found), "sentence": found.sentence} for part, found in findings.costs.items()},
    }


def front_json(findings: AttemptFindings) -> dict[str, object]:
    """Return the Pareto front on train, in the order of its rule, and the trial that was selected on validation."""
    front = pareto_front(findings.case.trials)
    return {
        "objectives": list(findings.level.objective),
        "rule": FRONT_RULE,
        "winner": findings.winner.number if findings.winner else None,
        "trials": [
            {"trial": trial.number, "values": named_values(trial), "parameters": dict(trial.params)} for trial in front
        ],
    }


def equity_json(findings: AttemptFindings) -> dict[str, object]:
    """Return daily series, by day since 1970: the winner's equity and intrabar drawdown, and buy-and-hold equity.

    Each part starts at 1. A day in two parts, possible with datasets of different years, belongs to the earlier part.
    With `walk_forward` it belongs to validation, and each day of validation has the number of its window.
    """
    by_day: dict[int, tuple[str, float, float, float]] = {}
    accounts = list(findings.accounts.items())
    for part, account in reversed(accounts) if findings.case.windows else accounts:
        held, fallen = findings.benchmark[part].equity, account.drawdowns
        for place, day in enumerate(account.days.tolist()):
            by_day.setdefault(day, (part, account.equity[place], fallen[place], held[place]))
    days = sorted(by_day)
    columns = list(zip(*(by_day[day] for day in days), strict=True))
    windows = windows_by_day(findings.level) if findings.case.windows else {}
    return {
        "days": days,
        "part": list(columns[0]),
        **({"window": [windows.get(day, 0) for day in days]} if windows else {}),
        **{
            name: [float(value) for value in columns[place]]
            for place, name in ((1, "equity"), (2, "drawdown"), (3, "buy_and_hold"))
        },
    }


def trades_json(findings: AttemptFindings) -> dict[str, object]:
    """Return the net result of each of the winner's trades by part, as a fraction of the dataset's starting account.

    With `walk_forward`, train covers the days of validation again and is left out.
    """
    parts = {part: found for part, found in findings.trade_returns.items() if found.size}
    if findings.case.windows:
        parts.pop(Part.TRAIN, None)
    return {part: [float(f"{value:.6g}") for value in found] for part, found in parts.items()}


def metrics_json(winner: Winner, test: Evaluation | None) -> dict[str, object]:
    """Return the winner's metrics by part."""
    parts = {Part.TRAIN: winner.train, Part.VALIDATION: winner.validation, Part.TEST: test}
    return {
        part: {name: finite_or_none(value) for name, value in evaluation.metrics.items()}
        for part, evaluation in parts.items()
        if evaluation
    }
