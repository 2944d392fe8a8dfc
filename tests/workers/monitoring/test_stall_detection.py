"""Stall detection: causes, ETA, and the times of log lines."""

from dataclasses import replace

import pytest

from workers.monitoring.snapshot import Snapshot
from workers.monitoring.stall_detection import Stall, StallAlerts, eta_seconds, find_stall
from workers.monitoring.worker_snapshot import WorkerSnapshot

START = "start some"
GONE = "no worker is connected; start some"


def snapshot(*ages: float, queued: int = 4, is_suspended: bool = False) -> Snapshot:
    workers = tuple(
        WorkerSnapshot(name=f"w{age}", host="h", state="busy", heartbeat_age_seconds=age, done=1, failed=0)
        for age in ages
    )
    return Snapshot(
        queued=queued,
        started=0,
        finished=9,
        failed=0,
        deferred=0,
        scheduled=0,
        oldest_seconds=1,
        throughput_per_minute=60,
        workers=workers,
        is_suspended=is_suspended,
        idle_seconds=1.0,
    )


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("pending", "connected", "suspended", "found"),
    [
        (True, 0, False, Stall.NO_WORKERS),
        (True, 0, True, Stall.NO_WORKERS),
        (True, 2, True, Stall.SUSPENDED),
        (True, 2, False, None),
        (False, 0, True, None),
    ],
)
def test_each_cause_of_a_stall_is_named(pending: bool, connected: int, suspended: bool, found: Stall | None) -> None:
    assert find_stall(is_pending=pending, connected=connected, is_suspended=suspended) is found


@pytest.mark.parametrize(
    ("left", "pace", "idle", "eta"),
    [
        (0, 0.0, None, 0.0),
        (10, 60.0, 1.0, 10.0),
        (10, 0.0, 1.0, None),
        (10, 60.0, None, None),
        (10, 60.0, 15.0, 10.0),
        (10, 60.0, 15.1, None),
        (10, 2.0, 299.0, 300.0),
        (10, 2.0, 301.0, None),
    ],
)
def test_a_stalled_search_has_no_eta(left: int, pace: float, idle: float | None, eta: float | None) -> None:
    assert eta_seconds(left, pace, idle) == eta


def test_a_queue_without_workers_is_stalled_without_eta() -> None:
    assert (snapshot(1.0).stall, snapshot(1.0).eta_seconds) == (None, 4.0)
    assert (snapshot(16.0).stall, snapshot(16.0).eta_seconds) == (Stall.NO_WORKERS, None)
    assert snapshot(1.0, is_suspended=True).to_json()["stalled"] == "workers suspended"
    assert (snapshot(queued=0).stall, snapshot(queued=0).eta_seconds) == (None, 0.0)
    assert replace(snapshot(queued=0), most_jobs=8).stall is Stall.NO_WORKERS


def test_a_stall_is_logged_after_5_s_then_every_minute() -> None:
    clock, said = Clock(), {}
    announcements = StallAlerts(clock=clock)
    for second in range(130):
        clock.now = 100.0 + second
        stall = None if second in (0, 127, 128, 129) else Stall.NO_WORKERS
        if line := announcements.look(stall, START):
            said[second] = line

    assert said == {
        6: f"stalled for 5 s: {GONE}",
        66: f"stalled for 65 s: {GONE}",
        126: f"stalled for 125 s: {GONE}",
        127: "the search has resumed: workers are connected and busy",
    }


def test_a_short_lack_of_workers_is_not_logged() -> None:
    clock = Clock()
    announcements = StallAlerts(clock=clock)
    for stall in (Stall.NO_WORKERS, None, Stall.NO_WORKERS, None):
        assert announcements.look(stall, START) is None
        clock.now += 4


def test_another_cause_is_logged_at_once() -> None:
    clock = Clock()
    announcements = StallAlerts(clock=clock)
    announcements.look(Stall.NO_WORKERS, START)
    clock.now += 5
    assert announcements.look(Stall.NO_WORKERS, START)
    clock.now += 1

    assert "rq resume" in (announcements.look(Stall.SUSPENDED, START) or "")


def test_own_workers_have_a_longer_start_time() -> None:
    clock = Clock()
    announcements = StallAlerts(first_seconds=30, clock=clock)
    assert announcements.look(Stall.NO_WORKERS, START) is None
    clock.now += 29
    assert announcements.look(Stall.NO_WORKERS, START) is None
    assert "suspended" in (announcements.look(Stall.SUSPENDED, START) or "")


def test_a_search_without_finished_trials_is_logged_every_minute() -> None:
    clock = Clock()
    announcements = StallAlerts(clock=clock)
    said = []
    for second in range(0, 150, 10):
        clock.now = 100.0 + second
        said += [(second, line) for line in [announcements.look(None, START, idle_seconds=1_000.0)] if line]

    assert said == [
        (60, "no trial has finished for 60 s; workers are connected and busy"),
        (120, "no trial has finished for 120 s; workers are connected and busy"),
    ]
