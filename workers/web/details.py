"""Data that a page requests in addition to the topics: trial tables, parameter importances, failed jobs."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import JsonValue

from optimizer.forward.forward_test import FOLDER, read_forward_test
from optimizer.forward.summary import series_json
from optimizer.search.importance import importances
from optimizer.search.trial_summary import TrialView
from workers.coordinator import event_log
from workers.monitoring.overview import Overview
from workers.queue.failed_jobs import failed_jobs, requeue

log = logging.getLogger(__name__)

MAX_ROWS = 5_000
"""Maximum number of trials per response; the page requests the rest page by page."""


def trial_table(study: str, trials: Sequence[TrialView], after: int) -> JsonValue:
    """Return trials from offset `after` on as rows; rows need a tenth of the bytes of objects."""
    shown = trials[after : after + MAX_ROWS]
    names = sorted({name for trial in trials[:50] for name in trial.parameters})
    objectives = list(dict.fromkeys(name for trial in trials for name in trial.values))
    rows: list[JsonValue] = [
        [
            trial.number,
            trial.state,
            trial.value,
            trial.is_feasible,
            round(trial.seconds, 3),
            trial.ended,
            *(trial.parameters.get(name) for name in names),
            *(trial.values.get(name) for name in objectives),
        ]
        for trial in shown
    ]
    return {
        "study": study,
        "next": after + len(shown),
        "more": after + len(shown) < len(trials),
        "parameters": [*names],
        "columns": [
            "number",
            "state",
            "value",
            "feasible",
            "seconds",
            "ended",
            *names,
            *(f"value_{name}" for name in objectives),
        ],
        "trials": rows,
    }


class ImportanceCache:
    """Cache of parameter importances, recomputed after 10 % more trials."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[int, dict[str, float]]] = {}

    def of(self, study: str, trials: Sequence[TrialView], facts: Mapping[str, JsonValue]) -> JsonValue:
        """Return the importance of each parameter of an attempt."""
        counted, shares = self._known.get(study, (0, {}))
        if len(trials) >= counted * 1.1 or (not shares and len(trials) > counted):
            counted, shares = len(trials), importances(trials, _ranges(facts.get("level")))
            self._known[study] = counted, shares
        found: dict[str, JsonValue] = {**shares}
        return {"study": study, "trials": counted, "importances": found}


def forward_series(run_folder: Path, name: str) -> JsonValue:
    """Return the daily series of a run's forward test; None if there is none of that name.

    Raises:
        ForwardTestChanged: a file is not what was written.
    """
    test = read_forward_test(run_folder / FOLDER / name)
    return {"run": test.rule.run, "name": name, **series_json(test)} if test else None


def _ranges(level: JsonValue) -> dict[str, tuple[float, float]]:
    found = level.get("ranges") if isinstance(level, dict) else None
    if not isinstance(found, dict):
        return {}
    pairs = {name: bounds for name, bounds in found.items() if isinstance(bounds, list) and len(bounds) == 2}
    return {
        name: (float(low), float(high))
        for name, (low, high) in pairs.items()
        if isinstance(low, int | float) and isinstance(high, int | float)
    }


def failed(overview: Overview) -> JsonValue:
    """Return the latest failed jobs with their reasons."""
    return {"jobs": [job.to_json() for job in failed_jobs(overview.trials())]}


def requeue_jobs(overview: Overview, jobs: Sequence[str] | None) -> JsonValue:
    """Requeue the given or all failed jobs and record it in the event log of the latest run."""
    queued = requeue(overview.trials(), jobs)
    log.warning("failed jobs requeued", extra={"action": "jobs_requeued", "jobs": len(queued)})
    if queued and (run := overview.run().value):
        event_log.record(overview.sources.context.folder(run.name), "jobs_requeued", jobs=len(queued))
    return {"requeued": [*queued]}
