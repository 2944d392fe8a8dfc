"""Leadership: a study has one coordinator at a time."""

import pytest

from tradeschool.errors import ServiceUnreachable, SettingsError
from workers.coordinator.leadership import acquire_leadership, has_leader, wait_for_leadership


def test_leadership_is_held_by_one_process(tmp_path) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    leadership = acquire_leadership(url, "a")
    assert leadership is not None

    assert leadership.is_held()
    assert acquire_leadership(url, "a") is None

    leadership.release()
    again = acquire_leadership(url, "a")

    assert not leadership.is_held()
    assert again is not None
    again.release()


def test_each_study_has_its_own_coordinator(tmp_path) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    roles = [acquire_leadership(url, name) for name in ("a", "b")]

    assert all(roles)
    for leadership in roles:
        leadership.release()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_run_is_active_while_its_leadership_is_held(tmp_path, request: pytest.FixtureRequest, kind: str) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}" if kind == "sqlite" else request.getfixturevalue("postgres")[1]
    free = has_leader(url, "run")
    left = list(tmp_path.iterdir())
    leadership = acquire_leadership(url, "run")
    held, other = has_leader(url, "run"), has_leader(url, "another")
    leadership.release()

    assert (free, held, other, has_leader(url, "run")) == (False, True, False, False)
    assert left == [], "a look has written something"


def test_waiting_for_leadership_can_be_cancelled(tmp_path) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    leadership, naps = acquire_leadership(url, "a"), []
    assert leadership is not None

    assert wait_for_leadership(url, "a", stop=lambda: len(naps) >= 2, sleep=naps.append) is None
    assert naps == [1.0, 1.0]
    leadership.release()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "mysql://u:s3cret@host/x"])
def test_a_database_that_cannot_lock_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="SQLite file or PostgreSQL") as caught:
        acquire_leadership(url, "a")

    assert "s3cret" not in str(caught.value)


def test_an_unreachable_server_is_reported(tmp_path) -> None:
    with pytest.raises(ServiceUnreachable, match=r"me:\*\*\*@127\.0\.0\.1"):
        acquire_leadership("postgresql+psycopg://me:s3cret@127.0.0.1:1/x?connect_timeout=1", "a")
    with pytest.raises(ServiceUnreachable, match="does its folder exist"):
        acquire_leadership(f"sqlite:///{tmp_path}/none/study.db", "a")
