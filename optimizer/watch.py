"""Runs and studies seen from outside: read-only connections, each trial read once, nothing of Optuna's loaded.

A conductor commits a trial whole and never touches it again, so a look at a study of any size costs two small
statements and the rows that are new. A look always takes in all of them: what is counted is counted over the whole.
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

from optimizer.database import RUNS, Database
from optimizer.runs import RunRecord, parsed

STATES: Mapping[str, str] = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
PIECE = 2_000
"""Trials that one statement reads; a look reads piece after piece until it has all of them."""

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
_VALUES = text("SELECT trial_id, value, value_type FROM trial_values WHERE objective = 0 AND trial_id IN :ids")
_ATTRIBUTES = text('SELECT trial_id, "key", value_json FROM trial_user_attributes WHERE trial_id IN :ids')
_CONSTRAINTS = text(
    'SELECT trial_id, "key", value_json FROM trial_system_attributes '
    "WHERE \"key\" LIKE 'constraint%' AND trial_id IN :ids"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenTrial:
    """A finished trial, as far as somebody who watches wants to know it."""

    number: int
    state: str
    """complete, pruned or failed."""
    value: float | None
    """On train; None where it has none."""
    is_feasible: bool
    """Complete, and no constraint is missed."""
    parameters: Mapping[str, JsonValue]
    metrics: Mapping[str, float | None]
    worker: str
    ended: float | None
    """Unix time in seconds."""
    seconds: float
    """That its evaluation took."""
    reason: str
    """Why it was pruned or failed."""


@dataclass(slots=True)
class _Seen:
    study: int
    last: int = -1
    trials: list[SeenTrial] = field(default_factory=list)


class StudyWatch:
    """What is known of the runs and studies of one database; to be used by one thread at a time."""

    def __init__(self, url: str, *, piece: int = PIECE) -> None:
        """`piece`: how many trials one statement reads at most; no answer depends on it."""
        self._database = Database(url)
        self._piece = piece
        self._begun: dict[str, datetime] = {}
        """When each run was begun: it never changes."""
        self._seen: dict[str, _Seen] = {}
        self._facts: dict[str, dict[str, JsonValue]] = {}

    def runs(self) -> list[str]:
        """The names of all runs, the one that was begun last at the end.

        Raises:
            ServiceUnreachable: where the database does not answer; what was known is kept.
        """
        names = self._of_runs(lambda connection: list(connection.execute(select(RUNS.c.name)).scalars())) or []
        for name in names:
            if name not in self._begun and (facts := self._run(name)):
                self._begun[name] = datetime.fromisoformat(json.loads(facts)["created"])
        return sorted(self._begun.keys() & names, key=lambda name: (self._begun[name], name))

    def run(self, name: str) -> RunRecord | None:
        """A run as the database knows it now, None where there is none of that name.

        Raises:
            SettingsError: where another version wrote it.
            ServiceUnreachable: as `runs` does.
        """
        facts = self._run(name)
        return parsed(name, facts) if facts else None

    def trials(self, study: str) -> Sequence[SeenTrial]:
        """All finished trials of a study in the order of their commit; none where no such study was made yet.

        Raises:
            ServiceUnreachable: as `runs` does.
        """
        return self._of_studies(lambda connection: self._look(connection, study)) or ()

    def facts(self, study: str) -> Mapping[str, JsonValue]:
        """What was stored with a study when it was made; asked once, since it never changes.

        Raises:
            ServiceUnreachable: as `runs` does.
        """
        if study not in self._facts:
            found = self._of_studies(lambda connection: connection.execute(_FACTS, {"name": study}).all()) or []
            facts: dict[str, JsonValue] = {row.key: json.loads(row.value_json) for row in found}
            if "level" not in facts:  # made a moment ago: not all of them are there yet
                return facts
            self._facts[study] = facts
        return self._facts[study]

    def close(self) -> None:
        """Give the connection back."""
        self._database.close()

    def _run(self, name: str) -> str | None:
        row = select(RUNS.c.facts).where(RUNS.c.name == name)
        return self._of_runs(lambda connection: connection.execute(row).scalar_one_or_none())

    def _of_runs(self, work: Callable[[Connection], T]) -> T | None:
        return self._database.ask(work, is_known=bool(self._begun))

    def _of_studies(self, work: Callable[[Connection], T]) -> T | None:
        return self._database.ask(work, is_known=bool(self._seen))

    def _look(self, connection: Connection, study: str) -> Sequence[SeenTrial]:
        number = connection.execute(_STUDY, {"name": study}).scalar_one_or_none()
        if number is None:
            self._seen.pop(study, None)
            return ()
        seen = self._seen.get(study)
        if seen is None or seen.study != number:
            seen = self._seen[study] = _Seen(study=number)
        while self._read_piece(connection, seen):
            pass
        return seen.trials

    def _read_piece(self, connection: Connection, seen: _Seen) -> bool:
        """Take in the next new trials; whether there may be more."""
        wanted = {"study": seen.study, "after": seen.last, "piece": self._piece}
        rows = connection.execute(_TRIALS, wanted).all()
        # A conductor's trial is finished when it appears; what runs under another's hands is not looked at.
        done = [row for row in rows if row.state in STATES]
        if done:
            seen.trials += _details(connection, done)
            seen.last = done[-1].trial_id
        return bool(done) and len(rows) == self._piece


def best_so_far(trials: Iterable[SeenTrial]) -> SeenTrial | None:
    """The feasible trial with the highest value; the earliest of equals."""
    feasible = [trial for trial in trials if trial.is_feasible and trial.value is not None]
    return max(feasible, key=lambda trial: (trial.value, -trial.number), default=None)


def _details(connection: Connection, rows: Sequence[Row[tuple[int, int, str, datetime | None]]]) -> list[SeenTrial]:
    ids = [row.trial_id for row in rows]
    parameters: dict[int, dict[str, JsonValue]] = defaultdict(dict)
    for row in _of(connection, _PARAMETERS, ids):
        parameters[row.trial_id][row.param_name] = _external(row.param_value, row.distribution_json)
    values = {row.trial_id: row.value for row in _of(connection, _VALUES, ids) if row.value_type == "FINITE"}
    attributes: dict[int, dict[str, JsonValue]] = defaultdict(dict)
    for row in _of(connection, _ATTRIBUTES, ids):
        attributes[row.trial_id][row.key] = json.loads(row.value_json)
    missed = {row.trial_id for row in _of(connection, _CONSTRAINTS, ids) if _is_missed(json.loads(row.value_json))}
    return [
        _trial(
            row, parameters[row.trial_id], values.get(row.trial_id), attributes[row.trial_id], row.trial_id in missed
        )
        for row in rows
    ]


def _of(connection: Connection, statement: TextClause, ids: Sequence[int]) -> Iterable[Row[tuple[object, ...]]]:
    expanding = statement.bindparams(bindparam("ids", expanding=True))
    for start in range(0, len(ids), 500):  # SQLite takes 32,766 variables, PostgreSQL 65,535
        yield from connection.execute(expanding, {"ids": ids[start : start + 500]})


def _trial(
    row: Row[tuple[int, int, str, datetime | None]],
    parameters: Mapping[str, JsonValue],
    value: float | None,
    attributes: Mapping[str, JsonValue],
    is_missed: bool,
) -> SeenTrial:
    metrics = attributes.get("metrics")
    reason = attributes.get("failure") or attributes.get("pruned") or ""
    seconds = attributes.get("seconds")
    return SeenTrial(
        number=row.number,
        state=STATES[row.state],
        value=value,
        is_feasible=row.state == "COMPLETE" and value is not None and not is_missed,
        parameters=parameters,
        metrics=metrics if isinstance(metrics, dict) else {},  # type: ignore[arg-type]  # ours: numbers and nulls
        worker=str(attributes.get("worker") or ""),
        ended=_unix(row.datetime_complete),
        seconds=float(seconds) if isinstance(seconds, int | float) else 0.0,
        reason=str(reason),
    )


def _unix(moment: datetime | str | None) -> float | None:
    """SQLite says a moment as text, PostgreSQL as a datetime; Optuna stores UTC, without saying so."""
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
    """Optuna stores a constraint each, or all in a list; above zero is missed."""
    values = constraint if isinstance(constraint, list) else [constraint]
    return any(isinstance(value, int | float) and value > 0 for value in values)
