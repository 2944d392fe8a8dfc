"""The files of a run.

results/<run>/<level>/trials.parquet, trials.csv    every trial of the search, earlier attempts' included
results/<run>/<level>/gate.json                     each criterion: value, interval, target, met
results/<run>/<level>/best_params.json              the winner and how it was traded; a backtest loads it
results/<run>/<level>/metrics.json                  the winner's figures on train, validation and test
results/<run>/<level>/equity.json                   the winner's equity and drawdown by day, beside buying and holding
results/<run>/<level>/similarity.json, regimes.json, stress.json, stability.json     where the level asks for them
results/<run>/<level>/plots/*.svg                   equity and drawdown, the course of the search
results/<run>/<level>/null.json                     how often the same search passes the gate where there is no skill
results/<run>/<level>/null.jsonl                    what each market without skill came to, appended
results/<run>/recommendation.json                   deploy, paper_trade or do_not_deploy, every check, and why
results/<run>/report.json, report.html              all of a run in one file; the page is drawn from the other alone
results/<run>/lineage.json                          which attempt came from what, and what its gate said
results/<run>/escalation.json                       what fell short, where a level was given up
results/<run>/openings.jsonl                        every look at validation, test and the sealed period, appended

A later attempt's files take the place of an earlier one's.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import JsonValue

from optimizer.evaluation import Evaluation, finite_or_none
from optimizer.evidence import Null
from optimizer.judging import Findings
from optimizer.level import Level, Part
from optimizer.openings import read_openings
from optimizer.report.contents import LEVEL_FILES, recommendation_json, report_json
from optimizer.runs import AttemptRow, RunRecord
from optimizer.selection import Winner
from optimizer.setup import Setup
from optimizer.table import export
from tradeschool.store.files import publish

MOST_BYTES = 32_000_000
"""Of a result file that is read."""
EQUITY_NAME, REPORT_NAME = "equity.json", "report.html"
Json = Mapping[str, object] | Sequence[object]


def write_findings(results_dir: Path, folder: Path, findings: Findings, setup: Setup | None) -> Path:
    """Publish the files of an attempt in a run's folder, which lies in `results_dir`; where they are.

    `setup` is how the winner was traded; None where there is none.

    Raises:
        StoreUnwritable: where the disk does not take them.
    """
    from optimizer.report.plots import draw_equity, draw_search  # matplotlib takes a second to import

    here, trials = folder / findings.level.name, findings.case.trials
    for form in ("parquet", "csv"):
        _publish(results_dir, here / f"trials.{form}", export(trials, form))
    _publish(results_dir, here / "gate.json", _text(gate_json(findings)))
    _publish(results_dir, here / "plots" / "search.svg", draw_search(trials))
    if setup:
        _publish(results_dir, here / "best_params.json", _text(setup.model_dump(mode="json")))
    if findings.winner:
        _publish(results_dir, here / "metrics.json", _text(_metrics(findings.winner, findings.test)))
        _publish(results_dir, here / EQUITY_NAME, _text(equity_json(findings)))
        _publish(results_dir, here / "plots" / "equity.svg", draw_equity(findings.accounts))
    for name, analysis in findings.analyses.items():
        _publish(results_dir, here / f"{name}.json", _text(analysis))
    return here


def write_lineage(results_dir: Path, folder: Path, record: RunRecord) -> None:
    """Publish which attempt came from what.

    Raises:
        StoreUnwritable: where the disk does not take it.
    """
    _publish(results_dir, folder / "lineage.json", _text(lineage_json(record)))


def write_escalation(results_dir: Path, folder: Path, level: Level, shortfalls: Sequence[Mapping[str, object]]) -> None:
    """Publish what each attempt at a level that was given up fell short by.

    Raises:
        StoreUnwritable: where the disk does not take it.
    """
    report = {"level": level.name, "title": level.title, "attempts": list(shortfalls)}
    _publish(results_dir, folder / "escalation.json", _text(report))


def write_report(results_dir: Path, folder: Path, record: RunRecord) -> None:
    """Publish what a run that is over comes to: `recommendation.json`, `report.json` and `report.html`.

    Raises:
        StoreUnwritable: where the disk does not take it.
    """
    from optimizer.report.page import draw_page  # it draws pictures

    recommendation = record.recommendation
    assert recommendation is not None, "a report is written once there is a recommendation"
    files = {
        level.name: {name: read_json(folder / level.name / f"{name}.json") for name in LEVEL_FILES}
        for level in record.levels
    }
    report = report_json(record, recommendation, files, read_openings(folder))
    _publish(results_dir, folder / "recommendation.json", _text(recommendation_json(recommendation)))
    _publish(results_dir, folder / "report.json", _text(report))
    _publish(results_dir, folder / REPORT_NAME, draw_page(report))


def write_null(results_dir: Path, folder: Path, level: str, null: Null) -> None:
    """Publish how often luck alone passes a level's gate.

    Raises:
        StoreUnwritable: where the disk does not take it.
    """
    _publish(results_dir, folder / level / "null.json", _text(null.model_dump(mode="json")))


def read_json(path: Path) -> JsonValue:
    """What a file of a run says, None where it is absent, too large or cannot be read."""
    try:
        if path.stat().st_size > MOST_BYTES:
            return None
        found: JsonValue = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return found


def gate_json(findings: Findings) -> dict[str, object]:
    """The verdict: whether the gate is met, and each reading beside its target."""
    return {
        "level": findings.level.name,
        "attempt": findings.case.attempt,
        "passed": findings.passed,
        "relaxed": findings.case.relaxed,
        "reason": findings.reason,
        "trial": findings.winner.number if findings.winner else None,
        "gate": [each.as_json() for each in findings.readings],
    }


def equity_json(findings: Findings) -> dict[str, object]:
    """By day since 1970, ascending: the winner's equity and intrabar drawdown, and the equity of who only held.

    Each part begins at 1 again; a day of two parts, as datasets of different years have, is the earlier part's.
    """
    by_day: dict[int, tuple[str, float, float, float]] = {}
    for part, account in findings.accounts.items():
        held, fallen = findings.held[part].equity, account.drawdowns
        for place, day in enumerate(account.days.tolist()):
            by_day.setdefault(day, (part, account.equity[place], fallen[place], held[place]))
    days = sorted(by_day)
    columns = list(zip(*(by_day[day] for day in days), strict=True))
    return {
        "days": days,
        "part": list(columns[0]),
        **{
            name: [float(value) for value in columns[place]]
            for place, name in ((1, "equity"), (2, "drawdown"), (3, "hold"))
        },
    }


def lineage_json(record: RunRecord) -> dict[str, object]:
    """A run's attempts in order, and everything that was changed or forced under way."""
    return {
        "run": record.name,
        "seed": record.seed,
        "created": record.created.isoformat(),
        "fingerprints": dict(record.fingerprints),
        "attempts": [_attempt_json(record, each) for each in record.attempts],
        "forced": [each.model_dump(mode="json") for each in record.forced],
    }


def _attempt_json(record: RunRecord, attempt: AttemptRow) -> dict[str, object]:
    level, verdict = record.searched_level(attempt), attempt.verdict
    before = record.before(level.name)
    return {
        "level": level.name,
        "attempt": attempt.number,
        "study": record.study(attempt.level, attempt.number),
        "trials": level.trials,
        "carried": attempt.carried,
        "ranges": {name: list(bounds) for name, bounds in level.ranges.items()},
        "fingerprints": dict(attempt.fingerprints),
        "inherited_from": before.name if before and attempt.inherited else None,
        "inherited": attempt.inherited,
        "verdict": {
            "passed": verdict.passed,
            "relaxed": verdict.relaxed,
            "reason": verdict.reason,
            "finished": verdict.finished,
            "trial": verdict.trial,
            "parameters": verdict.parameters,
            "gate": [each.as_json() for each in verdict.readings],
        }
        if verdict
        else None,
    }


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
