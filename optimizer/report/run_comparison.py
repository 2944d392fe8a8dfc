"""Comparison of two runs as JSON: winners, metrics with paired intervals, gates, recommendation, data and settings."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import JsonValue

from optimizer.level.metric_names import METRICS
from optimizer.level.spec import Level
from optimizer.objective.portfolio import Portfolio
from optimizer.objective.trial_result import finite_or_none
from optimizer.report.equity_file import accounts_of, holdout_account
from optimizer.runs.run_record import AttemptRow, RunRecord, Verdict
from optimizer.validation.gate import Criterion
from optimizer.validation.holdout_log import HOLDOUT
from optimizer.validation.statistics.paired_difference import PairedDifferences, paired_differences

SEED = 1
"""Seed of the intervals: the same runs give the same comparison."""
Json = dict[str, JsonValue]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedRun:
    """A run and the equity files of its levels."""

    record: RunRecord
    equity: Mapping[str, JsonValue]
    """Content of `equity.json` by level; None if there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Winner:
    """The latest judged attempt at a level, and the metrics and accounts of its winner by part."""

    level: Level
    attempt: AttemptRow | None
    metrics: Mapping[str, Mapping[str, float | None]]
    accounts: Mapping[str, Portfolio]

    @property
    def verdict(self) -> Verdict | None:
        return self.attempt.verdict if self.attempt else None


def comparison_json(one: ComparedRun, other: ComparedRun, levels: Sequence[str]) -> Json:
    """Return the comparison of two runs over these levels, which both have. Each pair of values is in the runs' order.

    A difference is the second run minus the first, on the common days of a part.
    """
    records = (one.record, other.record)
    names = [[level.name for level in record.levels] for record in records]
    return {
        "runs": [record.name for record in records],
        "created": [record.created.isoformat() for record in records],
        "code": _pair(records[0].fingerprints.get("code"), records[1].fingerprints.get("code")),
        "settings": _settings(_of_run(records[0]), _of_run(records[1])),
        "only_in": [
            [name for name in names[0] if name not in names[1]],
            [name for name in names[1] if name not in names[0]],
        ],
        "levels": [_level_json(_winner(one, name), _winner(other, name), records) for name in levels],
        "recommendation": _recommendations(*records),
    }


def _winner(run: ComparedRun, name: str) -> _Winner:
    judged = [row for row in run.record.attempts if row.level == name and row.verdict]
    verdict = judged[-1].verdict if judged else None
    if verdict is None or verdict.trial is None:
        return _Winner(level=run.record.level(name), attempt=judged[-1] if judged else None, metrics={}, accounts={})
    metrics: dict[str, Mapping[str, float | None]] = {part.value: found for part, found in verdict.figures.items()}
    accounts = accounts_of(run.equity.get(name))
    evidence = run.record.recommendation.evidence if run.record.recommendation else None
    if evidence and evidence.holdout and (evidence.level, evidence.trial) == (name, verdict.trial):
        metrics[HOLDOUT] = evidence.holdout.metrics
        accounts[HOLDOUT] = holdout_account(evidence.holdout)
    return _Winner(level=run.record.level(name), attempt=judged[-1], metrics=metrics, accounts=accounts)


def _level_json(one: _Winner, other: _Winner, records: tuple[RunRecord, RunRecord]) -> Json:
    winners, verdicts = (one, other), (one.verdict, other.verdict)
    parts = [part for part in one.metrics if part in other.metrics]
    return {
        "level": one.level.name,
        "strategy": [each.level.strategy for each in winners],
        "attempts": [each.attempt.number if each.attempt else 0 for each in winners],
        "winners": [each.trial if each else None for each in verdicts],
        "passed": [each.passed if each else None for each in verdicts],
        "relaxed": [each.relaxed if each else 0.0 for each in verdicts],
        "reasons": [each.reason if each else "not judged" for each in verdicts],
        "parameters": _parameters(*verdicts),
        "gate": _gate(*verdicts),
        "parts": [_part_json(part, one, other) for part in parts],
        "data": _data(one.level, other.level, *records),
        "settings": _settings(one.level.model_dump(mode="json"), other.level.model_dump(mode="json")),
    }


def _parameters(one: Verdict | None, other: Verdict | None) -> list[JsonValue]:
    found = [dict(each.parameters or {}) if each else {} for each in (one, other)]
    return [
        {"name": name, "values": [each.get(name) for each in found]} for name in dict.fromkeys((*found[0], *found[1]))
    ]


def _gate(one: Verdict | None, other: Verdict | None) -> list[JsonValue]:
    found = [{each.name: each for each in verdict.readings} if verdict else {} for verdict in (one, other)]
    return [
        {"name": name, "readings": [_reading(each.get(name)) for each in found]}
        for name in dict.fromkeys((*found[0], *found[1]))
    ]


def _reading(reading: Criterion | None) -> JsonValue:
    return {**reading.as_json()} if reading else None


def _part_json(part: str, one: _Winner, other: _Winner) -> Json:
    accounts = [each.accounts.get(part) for each in (one, other)]
    first, second = accounts
    found = paired_differences(first, second, SEED) if first and second else None
    return {
        "part": part,
        "days": [_days(each) for each in accounts],
        "common": [found.days, _date(found.first_day), _date(found.last_day)] if found else None,
        "note": None if found else _why_not(part, first, second),
        "metrics": [_metric(name, part, one, other, found) for name in METRICS],
    }


def _metric(name: str, part: str, one: _Winner, other: _Winner, found: PairedDifferences | None) -> Json:
    difference = found.by_metric.get(name) if found else None
    return {
        "name": name,
        "values": [_finite(each.metrics[part].get(name)) for each in (one, other)],
        "difference": finite_or_none(difference.value) if difference else None,
        "low": finite_or_none(difference.low) if difference else None,
        "high": finite_or_none(difference.high) if difference else None,
    }


def _why_not(part: str, one: Portfolio | None, other: Portfolio | None) -> str:
    if one is None or other is None:
        return f"{part}: the daily returns are not in the results folder, so there are no differences"
    spans = f"{_span(one)} and {_span(other)}"
    return f"{part}: the days of the runs do not overlap ({spans}), so there are no differences"


def _days(account: Portfolio | None) -> JsonValue:
    if account is None or not len(account.days):
        return None
    return [len(account.days), _date(int(account.days[0])), _date(int(account.days[-1]))]


def _span(account: Portfolio) -> str:
    return f"{_date(int(account.days[0]))} to {_date(int(account.days[-1]))}" if len(account.days) else "no day"


def _date(day: int) -> str:
    return datetime.fromtimestamp(day * 86_400, UTC).date().isoformat()


def _data(one: Level, other: Level, *records: RunRecord) -> list[JsonValue]:
    """Return each dataset with its ranges and digests."""
    rows = [dict(_ranges(level, record)) for level, record in zip((one, other), records, strict=True)]
    return [
        {
            "dataset": key[0],
            "ranges": [row[key][0] if key in row else None for row in rows],
            "digests": [row[key][1] if key in row else None for row in rows],
            "same": rows[0].get(key) == rows[1].get(key),
        }
        for key in dict.fromkeys((*rows[0], *rows[1]))
    ]


def _ranges(level: Level, record: RunRecord) -> Iterator[tuple[tuple[str, int], tuple[str, str | None]]]:
    """Yield range and digest by dataset and occurrence, because a level may use several ranges of a dataset."""
    seen: Counter[str] = Counter()
    for each in level.datasets:
        window = each.window.name
        yield (each.dataset, seen[each.dataset]), (window, record.candles.get(f"{each.dataset} {window}"))
        seen[each.dataset] += 1


def _of_run(record: RunRecord) -> Json:
    return {
        "seed": record.seed,
        "surrogates": record.surrogates,
        "holdout": str(record.holdout.window),
        "forced": len(record.forced),
    }


def _settings(one: Mapping[str, JsonValue], other: Mapping[str, JsonValue]) -> list[JsonValue]:
    """Return the settings that differ, by dotted name; datasets are compared as data."""
    found = [dict(_flat("", dict(each))) for each in (one, other)]
    return [
        {"name": name, "values": [each.get(name) for each in found]}
        for name in dict.fromkeys((*found[0], *found[1]))
        if found[0].get(name) != found[1].get(name) and name != "datasets"
    ]


def _flat(prefix: str, value: JsonValue) -> Iterator[tuple[str, JsonValue]]:
    if isinstance(value, dict) and value:
        for name, each in value.items():
            yield from _flat(f"{prefix}.{name}" if prefix else name, each)
    else:
        yield prefix, value


def _recommendations(*records: RunRecord) -> Json | None:
    found = [record.recommendation for record in records]
    if not any(found):
        return None
    checks = [{each.name: each for each in one.checks} if one else {} for one in found]
    return {
        "actions": [one.action_words if one else None for one in found],
        "reasons": [f"{one.rule}: {one.reason}" if one else None for one in found],
        "checks": [
            {
                "name": name,
                "answers": next(each[name].axis.value for each in checks if name in each),
                "met": [each[name].met if name in each else None for each in checks],
                "found": [each[name].found if name in each else None for each in checks],
            }
            for name in dict.fromkeys((*checks[0], *checks[1]))
        ],
    }


def _pair(one: str | None, other: str | None) -> Json:
    return {"fingerprints": [one, other], "same": one == other}


def _finite(value: float | None) -> float | None:
    return None if value is None else finite_or_none(value)
