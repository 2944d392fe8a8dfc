"""Run status as JSON: nested by level for the page and the metrics, a flat list of attempts for the commands."""

from pydantic import JsonValue

from optimizer.level.spec import Level
from optimizer.report.contents import null_test_json, recommendation_json, retry_json
from optimizer.runs.run_record import Verdict
from optimizer.search.trial_summary import TrialView
from optimizer.validation.labels import label
from workers.monitoring.run_status import AttemptStatus, LevelStatus, RunStatus

MAX_FRONT = 100
"""Trials of a Pareto front that the page gets at most, in the order of its rule."""


def as_page(status: RunStatus) -> dict[str, JsonValue]:
    """Return the object of `/api/run`."""
    return {
        "run": status.name,
        "seed": status.record.seed,
        "created": status.record.created.isoformat(),
        "holdout_period": str(status.record.holdout.window),
        "levels": [_level_for_page(level) for level in status.levels],
        "outcome": status.outcome,
        "is_active": status.is_active,
        "stalled": status.stall,
        "next": None if status.outcome else status.reason,
        "null": null_test_json(status.record.null_test) if status.record.null_test else None,
        "null_progress": {"finished": status.null_finished, "planned": status.null_planned},
        "null_is_next": status.is_in_null_test,
        "recommendation": recommendation_json(status.recommendation) if status.recommendation else None,
        "has_report": status.has_report,
    }


def as_result(status: RunStatus) -> dict[str, JsonValue]:
    """Return the object that `optimize status --json` prints, as `optimize run --json` does at the end of a run."""
    return {
        "run": status.name,
        "seed": status.record.seed,
        "created": status.record.created.isoformat(),
        "holdout_period": str(status.record.holdout.window),
        "levels": [_attempt_for_commands(attempt) for attempt in status.attempts],
        "waiting": [level.name for level in status.levels if not level.attempts],
        "is_active": status.is_active,
        "stalled": status.stall,
        "outcome": status.outcome,
        "exit_reason": status.reason,
        "null": null_test_json(status.record.null_test) if status.record.null_test else None,
        "recommendation": recommendation_json(status.recommendation) if status.recommendation else None,
        "forced": [each.model_dump(mode="json") for each in status.record.forced],
    }


def _level_for_page(level_status: LevelStatus) -> JsonValue:
    level, verdict = level_status.level, level_status.verdict
    return {
        "level": level.name,
        "title": level.title,
        "direction": level.direction.value,
        "objective": [*level.objective],
        "sampler": str(level.used_sampler),
        "pruner": str(level.used_pruner),
        "state": level_status.state,
        "retries": level.retries,
        "windows": level.split.windows if level.split.is_walk_forward else 0,
        "attempts": [_attempt_for_page(attempt) for attempt in level_status.attempts],
        "gate": [{**reading.as_json()} for reading in level_status.gate],
        "gate_part": level_status.gate_part.value,
        "winner": verdict.trial if verdict else None,
        "labels": {name: label(name) for name in (*level.objective, *(reading.name for reading in level_status.gate))},
        **_size(level=level, verdict=verdict),
        "reason": verdict.reason if verdict else "",
        "has_equity": level_status.has_equity,
        "datasets": [
            {"dataset": each.dataset, "start": each.start.isoformat(), "end": each.end.isoformat()}
            for each in level.datasets
        ],
    }


def _size(*, level: Level, verdict: Verdict | None) -> dict[str, JsonValue]:
    """Return the risk budget in words, and size and leverage of the winner's account; None without budget or winner."""
    winner = verdict if verdict and verdict.trial is not None and level.risk else None
    return {
        "risk": level.risk.sentence if level.risk else None,
        "size": winner.size if winner else None,
        "leverage": winner.leverage if winner else None,
    }


def _attempt_for_page(attempt: AttemptStatus) -> JsonValue:
    trial_counts, best = attempt.counts, attempt.counts.best
    return {
        "attempt": attempt.row.number,
        "study": attempt.study,
        "window": attempt.window,
        "windows": _windows(attempt),
        "trials": trial_counts.trials,
        "reused": attempt.reused,
        "retry": retry_json(attempt.row.retry) if attempt.row.retry else None,
        "complete": trial_counts.complete,
        "pruned": trial_counts.pruned,
        "failed": trial_counts.failed,
        "finished": trial_counts.finished,
        "best": _trial(best) if best else None,
        "front": [_trial(trial) for trial in trial_counts.front[:MAX_FRONT]],
        "pace_per_minute": trial_counts.pace_per_minute,
        "eta_seconds": attempt.eta_seconds,
    }


def _windows(attempt: AttemptStatus) -> list[JsonValue]:
    """Return the windows of a walk-forward that have begun; their parameters are in `windows.json`."""
    return [
        {
            "window": row.number,
            "searched": row.searched,
            "trials": row.finished,
            "trial": row.trial,
            "size": row.size if row.trial is not None else None,
            "train_sharpe": row.train.get("sharpe"),
            "sharpe": row.validation.get("sharpe"),
        }
        for row in attempt.row.windows
    ]


def _trial(trial: TrialView) -> JsonValue:
    values: dict[str, JsonValue] = {"values": {**trial.values}} if trial.values else {}
    return {"number": trial.number, "value": trial.value, **values, "parameters": {**trial.parameters}}


def _attempt_for_commands(attempt: AttemptStatus) -> JsonValue:
    row, verdict, trial_counts = attempt.row, attempt.row.verdict, attempt.counts
    return {
        "level": row.level,
        "title": attempt.level.title,
        "attempt": row.number,
        "window": attempt.window,
        "windows": _windows(attempt),
        "trials": trial_counts.trials,
        "reused": attempt.reused,
        "retry": retry_json(row.retry) if row.retry else None,
        "complete": trial_counts.complete,
        "pruned": trial_counts.pruned,
        "failed": trial_counts.failed,
        "finished": trial_counts.finished,
        "objective": [*attempt.level.objective],
        "sampler": str(attempt.level.used_sampler),
        "pruner": str(attempt.level.used_pruner),
        "best_value": trial_counts.best_value,
        "front": [_trial(trial) for trial in trial_counts.front],
        "best_trial": trial_counts.best.number if trial_counts.best else None,
        "best_params": {**verdict.parameters} if verdict and verdict.parameters else None,
        "winner": verdict.trial if verdict else None,
        **_size(level=attempt.level, verdict=verdict),
        "gate": [{**each.as_json()} for each in verdict.readings] if verdict else [],
        "passed": verdict.passed if verdict else None,
        "relaxed": verdict.relaxed if verdict else 0.0,
        "reason": verdict.reason if verdict else None,
        "eta_seconds": attempt.eta_seconds,
    }
