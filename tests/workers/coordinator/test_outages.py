"""Outages of database, disk and Redis during a search: it waits and gives the same table."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from optimizer.search.study import OpenStudy
from optimizer.search.trial_table import export
from tradeschool.errors import ServiceUnreachable
from workers.connection.reconnect import LONGEST_PAUSE_SECONDS, Outage
from workers.coordinator.study.coordinator import StudyRun, coordinate
from workers.coordinator.study.trial_ledger import StudyProgress


def conducted(plan, at: int, breaks: Callable[[], None], mends: Callable[[], None]) -> bytes:
    """The table of a study with one fault after a number of trials, which lasts until it is noticed."""
    opened: list[OpenStudy] = []
    happened: list[int] = []
    noticed: list[float] = []

    def pause(seconds: float) -> None:
        if not noticed:
            mends()
        noticed.append(seconds)
        time.sleep(seconds)

    def make() -> StudyRun:
        opened.append(plan.open())
        return plan.run(opened[-1])

    def report(progress: StudyProgress) -> None:
        if progress.finished >= at and not happened:
            happened.append(progress.finished)
            breaks()

    done = coordinate(make, outage=Outage(sleep=pause), stop=lambda: False, report=report, wait_seconds=0.1)
    table = export(opened[-1].trials(), "csv")
    for study in opened:
        study.close()
    assert done is not None
    assert happened
    assert noticed
    assert len(opened) > 1, "nothing was dropped and made anew"
    return table


def test_a_stopped_database_server_loses_no_trial(served, postgres) -> None:
    server, url = postgres
    plan = replace(served, database=url, study="outage-L1-a1", trials=24)

    assert conducted(plan, 8, server.stop, server.start) == plan.table_in_process()


def test_a_full_disk_loses_no_trial(served, small_disk: Path, remount: Callable[[str], None]) -> None:
    remount("size=2m")
    plan = replace(served, folder=small_disk, trials=24, title="sleep 0.01")
    filling = small_disk / "filling"

    def fill() -> None:
        with pytest.raises(OSError, match="No space"), filling.open("wb") as file:
            while True:
                file.write(bytes(1 << 12))
                file.flush()

    expected = replace(plan, folder=served.folder).table_in_process()

    assert conducted(plan, 8, fill, filling.unlink) == expected


def test_a_permanent_database_outage_ends_the_run(served, small_disk: Path) -> None:
    missing = replace(served, folder=small_disk / "none")
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    outage = Outage(300.0, clock=lambda: now[0], sleep=sleep)

    with pytest.raises(ServiceUnreachable, match="unable to open database file"):
        coordinate(lambda: missing.run(missing.open()), outage=outage, stop=lambda: False, report=lambda _: None)

    assert 300.0 < now[0] <= 300.0 + LONGEST_PAUSE_SECONDS


def test_a_temporary_redis_outage_loses_no_trial(plan, killable_server, start_program) -> None:
    slow = replace(plan, url=killable_server.url, title="sleep 0.05", trials=24)
    worker = start_program("worker_process.py", "--url", killable_server.url)

    assert conducted(slow, 8, killable_server.kill, killable_server.start) == slow.table_in_process()
    assert worker.poll() is None, "the worker has waited, too"
