"""Bulk writer: rows equal Optuna's own."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from optimizer.search import trial_writer
from optimizer.search.methods.optuna_setup import silence_optuna
from optimizer.search.study import UNIQUE_NUMBERS

DISTRIBUTIONS = {
    "fast": IntDistribution(5, 50, step=5),
    "stop": FloatDistribution(0.01, 5.0, log=True),
    "kind": CategoricalDistribution(["mean", None, 3]),
}
TABLES = {
    "trials": "trial_id number study_id state datetime_start datetime_complete",
    "trial_params": "param_id trial_id param_name param_value distribution_json",
    "trial_values": "trial_value_id trial_id objective value value_type",
    "trial_intermediate_values": (
        "trial_intermediate_value_id trial_id step intermediate_value intermediate_value_type"
    ),
    "trial_user_attributes": "trial_user_attribute_id trial_id key value_json",
    "trial_system_attributes": "trial_system_attribute_id trial_id key value_json",
}


def trials() -> list[FrozenTrial]:
    """Trials of each kind, with all value types, without value, and with JSON attributes."""
    made = [
        create_trial(
            value=1.5,
            params={"fast": 10, "stop": 0.1, "kind": None},
            distributions=DISTRIBUTIONS,
            intermediate_values={0: 0.5, 1: float("nan"), 2: float("inf"), 3: float("-inf")},
            constraints={"drawdown": -0.1, "win_rate": 0.25},
            user_attrs={"metrics": {"sharpe": None, "trades": 7}, "worker": "w\u00e9"},
        ),
        create_trial(value=float("-inf"), params={"fast": 5}, distributions={"fast": DISTRIBUTIONS["fast"]}),
        create_trial(state=TrialState.PRUNED, params={}, distributions={}, intermediate_values={0: -1e-300}),
        create_trial(state=TrialState.FAIL, user_attrs={"failure": "x" * 3000}),
    ]
    for number, trial in enumerate(made):
        trial.number = number
    return made


def by_optuna(storage: RDBStorage, study_id: int) -> None:
    for trial in trials():
        storage.create_new_trial(study_id, trial)


def by_us(storage: RDBStorage, study_id: int) -> None:
    with storage.engine.begin() as connection:
        assert trial_writer.write(connection, study_id, trials()) == 0


def stored(path: Path, write: Callable[[RDBStorage, int], None]) -> dict[str, list[tuple[object, ...]]]:
    """Every row of the trial tables without its primary key."""
    silence_optuna()
    storage = RDBStorage(f"sqlite:///{path}")
    study = optuna.create_study(storage=storage, study_name="a", direction="maximize")
    write(storage, study._study_id)
    rows = {}
    with storage.engine.connect() as connection:
        for name, columns in TABLES.items():
            kept = ", ".join(columns.split()[1:])
            found = connection.execute(text(f"SELECT {kept} FROM {name} ORDER BY {kept}")).all()
            rows[name] = [tuple(row) for row in found]
    storage.scoped_session.remove()
    storage.engine.dispose()
    return rows


def test_every_row_equals_the_one_of_optuna(tmp_path: Path) -> None:
    ours, theirs = stored(tmp_path / "ours.db", by_us), stored(tmp_path / "theirs.db", by_optuna)

    for rows in (ours, theirs):
        rows["trials"] = [row[:3] for row in rows["trials"]]  # without the two moments at which each was made
    assert ours == theirs
    assert {name: len(rows) for name, rows in ours.items()} == {
        "trials": 4,
        "trial_params": 4,
        "trial_values": 2,
        "trial_intermediate_values": 5,
        "trial_user_attributes": 3,
        "trial_system_attributes": 2,
    }


def test_the_tables_have_the_known_schema() -> None:
    """This test fails if an Optuna release adds a column."""
    found = {name: " ".join(models.BaseModel.metadata.tables[name].columns.keys()) for name in TABLES}

    assert found == TABLES


def test_tables_of_this_optuna_release_are_written_directly(tmp_path: Path) -> None:
    storage = RDBStorage(f"sqlite:///{tmp_path / 'a.db'}")

    assert storage.get_current_version() == trial_writer.REVISION
    assert trial_writer.can_write(storage.engine)
    storage.engine.dispose()


def test_unknown_tables_are_written_by_optuna(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = RDBStorage(f"sqlite:///{tmp_path / 'a.db'}")
    with storage.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'v9.9.9'"))
    other_tables = trial_writer.can_write(storage.engine)
    with storage.engine.begin() as connection:
        connection.execute(text("DROP TABLE alembic_version"))
    no_version = trial_writer.can_write(storage.engine)
    storage.engine.dispose()
    monkeypatch.setattr(optuna, "__version__", "5.1.0")
    other_release = trial_writer.can_write(storage.engine)

    assert (other_tables, no_version, other_release) == (False, False, False)


def test_a_gap_before_the_first_number_is_reported(tmp_path: Path) -> None:
    silence_optuna()
    storage = RDBStorage(f"sqlite:///{tmp_path / 'a.db'}")
    study = optuna.create_study(storage=storage, study_name="a")
    one, *_, last = trials()
    with storage.engine.begin() as connection:
        first = trial_writer.write(connection, study._study_id, [one])
        expected = trial_writer.write(connection, study._study_id, [last])
    storage.engine.dispose()

    assert (first, expected, last.number) == (0, 1, 3)


def test_an_existing_number_rejects_the_whole_batch(tmp_path: Path) -> None:
    silence_optuna()
    path = tmp_path / "a.db"
    storage = RDBStorage(f"sqlite:///{path}")
    study = optuna.create_study(storage=storage, study_name="a")
    one, two, *_ = trials()
    with storage.engine.begin() as connection:
        connection.execute(text(UNIQUE_NUMBERS))
        trial_writer.write(connection, study._study_id, [two])

    with pytest.raises(IntegrityError), storage.engine.begin() as connection:
        trial_writer.write(connection, study._study_id, [one, two])

    storage.engine.dispose()
    connection = sqlite3.connect(path)
    counts = [connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in ("trials", "trial_values")]
    connection.close()
    assert counts == [1, 1]
