"""Result files of a run.

results/<run>/<level>/trials.parquet, trials.csv    every trial of the search, including earlier attempts
results/<run>/<level>/gate.json                     each criterion: value, interval, target, met
results/<run>/<level>/best_params.json              the winner and its trading setup; input of `backtest --params`
results/<run>/<level>/metrics.json                  the winner's metrics on train, validation and test
results/<run>/<level>/costs.json                    cost presets and rates, charged and break-even costs by part
results/<run>/<level>/equity.json                   daily equity and drawdown of the winner, and buy-and-hold equity
results/<run>/<level>/search.json                   complete trials with parameters and importance, for plots
results/<run>/<level>/trades.json                   net result of each of the winner's trades, by part
results/<run>/<level>/windows.json                  with walk_forward: each window's days, choice and metrics
results/<run>/<level>/windows/<n>/trials.*          with walk_forward: every trial of each window's search
results/<run>/<level>/similarity.json, regimes.json, stress.json, stability.json     if the level requests them
results/<run>/<level>/plots/*.svg                   equity and drawdown; optimization history
results/<run>/<level>/front.json, plots/front.svg   Pareto front on train, with several objectives
results/<run>/<level>/cross_validation.json         combinatorial purged cross-validation of the trials on train
results/<run>/<level>/null.json                     null test: false-positive rate of the gate
results/<run>/<level>/null.jsonl                    result of each surrogate market, appended
results/<run>/recommendation.json                   deploy, paper_trade or do_not_deploy, with all checks
results/<run>/report.json, report.html              the whole run in one file; the HTML is rendered from the JSON alone
results/<run>/lineage.json                          each attempt with its inputs and its gate
results/<run>/escalation.json                       what was missed, if a level failed all attempts
results/<run>/holdout_log.jsonl                     each read of validation, test and the holdout period, appended
results/<run>/forward/<name>/rule.json              rule of a forward test, written before its first day
results/<run>/forward/<name>/days.jsonl             each day of it: return, equity, limits, decision, appended

Files of a later attempt replace those of an earlier one.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from optuna.trial import FrozenTrial
from pydantic import JsonValue

from optimizer.forward.summary import run_summaries
from optimizer.level.spec import Level, Part
from optimizer.report.contents import (
    FRONT_NAME,
    LEVEL_FILES,
    SEARCH_NAME,
    TRADES_NAME,
    WINDOWS_NAME,
    CandleShares,
    recommendation_json,
    report_json,
    retry_json,
)
from optimizer.report.level_contents import costs_json, equity_json, front_json, gate_json, metrics_json, trades_json
from optimizer.report.search_file import search_json
from optimizer.report.windows_file import window_starts, windows_by_day, windows_json
from optimizer.runs.run_record import AttemptRow, RunRecord
from optimizer.search.trial_table import export
from optimizer.validation.attempt_findings import AttemptFindings
from optimizer.validation.evidence import NullTest
from optimizer.validation.holdout_log import read_holdout_log
from optimizer.validation.winner_setup import WinnerSetup
from tradeschool.atomic_files import publish

MAX_BYTES = 32_000_000
"""Maximum size of a result file to read, in bytes."""
EQUITY_NAME, REPORT_NAME, REPORT_JSON_NAME = "equity.json", "report.html", "report.json"
Json = Mapping[str, object] | Sequence[object]


def write_findings(
    results_dir: Path, folder: Path, findings: AttemptFindings, setup: WinnerSetup | None, attempt: AttemptRow
) -> Path:
    """Write the files of an attempt to a run's folder inside `results_dir` and return the level's folder.

    `setup`: the winner's trading setup; None without a winner. `attempt`: as it was judged.

    Raises:
        StoreUnwritable: the files cannot be written.
    """
    from optimizer.report.plots.curves import draw_front, draw_search  # importing matplotlib takes a second

    here, trials = folder / findings.level.name, findings.case.trials
    _publish_trials(results_dir, here, trials)
    _publish(results_dir, here / "gate.json", _text(gate_json(findings)))
    _publish(results_dir, here / "plots" / "search.svg", draw_search(trials, findings.level.objective))
    _publish(results_dir, here / f"{SEARCH_NAME}.json", _text(search_json(findings)))
    if findings.level.is_multi_objective:
        _publish(results_dir, here / f"{FRONT_NAME}.json", _text(front_json(findings)))
        _publish(results_dir, here / "plots" / "front.svg", draw_front(trials, findings.level.objective))
    if setup:
        _publish(results_dir, here / "best_params.json", _text(setup.model_dump(mode="json")))
    if findings.winner:
        _publish(results_dir, here / "metrics.json", _text(metrics_json(findings.winner, findings.test)))
        _publish(results_dir, here / "costs.json", _text(costs_json(findings)))
        _publish(results_dir, here / f"{TRADES_NAME}.json", _text(trades_json(findings)))
        _publish(results_dir, here / EQUITY_NAME, _text(equity_json(findings)))
        _publish(results_dir, here / "plots" / "equity.svg", _equity_plot(findings))
    if attempt.windows:
        _publish(results_dir, here / f"{WINDOWS_NAME}.json", _text(windows_json(findings.level, attempt)))
    for window in findings.case.windows:
        _publish_trials(results_dir, here / WINDOWS_NAME / str(window.number), window.trials)
    for name, analysis in findings.analyses.items():
        _publish(results_dir, here / f"{name}.json", _text(analysis))
    return here


def write_lineage(results_dir: Path, folder: Path, record: RunRecord) -> None:
    """Write `lineage.json`.

    Raises:
        StoreUnwritable: the file cannot be written.
    """
    _publish(results_dir, folder / "lineage.json", _text(lineage_json(record)))


def write_escalation(results_dir: Path, folder: Path, level: Level, shortfalls: Sequence[Mapping[str, object]]) -> None:
    """Write `escalation.json`: the shortfall of each attempt at a level that failed all attempts.

    Raises:
        StoreUnwritable: the file cannot be written.
    """
    report = {"level": level.name, "title": level.title, "attempts": list(shortfalls)}
    _publish(results_dir, folder / "escalation.json", _text(report))


def write_report(results_dir: Path, folder: Path, record: RunRecord, shares: CandleShares) -> None:
    """Write `recommendation.json`, `report.json` and `report.html` of a finished run.

    `shares` are coverage and density of its candles.

    Raises:
        StoreUnwritable: a file cannot be written.
    """
    from optimizer.report.page import draw_page  # imports matplotlib

    recommendation = record.recommendation
    assert recommendation is not None, "a report is written once there is a recommendation"
    files = {
        level.name: {name: read_json(folder / level.name / f"{name}.json") for name in LEVEL_FILES}
        for level in record.levels
    }
    report = report_json(record, recommendation, files, read_holdout_log(folder), shares)
    evidence = recommendation.evidence
    if evidence and evidence.cross_validation:
        path = folder / evidence.level / "cross_validation.json"
        _publish(results_dir, path, _text(evidence.cross_validation.model_dump(mode="json")))
    report["forward"] = [*run_summaries(folder)]
    _publish(results_dir, folder / "recommendation.json", _text(recommendation_json(recommendation)))
    _publish(results_dir, folder / REPORT_JSON_NAME, _text(report))
    _publish(results_dir, folder / REPORT_NAME, draw_page(report))


def write_null_test(results_dir: Path, folder: Path, null: NullTest) -> None:
    """Write the null test's result.

    Raises:
        StoreUnwritable: the file cannot be written.
    """
    _publish(results_dir, folder / "null.json", _text(null.model_dump(mode="json")))


def read_json(path: Path) -> JsonValue:
    """Read a JSON file of a run; None if it is absent, too large or invalid."""
    try:
        if path.stat().st_size > MAX_BYTES:
            return None
        found: JsonValue = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return found


def lineage_json(record: RunRecord) -> dict[str, object]:
    """Return a run's attempts in order, and all forced changes."""
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
    before = record.passed_before(level.name)
    return {
        "level": level.name,
        "attempt": attempt.number,
        "study": record.study(attempt.level, attempt.number),
        "trials": level.trials,
        "reused": attempt.reused,
        "ranges": {name: list(bounds) for name, bounds in level.ranges.items()},
        "retry": retry_json(attempt.retry) if attempt.retry else None,
        "fingerprints": dict(attempt.fingerprints),
        "inherited_from": before.name if before and attempt.inherited else None,
        "inherited": attempt.inherited,
        "inherited_reason": attempt.inherited_reason,
        "windows": [each.model_dump(mode="json", exclude={"train", "validation"}) for each in attempt.windows],
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


def _equity_plot(findings: AttemptFindings) -> bytes:
    """Plot the accounts of all parts; with `walk_forward` validation alone, because train covers the same days."""
    from optimizer.report.plots.curves import draw_equity

    if not findings.case.windows:
        return draw_equity(findings.accounts)
    account, windows = findings.accounts[Part.VALIDATION], windows_by_day(findings.level)
    days = account.days.tolist()
    return draw_equity({Part.VALIDATION: account}, window_starts(days, [windows.get(day, 0) for day in days]))


def _publish_trials(results_dir: Path, here: Path, trials: Sequence[FrozenTrial]) -> None:
    _publish(results_dir, here / "trials.parquet", export(trials, "parquet"))
    _publish(results_dir, here / "trials.csv", export(trials, "csv"))


def _publish(root: Path, path: Path, content: bytes) -> None:
    publish(root, path, lambda temporary: _write(temporary, content))


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _text(value: Json) -> bytes:
    return (json.dumps(value, indent=1, allow_nan=False) + "\n").encode()
