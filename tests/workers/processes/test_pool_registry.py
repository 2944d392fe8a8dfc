"""Pool registry: running pools are found, scaled and drained by other processes."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fork_server import Forked
from tradeschool.errors import StoreUnwritable
from workers.processes import pool_registry

Start = Callable[..., Forked]


def workers(plan) -> int:
    return len(plan.queue.connection.smembers("rq:workers:trials"))


def test_a_pool_is_registered_while_it_runs(tmp_path: Path) -> None:
    with pool_registry.registered(tmp_path / "pools", 3) as path:
        (found,) = pool_registry.pools(tmp_path / "pools")
        asked = pool_registry.wanted(path)

    assert (found.pid, found.count, asked) == (os.getpid(), 3, 3)
    assert pool_registry.pools(tmp_path / "pools") == []


def test_the_entry_of_a_killed_pool_is_removed(tmp_path: Path) -> None:
    (tmp_path / "123.pool").write_text("2\n")
    (tmp_path / "nonsense.pool").write_text("x")

    assert pool_registry.pools(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_has_no_pools(tmp_path: Path) -> None:
    assert pool_registry.pools(tmp_path / "none") == []


def test_a_folder_that_cannot_be_created_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StoreUnwritable, match="state_dir"), pool_registry.registered(tmp_path / "file" / "pools", 1):
        pass


def test_a_pool_grows_shrinks_and_drains(plan, start: Start, eventually, tmp_path: Path) -> None:
    pool = start("pool_process.py", plan.url, str(tmp_path))
    eventually(lambda: workers(plan) == 2)
    (entry,) = pool_registry.pools(tmp_path)
    pool_registry.scale(entry, 4)
    eventually(lambda: workers(plan) == 4)
    pool_registry.scale(entry, 1)
    eventually(lambda: workers(plan) == 1)
    pool_registry.drain(entry)

    assert pool.wait(timeout=60) == 0
    assert workers(plan) == 0
    assert pool_registry.pools(tmp_path) == []


def test_surplus_workers_finish_their_trial_first(plan, start: Start, eventually, tmp_path: Path) -> None:
    release = tmp_path / "release"
    slow = replace(plan, title=f"until {release}", trials=2)
    pool = start("pool_process.py", plan.url, str(tmp_path))
    eventually(lambda: workers(plan) == 2)
    study = slow.open()
    run = slow.run(study)
    run.reconcile()
    eventually(lambda: plan.queue.connection.zcard("rq:wip:trials") == 2)
    (entry,) = pool_registry.pools(tmp_path)
    pool_registry.drain(entry)
    release.touch()
    code = pool.wait(timeout=60)
    finished = run.reconcile().finished
    study.close()

    assert (code, finished) == (0, 2)
