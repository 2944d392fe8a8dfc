"""How a run stands, as JSON: nested for the page and its metrics, a flat list of attempts for the commands."""

from pydantic import JsonValue

from optimizer.report.contents import null_json, recommendation_json
from workers.monitoring.run_status import AttemptStanding, LevelStanding, Standing


def as_page(standing: Standing) -> dict[str, JsonValue]:
    """What `/api/run` gives."""
    return {
        "run": standing.name,
        "seed": standing.record.seed,
        "created": standing.record.created.isoformat(),
        "levels": [_level_for_page(level) for level in standing.levels],
        "outcome": standing.outcome,
        "at_work": standing.at_work,
        "stalled": standing.stall,
        "next": None if standing.outcome else standing.reason,
        "recommendation": recommendation_json(standing.recommendation) if standing.recommendation else None,
        "has_report": standing.has_report,
    }


def as_result(standing: Standing) -> dict[str, JsonValue]:
    """What `optimize status --json` and, at a run's end, `optimize run --json` print."""
    return {
        "run": standing.name,
        "seed": standing.record.seed,
        "created": standing.record.created.isoformat(),
        "levels": [_attempt_for_commands(attempt) for attempt in standing.attempts],
        "waiting": [level.name for level in standing.levels if not level.attempts],
        "at_work": standing.at_work,
        "stalled": standing.stall,
        "outcome": standing.outcome,
        "exit_reason": standing.reason,
        "recommendation": recommendation_json(standing.recommendation) if standing.recommendation else None,
        "forced": [each.model_dump(mode="json") for each in standing.record.forced],
    }


def _level_for_page(standing: LevelStanding) -> JsonValue:
    level, verdict = standing.level, standing.verdict
    return {
        "level": level.name,
        "title": level.title,
        "direction": level.direction.value,
        "state": standing.state,
        "retries": level.retries,
        "attempts": [_attempt_for_page(attempt) for attempt in standing.attempts],
        "gate": [{**reading.as_json()} for reading in standing.gate],
        "gate_part": standing.gate_part.value,
        "winner": verdict.trial if verdict else None,
        "reason": verdict.reason if verdict else "",
        "has_equity": standing.has_equity,
        "null": null_json(standing.null) if standing.null else None,
        "datasets": [
            {"dataset": each.dataset, "start": each.start.isoformat(), "end": each.end.isoformat()}
            for each in level.datasets
        ],
    }


def _attempt_for_page(attempt: AttemptStanding) -> JsonValue:
    tally, best = attempt.tally, attempt.tally.best
    return {
        "attempt": attempt.row.number,
        "study": attempt.study,
        "trials": tally.trials,
        "carried": attempt.row.carried,
        "complete": tally.complete,
        "pruned": tally.pruned,
        "failed": tally.failed,
        "finished": tally.finished,
        "best": {"number": best.number, "value": best.value, "parameters": {**best.parameters}} if best else None,
        "pace_per_minute": tally.pace_per_minute,
        "eta_seconds": attempt.eta_seconds,
    }


def _attempt_for_commands(attempt: AttemptStanding) -> JsonValue:
    row, verdict, tally = attempt.row, attempt.row.verdict, attempt.tally
    return {
        "level": row.level,
        "title": attempt.level.title,
        "attempt": row.number,
        "trials": tally.trials,
        "carried": row.carried,
        "complete": tally.complete,
        "pruned": tally.pruned,
        "failed": tally.failed,
        "finished": tally.finished,
        "best_value": tally.best_value,
        "best_trial": tally.best.number if tally.best else None,
        "best_params": {**verdict.parameters} if verdict and verdict.parameters else None,
        "winner": verdict.trial if verdict else None,
        "gate": [{**each.as_json()} for each in verdict.readings] if verdict else [],
        "passed": verdict.passed if verdict else None,
        "relaxed": verdict.relaxed if verdict else 0.0,
        "reason": verdict.reason if verdict else None,
        "eta_seconds": attempt.eta_seconds,
    }
