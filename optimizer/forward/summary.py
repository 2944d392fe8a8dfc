"""Forward tests as JSON: a summary for lists, the page, the metrics and the report, and the daily series."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import JsonValue

from optimizer.forward.day_log import DAYS_NAME, ForwardDay
from optimizer.forward.forward_test import FOLDER, ForwardTest, read_forward_test
from optimizer.forward.rule import RULE_NAME, day_after, digest_of, midnight
from optimizer.objective.metrics import sharpe
from optimizer.objective.trial_result import finite_or_none, rounded
from optimizer.validation.statistics.confidence_sequence import DAYS_A_YEAR
from tradeschool.errors import TradeschoolError

EPOCH_ORDINAL = 719_163
"""Proleptic ordinal of 1970-01-01."""


def forward_json(test: ForwardTest) -> dict[str, JsonValue]:
    """Return the summary of a forward test."""
    return {**_rule_json(test), **_result_json(test), "error": ""}


def _rule_json(test: ForwardTest) -> dict[str, JsonValue]:
    """Return what was written before the first day."""
    rule = test.rule
    return {
        "name": rule.name,
        "run": rule.run,
        "level": rule.level,
        "attempt": rule.attempt,
        "trial": rule.trial,
        "is_replay": rule.end is not None,
        "created": rule.created.isoformat(),
        "start": rule.start.isoformat(),
        "end": rule.end.isoformat() if rule.end else None,
        "max_days": rule.limits.max_days,
        "size": rule.size,
        "bound": rule.bound,
        "parameters": dict(rule.parameters),
        "datasets": [each.dataset for each in rule.datasets],
        "rule": [*rule.sentences],
        "rule_digest": digest_of(test.folder),
        "e_value_required": rounded(1 / rule.limits.alpha_deploy),
    }


def _result_json(test: ForwardTest) -> dict[str, JsonValue]:
    """Return the figures of the recorded days, and what the rule says after the last one."""
    days, last, rule = test.log.days, test.last, test.rule
    returns = np.array([each.daily_return for each in days])
    a_year = math.sqrt(DAYS_A_YEAR) / rule.deviation
    lower, upper = (last.lower, last.upper) if last else (None, None)
    return {
        "days": len(days),
        "known_days": sum(midnight(day_after(each.day)) <= rule.created for each in days),
        "read_days": sum(each.day < rule.data_end for each in days),
        "last_day": last.day.isoformat() if last else None,
        "next_day": None if test.is_over else test.next_day.isoformat(),
        "action": test.action.value,
        "reason": last.reason if last else "no day is recorded yet",
        "is_over": test.is_over,
        "equity": last.equity if last else 1.0,
        "drawdown": last.drawdown if last else 0.0,
        "sharpe": finite_or_none(rounded(sharpe(returns))) if days else None,
        "mean": rounded(float(returns.mean())) if days else None,
        "lower": lower,
        "upper": upper,
        "lower_sharpe": _times(lower, a_year),
        "upper_sharpe": _times(upper, a_year),
        "e_value": last.e_value if last else 1.0,
        "code_changes": len(test.log.accepted),
    }


def series_json(test: ForwardTest) -> dict[str, JsonValue]:
    """Return the daily series of a forward test, by day since 1970."""
    days: Sequence[ForwardDay] = test.log.days
    return {
        "days": [each.day.toordinal() - EPOCH_ORDINAL for each in days],
        "equity": [each.equity for each in days],
        "lower": [each.lower for each in days],
        "upper": [each.upper for each in days],
        "e_value": [each.e_value for each in days],
        "action": [each.action.value for each in days],
    }


def forward_folders(run_folder: Path) -> list[Path]:
    """Return the folders of a run's forward tests, by name."""
    return sorted(path.parent for path in (run_folder / FOLDER).glob(f"*/{RULE_NAME}"))


def forward_summaries(results_dir: Path) -> list[dict[str, JsonValue]]:
    """Return the summaries of all runs' forward tests; an unreadable one has its error instead."""
    return SummaryCache().look(results_dir)


class SummaryCache:
    """Summaries of all runs' forward tests; a test is read again once its files have changed."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[object, dict[str, JsonValue]]] = {}

    def look(self, results_dir: Path) -> list[dict[str, JsonValue]]:
        """Return all summaries, by run and name."""
        runs = sorted(path for path in results_dir.glob("*") if (path / FOLDER).is_dir())
        found = {folder: (run.name, _stamp(folder)) for run in runs for folder in forward_folders(run)}
        self._known = {
            folder: self._known[folder]
            if folder in self._known and self._known[folder][0] == stamp
            else (stamp, _summary(run, folder))
            for folder, (run, stamp) in found.items()
        }
        return [summary for _, summary in self._known.values()]


def run_summaries(run_folder: Path) -> list[dict[str, JsonValue]]:
    """Return the summaries of one run's forward tests."""
    return [_summary(run_folder.name, folder) for folder in forward_folders(run_folder)]


def _summary(run: str, folder: Path) -> dict[str, JsonValue]:
    try:
        test = read_forward_test(folder)
    except TradeschoolError as error:
        return {"name": folder.name, "run": run, "error": str(error)}
    return forward_json(test) if test else {"name": folder.name, "run": run, "error": "the rule was removed"}


def _stamp(folder: Path) -> object:
    """Return what changes with the files of a forward test."""
    paths = (folder / RULE_NAME, folder / DAYS_NAME)
    looks = [path.stat() if path.exists() else None for path in paths]
    return [look and (look.st_mtime_ns, look.st_size) for look in looks]


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else rounded(value * factor)
