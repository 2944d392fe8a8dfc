"""How a run stands: each attempt's trials, best so far, gate and time left, from the study's database alone."""

from dataclasses import dataclass

from pydantic import JsonValue

from optimizer.curriculum import Action, End
from optimizer.runs import AttemptRow, RunRecord
from optimizer.watch import StudyWatch
from workers.place import Place
from workers.search import end_reason, next_of, read_run
from workers.tally import Tally, tally


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptStatus:
    """One attempt at a level."""

    row: AttemptRow
    title: str
    tally: Tally

    @property
    def eta_seconds(self) -> float | None:
        """Until the last trial; 0 of a search that was stopped before it."""
        return 0.0 if self.row.searched else self.tally.eta_seconds

    def to_json(self) -> dict[str, JsonValue]:
        """One entry of `levels` in what `optimize run --json` prints."""
        verdict, tally = self.row.verdict, self.tally
        return {
            "level": self.row.level,
            "title": self.title,
            "attempt": self.row.number,
            "trials": tally.trials,
            "carried": self.row.carried,
            "complete": tally.complete,
            "pruned": tally.pruned,
            "failed": tally.failed,
            "best_value": tally.best.value if tally.best else None,
            "best_trial": tally.best.number if tally.best else None,
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


def run_status(place: Place, name: str, now: float) -> RunStatus:
    """How a run stands at a moment, in Unix seconds; looking changes nothing.

    Raises:
        SettingsError: where there is no such run.
        ServiceUnreachable: where the study's database does not answer.
    """
    record = read_run(place, name)
    watch = StudyWatch(place.storage_url)
    try:
        attempts = tuple(_attempt(record, each, watch, now) for each in record.attempts)
    finally:
        watch.close()
    return RunStatus(record=record, attempts=attempts, action=next_of(place, record))


def _attempt(record: RunRecord, row: AttemptRow, watch: StudyWatch, now: float) -> AttemptStatus:
    level, trials = record.searched_level(row), watch.trials(record.study(row.level, row.number))
    found = tally(trials, carried=row.carried, wanted=level.trials, now=now)
    return AttemptStatus(row=row, title=level.title, tally=found)
