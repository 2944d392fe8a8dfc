"""The commands of the section on backups in `docs/how-to/operations.md` are run, and what they restore is used."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from optimizer.runs.database_identity import database_identity
from optimizer.search.trial_table import export
from tests.factories.postgres_servers import PASSWORD, tls_postgres
from tests.factories.stores import seal_made
from tests.workers.servers import answers, wait_until
from tests.workers.study_plan import Plan
from tests.workers.tls_servers import binary, free_port
from tradeschool.markets.catalogue import find_dataset
from tradeschool.markets.windows import Window
from tradeschool.settings.services import DatabaseSettings
from tradeschool.store.frame_store import FrameStore
from workers.coordinator.study.database_age import check_age
from workers.queue.study_marks import forget_from

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "operations.md"


def commands(title: str) -> list[str]:
    """The blocks of a section: the backup, and the restore."""
    section = PAGE.read_text().split(f"\n### {title}\n")[1].split("\n## ")[0].split("\n### ")[0]
    return re.findall(r"```sh\n(.*?)```", section, re.DOTALL)


def run_block(block: str, folder: Path, **environment: str) -> str:
    """Run a block as a user does, in a folder; its output."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{environment.pop('PATH', '')}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-eu", "-c", block],
        cwd=folder,
        env={**os.environ, "PATH": path, "BACKUP": str(folder / "the backup"), **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_sqlite_study_is_backed_up_during_a_search_and_restored(served: Plan, tmp_path: Path) -> None:
    save, restore = commands("SQLite study")
    home = tmp_path / ".tradeschool"
    home.mkdir()
    plan = replace(served, database=f"sqlite:///{home / 'study.sqlite3'}")
    study = plan.open()
    run = plan.run(study)
    while run.reconcile(0.2).finished < 5:
        """Wait for some trials."""
    run_block(save, tmp_path)
    plan.finish(run)
    expected = export(study.trials(), "csv")
    study.close()
    (home / "study.sqlite3").write_bytes(b"destroyed")
    run_block(restore, tmp_path)
    study = plan.open()
    restored = len(study.trials())
    plan.finish(plan.run(study))
    table = export(study.trials(), "csv")
    study.close()

    assert 5 <= restored < plan.trials
    assert table == expected == plan.table_in_process()


def test_a_postgresql_study_is_backed_up_and_an_older_restore_is_noticed(served: Plan, tmp_path: Path) -> None:
    save, restore = commands("PostgreSQL study")
    (tmp_path / "the backup").mkdir()
    (tmp_path / "password").write_text(PASSWORD)
    told: list[tuple[int, int]] = []
    with tls_postgres() as server:
        given = DatabaseSettings(password_file=tmp_path / "password", ca_file=server.authority.ca)
        plan = replace(served, database=given.complete(server.url()), trials=24)
        libpq = (
            f"postgresql://trials@127.0.0.1:{server.port}/study?sslmode=verify-full&sslrootcert={server.authority.ca}"
        )
        environment = {"STUDY": libpq, "PGPASSWORD": PASSWORD, "PATH": str(server.bin)}
        identity, study = database_identity(plan.storage), plan.open()
        run = plan.run(study, database=identity)
        while run.reconcile(0.2).finished < 5:
            """Wait for some trials."""
        run_block(save, tmp_path, **environment)
        while run.reconcile(0.2).finished < 12:
            """Wait for the trials that are lost."""
        run.announce()
        was = run.ledger.progress().finished
        study.close()
        run_block(restore, tmp_path, **environment)

        study = plan.open()
        run = plan.run(study, database=database_identity(plan.storage))
        found = run.ledger.progress().finished
        check_age(run.dispatcher, plan.study, database=identity, committed=found, older=lambda *both: told.append(both))
        plan.finish(run)
        table = export(study.trials(), "csv")
        again = database_identity(plan.storage)
        study.close()

    assert again == identity
    assert told == [(was, found)]
    assert 5 <= found < was
    assert table == plan.table_in_process()


@pytest.fixture
def redis_home(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """A Redis of the system with an append-only file, for `redis-cli`."""
    if shutil.which("redis-cli") is None:
        pytest.skip("no redis-cli here: it is in Debian's package redis-tools")
    port, data = free_port(), tmp_path / "data"
    data.mkdir()
    words = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(data), "--appendonly", "yes"]
    process = subprocess.Popen([binary(), *words], stdout=subprocess.DEVNULL)
    with Redis(port=port) as connection:
        wait_until(lambda: answers(connection))
        yield {"port": port, "data": data, "process": process, "connection": connection}
        if process.poll() is None:
            process.kill()
            process.wait()
        elif answers(connection):
            connection.shutdown(nosave=True, now=True, force=True)


def test_a_queue_is_backed_up_and_restored(plan: Plan, redis_home: dict[str, Any], tmp_path: Path) -> None:
    save, restore = commands("Redis or Valkey")
    (tmp_path / "the backup").mkdir()
    url = f"redis://127.0.0.1:{redis_home['port']}/0"
    environment = {"REDIS": url, "PORT": str(redis_home["port"]), "DATA": str(redis_home["data"])}
    here, connection = replace(plan, url=url), redis_home["connection"]
    study = here.open()
    run = here.run(study)
    run.reconcile()
    study.close()
    queued = connection.lrange("rq:queue:trials", 0, -1)
    run_block(save, tmp_path, **environment)
    forget_from(here.queue, here.study, 0)
    redis_home["process"].kill()
    redis_home["process"].wait()
    run_block(restore, tmp_path, **environment)

    assert len(queued) == here.lag
    assert connection.lrange("rq:queue:trials", 0, -1) == queued
    assert connection.config_get("appendonly") == {"appendonly": "yes"}


def test_candles_are_backed_up_restored_and_verified(tmp_path: Path) -> None:
    save, restore = commands("Candles")
    (tmp_path / "the backup").mkdir()
    store = FrameStore(tmp_path / "data")
    window = Window(datetime(2021, 3, 1, tzinfo=UTC), datetime(2021, 3, 8, tzinfo=UTC))
    seal_made(store, find_dataset("coinbase/BTC-USD/H1"), window)
    run_block(save, tmp_path)
    shutil.rmtree(tmp_path / "data")
    told = run_block(restore, tmp_path)

    assert list((tmp_path / "data").rglob("*.parquet"))
    assert "coinbase/BTC-USD/H1" in told
