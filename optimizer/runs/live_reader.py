"""Monitoring access to runs and studies: read-only, each trial read once, without Optuna.

The coordinator commits a trial whole and never changes it, so a poll of a study of any size costs two small statements
and the new rows. A poll always reads all new rows, so counts are complete.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

from pydantic import JsonValue
from sqlalchemy import Connection, TextClause, bindparam, select, text
from sqlalchemy.engine import Row

from optimizer.objective.dominance import by_distance, front_of
from optimizer.runs.run_record import RunRecord
from optimizer.runs.run_store import parsed
from optimizer.search.database import RUNS, Database
from optimizer.search.trial_summary import TrialView

STATES: Mapping[str, str] = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
PIECE = 2_000
"""Trials per statement; a poll repeats the statement until all are read."""
T = TypeVar("T")
_STUDY = text("SELECT study_id FROM studies WHERE study_name = :name")
_FACTS = text(
    'SELECT a."key", a.value_json FROM study_user_attributes a JOIN studies s ON s.study_id = a.study_id '
    "WHERE s.study_name = :name"
)
_TRIALS = text(
    "SELECT trial_id, number, state, datetime_complete FROM trials "
    "WHERE study_id = :study AND trial_id > :after ORDER BY trial_id LIMIT :piece"
)
_PARAMETERS = text(
    "SELECT trial_id, param_name, param_value, distribution_json FROM trial_params WHERE trial_id IN :ids"
)
_VALUES = text(
    "SELECT trial_id, value FROM trial_values WHERE value_type = 'FINITE' AND trial_id IN :ids ORDER BY objective"
)
_ATTRIBUTES = text('SELECT trial_id, "key", value_json FROM trial_user_attributes WHERE trial_id IN :ids')
_CONSTRAINTS = text(
    'SELECT trial_id, "key", value_json FROM trial_system_attributes '
    "WHERE \"key\" LIKE 'constraint%' AND trial_id IN :ids"
)


@dataclass(slots=True)
class _StudyView:
    study: int
    last: int = -1
    trials: list[TrialView] = field(default_factory=list)


class StudyWatch:
    """Cached view of the runs and studies of one database. Not thread-safe."""

    def __init__(self, url: str, *, piece: int = PIECE) -> None:
        """`piece`: maximum number of trials per statement; does not affect results."""
        self._database = Database(url)
        self._piece = piece
        self._begun: dict[str, datetime] = {}
        """Creation time of each run; constant."""
        self._seen: dict[str, _StudyView] = {}
        self._facts: dict[str, dict[str, JsonValue]] = {}

    def runs(self) -> list[str]:
        """Return the names of all runs, latest last.

        Raises:
            ServiceUnreachable: the database does not respond; cached data is kept.
        """
        names = self._of_runs(lambda connection: list(connection.execute(select(RUNS.c.name)).scalars())) or []
        for name in names:
            if name not in self._begun and (facts := self._run(name)):
                self._begun[name] = datetime.fromisoformat(json.loads(facts)["created"])
        return sorted(self._begun.keys() & names, key=lambda name: (self._begun[name], name))

    def run(self, name: str) -> RunRecord | None:
        """Return the current record of a run; None if there is none of that name.

        Raises:
            SettingsError: another version wrote it.
            ServiceUnreachable: as in `runs`.
        """
        facts = self._run(name)
        return parsed(name, facts) if facts else None

    def trials(self, study: str) -> Sequence[TrialView]:
        """Return all finished trials of a study in commit order; empty if the study does not exist yet.

        Raises:
            ServiceUnreachable: as in `runs`.
        """
        return self._of_studies(lambda connection: self._look(connection, study)) or ()

    def facts(self, study: str) -> Mapping[str, JsonValue]:
        """Return the facts stored with a study; cached, because they never change.

        Raises:
            ServiceUnreachable: as in `runs`.
        """
        if study not in self._facts:
            found = self._of_studies(lambda connection: connection.execute(_FACTS, {"name": study}).all()) or []
            facts: dict[str, JsonValue] = {row.key: json.loads(row.value_json) for row in found}
            if "level" not in facts:  # just created: not all facts are stored yet
                return facts
            self._facts[study] = facts
        return self._facts[study]

    def close(self) -> None:
        """Close the connection."""
        self._database.close()

    def _run(self, name: str) -> str | None:
        row = select(RUNS.c.facts).where(RUNS.c.name == name)
        return self._of_runs(lambda connection: connection.execute(row).scalar_one_or_none())

    def _of_runs(self, work: Callable[[Connection], T]) -> T | None:
        return self._database.ask(work, is_known=bool(self._begun))

    def _of_studies(self, work: Callable[[Connection], T]) -> T | None:
        return self._database.ask(work, is_known=bool(self._seen))

    def _look(self, connection: Connection, study: str) -> Sequence[TrialView]:
        number = connection.execute(_STUDY, {"name": study}).scalar_one_or_none()
        if number is None:
            self._seen.pop(study, None)
            return ()
        seen = self._seen.get(study)
        if seen is None or seen.study != number:
            seen = self._seen[study] = _StudyView(study=number)
        while self._read_piece(connection, seen):
            pass
        return seen.trials

    def _read_piece(self, connection: Connection, seen: _StudyView) -> bool:
        """Read the next new trials and return whether there may be more."""
        wanted = {"study": seen.study, "after": seen.last, "piece": self._piece}
        rows = connection.execute(_TRIALS, wanted).all()
        # The coordinator's trials are finished when they appear; running trials of other tools are skipped.
        done = [row for row in rows if row.state in STATES]
        if done:
            seen.trials += _details(connection, done)
            seen.last = done[-1].trial_id
        return bool(done) and len(rows) == self._piece


def pareto_front(trials: Iterable[TrialView]) -> list[TrialView]:
    """Return the feasible trials of the Pareto front, in the order of `optimizer.objective.dominance`; empty with one
    objective.
    """
    feasible = [trial for trial in trials if trial.is_feasible and trial.values]
    distinct = {tuple(sorted(trial.parameters.items())): trial for trial in reversed(feasible)}
    earliest = sorted(distinct.values(), key=lambda trial: trial.number)
    front = [earliest[place] for place in front_of([[*trial.values.values()] for trial in earliest])]
    return [front[place] for place in by_distance([[*trial.values.values()] for trial in front])]


def best_so_far(trials: Sequence[TrialView]) -> TrialView | None:
    """Return the feasible trial with the highest value, with several objectives the first of the front; the earliest of
    equals.
    """
    if front := pareto_front(trials):
        return front[0]
    feasible = [trial for trial in trials if trial.is_feasible and trial.value is not None]
    return max(feasible, key=lambda trial: (trial.value, -trial.number), default=None)


def _details(connection: Connection, rows: Sequence[Row[tuple[int, int, str, datetime | None]]]) -> list[TrialView]:
    ids = [row.trial_id for row in rows]
    parameters: dict[int, dict[str, JsonValue]] = defaultdict(dict)
    for row in _of(connection, _PARAMETERS, ids):
        parameters[row.trial_id][row.param_name] = _external(row.param_value, row.distribution_json)
    values: dict[int, list[float]] = defaultdict(list)
    for row in _of(connection, _VALUES, ids):
        values[row.trial_id].append(row.value)
    attributes: dict[int, dict[str, JsonValue]] = defaultdict(dict)
    for row in _of(connection, _ATTRIBUTES, ids):
        attributes[row.trial_id][row.key] = json.loads(row.value_json)
    missed = {row.trial_id for row in _of(connection, _CONSTRAINTS, ids) if _is_missed(json.loads(row.value_json))}
    return [
        _trial(row, parameters[row.trial_id], values[row.trial_id], attributes[row.trial_id], row.trial_id in missed)
        for row in rows
    ]


def _of(connection: Connection, statement: TextClause, ids: Sequence[int]) -> Iterable[Row[tuple[object, ...]]]:
    expanding = statement.bindparams(bindparam("ids", expanding=True))
    for start in range(0, len(ids), 500):  # SQLite allows 32,766 variables, PostgreSQL 65,535
        yield from connection.execute(expanding, {"ids": ids[start : start + 500]})


def _trial(
    row: Row[tuple[int, int, str, datetime | None]],
    parameters: Mapping[str, JsonValue],
    values: Sequence[float],
    attributes: Mapping[str, JsonValue],
    is_missed: bool,
) -> TrialView:
    metrics = attributes.get("metrics")
    reason = attributes.get("failure") or attributes.get("pruned") or ""
    seconds = attributes.get("seconds")
    return TrialView(
        number=row.number,
        state=STATES[row.state],
        value=values[0] if values else None,
        values=_named(values, attributes.get("objectives")),
        is_feasible=row.state == "COMPLETE" and bool(values) and not is_missed,
        parameters=parameters,
        metrics=metrics if isinstance(metrics, dict) else {},  # type: ignore[arg-type]  # numbers and nulls
        worker=str(attributes.get("worker") or ""),
        ended=_unix(row.datetime_complete),
        seconds=float(seconds) if isinstance(seconds, int | float) else 0.0,
        reason=str(reason),
    )


def _named(values: Sequence[float], names: JsonValue) -> dict[str, float]:
    if len(values) < 2:
        return {}
    stored = names if isinstance(names, list) and len(names) == len(values) else range(len(values))
    return {str(name): value for name, value in zip(stored, values, strict=True)}


def _unix(moment: datetime | str | None) -> float | None:
    """Convert a stored time to Unix seconds: text in SQLite, datetime in PostgreSQL; UTC without a zone in both."""
    parsed = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return parsed.replace(tzinfo=UTC).timestamp() if parsed else None


def _external(value: float, distribution: str) -> JsonValue:
    described = json.loads(distribution)
    match described["name"]:
        case "IntDistribution":
            return int(value)
        case "CategoricalDistribution":
            choice: JsonValue = described["attributes"]["choices"][int(value)]
            return choice
    return value


def _is_missed(constraint: JsonValue) -> bool:
    """Return whether a stored constraint is violated; Optuna stores one number, or a list of all."""
    values = constraint if isinstance(constraint, list) else [constraint]
    return any(isinstance(value, int | float) and value > 0 for value in values)
