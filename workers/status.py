"""How a run stands: each attempt's trials, best so far, gate and time left, from the study's database alone."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from optimizer.curriculum import Action, End
from optimizer.runs import AttemptRow, RunRecord
from optimizer.watch import SeenTrial, StudyWatch, best_so_far
from workers.place import Place
from workers.search import end_reason, next_of, read_run

PACE_TRIALS = 20
"""Latest trials from which the pace is taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptStatus:
    """One attempt at a level."""

    row: AttemptRow
    title: str
    trials: int
    """Wanted; those that were carried over are neither wanted nor counted."""
    complete: int
    pruned: int
    failed: int
    best: SeenTrial | None
    """The feasible trial with the highest value on train, carried ones included."""
    eta_seconds: float | None
    """Until the last trial, at the pace of the latest ones; None where there is none yet."""

    @property
    def finished(self) -> int:
        """Trials that are committed."""
        return self.complete + self.pruned + self.failed

    def to_json(self) -> dict[str, JsonValue]:
        """One entry of `levels` in what `optimize run --json` prints."""
        verdict = self.row.verdict
        return {
            "level": self.row.level,
            "title": self.title,
            "attempt": self.row.number,
            "trials": self.trials,
            "carried": self.row.carried,
            "complete": self.complete,
            "pruned": self.pruned,
            "failed": self.failed,
            "best_value": self.best.value if self.best else None,
            "best_trial": self.best.number if self.best else None,
            "best_params": dict(verdict.parameters) if verdict and verdict.parameters else None,
            "winner": verdict.trial if verdict else None,
            "gate": [dict(each.as_json()) for each in verdict.readings] if verdict else [],
            "passed": verdict.passed if verdict else None,
            "relaxed": verdict.relaxed if verdict else 0.0,
            "reason": verdict.reason if verdict else None,
            "eta_seconds": self.eta_seconds,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStatus:
    """One run."""

    record: RunRecord
    attempts: tuple[AttemptStatus, ...]
    """In the order in which they were begun."""
    action: Action
    """What comes next."""

    @property
    def outcome(self) -> str | None:
        """passed or escalated; None where the run is not at its end."""
        return self.action.outcome if isinstance(self.action, End) else None

    @property
    def reason(self) -> str:
        """How the run ended, or what it does next, in a sentence."""
        match self.action:
            case End(outcome, level):
                return end_reason(self.record, outcome, level)
            case action:
                attempt = f", attempt {action.attempt}" if hasattr(action, "attempt") else ""
                return f"next: {type(action).__name__.lower()} level {action.level}{attempt}"

    def to_json(self) -> dict[str, JsonValue]:
        """What `optimize status --json` and, at a run's end, `optimize run --json` print."""
        levels: list[JsonValue] = [each.to_json() for each in self.attempts]
        forced: list[JsonValue] = [each.model_dump(mode="json") for each in self.record.forced]
        return {
            "run": self.record.name,
            "seed": self.record.seed,
            "created": self.record.created.isoformat(),
            "levels": levels,
            "waiting": [level.name for level in self.record.levels if self.record.last(level.name) is None],
            "outcome": self.outcome,
            "exit_reason": self.reason,
            "forced": forced,
        }


def run_status(place: Place, name: str) -> RunStatus:
    """How a run stands; looking changes nothing.

    Raises:
        SettingsError: where there is no such run.
        ServiceUnreachable: where the study's database does not answer.
    """
    record = read_run(place, name)
    watch = StudyWatch(place.storage_url)
    try:
        attempts = tuple(_attempt(record, each, watch) for each in record.attempts)
    finally:
        watch.close()
    return RunStatus(record=record, attempts=attempts, action=next_of(place, record))


def _attempt(record: RunRecord, row: AttemptRow, watch: StudyWatch) -> AttemptStatus:
    level = record.searched_level(row)
    trials = watch.trials(record.study(row.level, row.number))
    own = trials[row.carried :]
    states: Mapping[str, int] = Counter(trial.state for trial in own)
    return AttemptStatus(
        row=row,
        title=level.title,
        trials=level.trials,
        complete=states.get("complete", 0),
        pruned=states.get("pruned", 0),
        failed=states.get("failed", 0),
        best=best_so_far(trials),
        eta_seconds=0.0 if row.searched else _eta_seconds(own, level.trials),
    )


def _eta_seconds(trials: Sequence[SeenTrial], wanted: int) -> float | None:
    ends = [trial.ended for trial in trials[-PACE_TRIALS:] if trial.ended is not None]
    if len(ends) < 2 or max(ends) <= min(ends):
        return None
    return (wanted - len(trials)) * (max(ends) - min(ends)) / (len(ends) - 1)
