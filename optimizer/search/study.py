"""Study storage: one study per attempt in a database, with one writer and any number of readers.

Finished trials are committed whole and in number order, in Optuna's own format: `optuna.load_study` and `best_trial`
read values, steps, constraints and attributes without this project.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial
from pydantic import JsonValue
from sqlalchemy import event, text
from sqlalchemy.engine import Engine, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, IntegrityError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.orm import Session
from sqlalchemy.orm.unitofwork import UOWTransaction
from sqlalchemy.pool import ConnectionPoolEntry

from optimizer.level.spec import Level, Parameters
from optimizer.search.database import WRITE_SECONDS, driver_arguments, split_pool, unreachable
from optimizer.search.methods.optuna_setup import silence_optuna
from optimizer.search.trial_writer import can_write, write
from tradeschool.errors import ServiceUnreachable, SettingsError, StudyChanged
from tradeschool.settings.urls import mask_url

UNIQUE_NUMBERS = "CREATE UNIQUE INDEX IF NOT EXISTS tradeschool_trial_numbers ON trials (study_id, number)"
"""Unique index on trial numbers; Optuna alone lets two processes store the same number."""


METRIC_NAMES_KEY = "study:metric_names"
"""Optuna's attribute for the names of objectives."""
NOTE_VERSION_KEY, NOTE_KEY = "dashboard:note_ver", "dashboard:note_str:0"
"""Attributes of optuna-dashboard's note of a study."""
NOTE = (
    "**Best Trial on this page ignores the constraints.** A trial that violates one is never chosen by tradeschool. "
    "The best feasible trials: `tradeschool optimize best RUN`. The name of this study is RUN-L*level*-a*attempt*, "
    "and -w*window* for the search of a walk-forward window."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyFacts:
    """Facts that determine a study's trials; stored with it and constant over its lifetime."""

    level: Level
    seed: int
    fingerprints: Mapping[str, str]
    """Digests of code, data and settings, by name."""
    first_points: tuple[Parameters, ...] = ()
    """Parameters of trials 0, 1, ..., inherited from the previous level."""
    reused: int = 0
    """Number of trials carried over from an earlier attempt; the study starts with them."""

    def attributes(self) -> dict[str, JsonValue]:
        """Return the stored attributes by name."""
        return {
            "level": self.level.model_dump(mode="json"),
            "lag": self.level.lag,
            "seed": self.seed,
            "first_points": [dict(point) for point in self.first_points],
            "reused": self.reused,
            **{f"fingerprint:{name}": digest for name, digest in self.fingerprints.items()},
        }


class OpenStudy:
    """One open study in its database."""

    def __init__(self, storage: RDBStorage, study: Study, name: str, where: str) -> None:
        self.name = name
        self._storage, self._study, self._where = storage, study, where
        self._is_known = can_write(storage.engine)
        """Whether trials can be written in bulk; Optuna's own method takes twenty times as long."""
        self._expected = -1
        event.listen(storage.scoped_session, "before_flush", self._guard_number)

    def trials(self) -> list[FrozenTrial]:
        """Return all trials in number order, read from the database.

        Raises:
            ServiceUnreachable: the database does not respond.
        """
        with _translated(self._where):
            # Not through the study, whose cache would hide what another process wrote under a known number.
            trials = self._storage.get_all_trials(self._study_id, deepcopy=False)
        return sorted(trials, key=lambda trial: trial.number)

    def commit(self, *trials: FrozenTrial) -> None:
        """Store finished trials under their own numbers, in one transaction if the table layout is known.

        Raises:
            StudyChanged: the first number is not the next one, because another process has written.
            ServiceUnreachable: the database does not respond.
        """
        with _translated(self._where):
            if self._is_known:
                self._write(trials)
                return
            for trial in trials:
                self._expected = trial.number
                self._study.add_trial(trial)

    def close(self) -> None:
        """Close the database connections."""
        self._storage.scoped_session.remove()
        self._storage.engine.dispose()

    @property
    def _study_id(self) -> int:
        return self._study._study_id  # Optuna has no public access to the study id

    def _write(self, trials: Sequence[FrozenTrial]) -> None:
        first = trials[0].number
        try:
            with self._storage.engine.begin() as connection:
                expected = write(connection, self._study_id, trials)
                if expected != first:
                    raise self._changed(first, expected)
        except IntegrityError as error:
            raise self._changed(first, first + 1) from error

    def _guard_number(self, session: Session, _: UOWTransaction, __: object) -> None:
        # Optuna assigns the number inside the transaction; this is the last point at which it can be rejected.
        for row in session.dirty:
            number = getattr(row, "number", None)
            if number is not None and number != self._expected:
                raise self._changed(self._expected, number)

    def _changed(self, number: int, found: int) -> StudyChanged:
        return StudyChanged(
            f"study {self.name}: expected {number} as the next trial number, was {found}: "
            "another process writes to this study; read its trials again"
        )


def open_study(url: str, name: str, facts: StudyFacts) -> OpenStudy:
    """Open the study of that name; create it if it does not exist.

    Raises:
        SettingsError: the study exists with other facts; names the first that differs.
        ServiceUnreachable: the database does not respond, or the URL is invalid.
    """
    silence_optuna()
    where = mask_url(url)
    with _translated(where):
        storage = _open_storage(url)
        directions = [StudyDirection.MAXIMIZE for _ in facts.level.objective]
        study = optuna.create_study(storage=storage, study_name=name, directions=directions, load_if_exists=True)
        _check_facts(study, facts)
        _describe(storage, study, facts)
    return OpenStudy(storage, study, name, where)


def _describe(storage: RDBStorage, study: Study, facts: StudyFacts) -> None:
    """Store names of the objectives, and the note that optuna-dashboard shows above its "Best Trial"."""
    if NOTE_VERSION_KEY in storage.get_study_system_attrs(study._study_id):
        return
    attributes: dict[str, Any] = {METRIC_NAMES_KEY: list(facts.level.objective), NOTE_KEY: NOTE, NOTE_VERSION_KEY: 1}
    for key, value in attributes.items():
        storage.set_study_system_attr(study._study_id, key, value)


def read_trials(url: str, name: str) -> list[FrozenTrial]:
    """Return the current trials of a study in number order; creates and checks nothing.

    Raises:
        SettingsError: there is no study of that name.
        ServiceUnreachable: the database does not respond.
    """
    silence_optuna()
    with _translated(mask_url(url)):
        try:
            return optuna.load_study(study_name=name, storage=_open_storage(url)).get_trials(deepcopy=False)
        except KeyError:
            raise SettingsError(f"no study {name!r} in {mask_url(url)}") from None


def remove_study(url: str, name: str) -> None:
    """Remove a study with its trials; a missing one is no error.

    Raises:
        ServiceUnreachable: the database does not respond.
    """
    silence_optuna()
    with _translated(mask_url(url)), suppress(KeyError):
        optuna.delete_study(study_name=name, storage=_open_storage(url))


def _open_storage(url: str) -> RDBStorage:
    is_sqlite = make_url(url).get_backend_name() == "sqlite"
    address, pool = split_pool(url)
    arguments = {"connect_args": driver_arguments(address), "pool_pre_ping": not is_sqlite, **pool}
    storage = RDBStorage(
        url if not pool else make_url(address).render_as_string(hide_password=False), engine_kwargs=arguments
    )
    if is_sqlite:
        event.listen(storage.engine, "connect", _set_pragmas)
        # Optuna created its tables over a connection without the pragmas.
        storage.engine.dispose()
    _create_index(storage.engine)
    return storage


def _set_pragmas(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={WRITE_SECONDS * 1000}"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _create_index(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text(UNIQUE_NUMBERS))


def _check_facts(study: Study, facts: StudyFacts) -> None:
    stored = study.user_attrs
    expected = json.loads(json.dumps(facts.attributes()))
    for name, value in expected.items():
        if name in stored and stored[name] != value:
            raise SettingsError(_difference(study.study_name, name, stored[name], value))
    for name in stored:
        if name.startswith("fingerprint:") and name not in expected:
            raise SettingsError(_difference(study.study_name, name, stored[name], None))
    # A kill between the study's creation and its last fact leaves some out; the study has no trial then.
    for name in expected.keys() - stored.keys():
        study.set_user_attr(name, expected[name])


def _difference(study: str, name: str, stored: JsonValue, wanted: JsonValue) -> str:
    if isinstance(stored, dict) and isinstance(wanted, dict):
        field = next(key for key in sorted(stored.keys() | wanted.keys()) if stored.get(key) != wanted.get(key))
        return _difference(study, f"{name}.{field}", stored.get(field), wanted.get(field))
    return (
        f"study {study}: {name} is {json.dumps(wanted)}, but the study was created with {json.dumps(stored)}: "
        "restore that value or start a new run"
    )


@contextmanager
def _translated(where: str) -> Iterator[None]:
    try:
        yield
    except (ArgumentError, NoSuchModuleError, ImportError) as error:
        reason = "unknown database type" if not isinstance(error, ImportError) else "its driver is not installed"
        raise ServiceUnreachable(f"study database {where}: {reason}; check storage_url") from None
    except (SQLAlchemyError, StorageInternalError) as error:
        raise unreachable(where, error.__cause__ if isinstance(error, StorageInternalError) else error) from error
