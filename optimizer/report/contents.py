"""Report contents as JSON, built from a run's record and files; the HTML report renders this alone."""

from collections.abc import Mapping, Sequence

from pydantic import JsonValue

from optimizer.curriculum.retry_plan import RetryPlan
from optimizer.level.constraints import Analysis
from optimizer.level.spec import Level
from optimizer.runs.run_record import RunRecord
from optimizer.validation.evidence import Evidence, NullTest
from optimizer.validation.gate import Criterion
from optimizer.validation.holdout_log import looked_at
from optimizer.validation.recommendation import Recommendation

Json = dict[str, JsonValue]
CandleShares = Mapping[str, tuple[float, float]]
"""Coverage and density by `dataset window`, as in `RunRecord.candles`; a range that is no longer stored is absent."""
FRONT_NAME = "front"
WINDOWS_NAME = "windows"
SEARCH_NAME, TRADES_NAME = "search", "trades"
LEVEL_FILES = (
    *(analysis.value for analysis in Analysis),
    *("stress", "equity", "metrics", "costs", FRONT_NAME, WINDOWS_NAME, SEARCH_NAME, TRADES_NAME),
)
"""Level files included in the report; null if absent."""


def recommendation_json(found: Recommendation) -> Json:
    """Return the recommendation without its evidence."""
    told = found.model_dump(mode="json", exclude={"evidence"})
    skill = {**told["skill"], "sentence": found.skill.sentence} if found.skill else None
    return {**told, "skill": skill, "would_change": [*found.would_change]}


def null_test_json(found: NullTest) -> Json:
    """Return the null test's result without each statistic."""
    return {**found.model_dump(mode="json", exclude={"t", "block_days"}), "sentence": found.sentence}


def retry_json(plan: RetryPlan) -> Json:
    """Return what a retry changed, and why."""
    return {**plan.model_dump(mode="json", exclude={"ends"}), "reason": plan.reason}


def report_json(
    record: RunRecord,
    found: Recommendation,
    files: Mapping[str, Mapping[str, JsonValue]],
    accesses: Sequence[Mapping[str, object]],
    shares: CandleShares,
) -> Json:
    """Return the report of a finished run.

    `files` are the contents of its folder by level, `accesses` the holdout log, `shares` coverage and density of the
    candles.
    """
    return {
        "run": record.name,
        "seed": record.seed,
        "created": record.created.isoformat(),
        "fingerprints": {**record.fingerprints},
        "candles": {**record.candles},
        "forced": [each.model_dump(mode="json") for each in record.forced],
        "holdout_period": str(record.holdout.window),
        "recommendation": recommendation_json(found),
        "evidence": _evidence_json(found.evidence) if found.evidence else None,
        "null": {**record.null_test.model_dump(mode="json"), **null_test_json(record.null_test)}
        if record.null_test
        else None,
        "levels": [_level_json(record, level, files.get(level.name, {}), shares) for level in record.levels],
        "looks": [each.to_json() for each in looked_at(accesses)],
        "holdout_log": [{name: _plain(value) for name, value in line.items() if name != "time"} for line in accesses],
    }


def _level_json(record: RunRecord, level: Level, files: Mapping[str, JsonValue], shares: CandleShares) -> Json:
    attempts = [row for row in record.attempts if row.level == level.name]
    verdict = attempts[-1].verdict if attempts else None
    return {
        "level": level.name,
        "title": level.title,
        "direction": level.direction.value,
        "strategy": level.strategy,
        "objective": [*level.objective],
        "sampler": str(level.used_sampler),
        "pruner": str(level.used_pruner),
        "scheme": level.split.scheme.value,
        "datasets": [f"{each.dataset} {each.window}" for each in level.datasets],
        "candles": [
            {"dataset": each.dataset, "range": str(each.window), "coverage": found[0], "density": found[1]}
            for each in level.datasets
            if (found := shares.get(f"{each.dataset} {each.window.name}"))
        ],
        "attempts": len(attempts),
        "retries": [retry_json(row.retry) for row in attempts if row.retry],
        "finished": sum(row.verdict.finished for row in attempts if row.verdict),
        "passed": verdict.passed if verdict else None,
        "relaxed": verdict.relaxed if verdict else 0.0,
        "reason": verdict.reason if verdict else "not reached",
        "winner": verdict.trial if verdict else None,
        "parameters": {**verdict.parameters} if verdict and verdict.parameters else None,
        "risk": level.risk.sentence if level.risk else None,
        "size": verdict.size if level.risk and verdict and verdict.trial is not None else None,
        "leverage": verdict.leverage if verdict else None,
        "gate": _readings(verdict.readings) if verdict else [],
        "skill": verdict.skill.model_dump(mode="json") if verdict and verdict.skill else None,
        **{name: files.get(name) if verdict else None for name in LEVEL_FILES},
    }


def _evidence_json(evidence: Evidence) -> Json:
    told: Json = evidence.model_dump(mode="json", exclude={"holdout"})
    look = evidence.holdout
    if look is None:
        return {**told, "holdout": None}
    return {
        **told,
        "holdout": {**look.model_dump(mode="json", exclude={"readings"}), "readings": _readings(look.readings)},
    }


def _readings(readings: Sequence[Criterion]) -> list[JsonValue]:
    return [{**reading.as_json()} for reading in readings]


def _plain(value: object) -> JsonValue:
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value if isinstance(value, str | int | float) else None
