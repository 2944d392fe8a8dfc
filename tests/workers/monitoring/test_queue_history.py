"""Queue history: one point per step, bounded, with concurrent writers."""

import time

import pytest
from redis import Redis

from workers.monitoring.queue_history import COARSE, FINE, HistorySeries, read_history, record_sample
from workers.monitoring.snapshot import Snapshot

EMPTY = Snapshot(
    queued=3,
    started=1,
    finished=0,
    failed=2,
    deferred=0,
    scheduled=0,
    oldest_seconds=0,
    throughput_per_minute=7,
    workers=(),
)


@pytest.fixture
def connection(url: str) -> Redis:
    return Redis.from_url(url)


def test_recorded_points_are_read(connection: Redis) -> None:
    record_sample(connection, EMPTY, 1_000.9)

    (moment,) = read_history(connection)

    assert (moment.time, moment.queued, moment.started, moment.failed) == (1_000, 3, 1, 2)
    assert (moment.throughput_per_minute, moment.workers) == (7, 0)


def test_concurrent_watchers_record_a_step_once(connection: Redis, url: str) -> None:
    for watcher in (connection, Redis.from_url(url), Redis.from_url(url)):
        record_sample(watcher, EMPTY, time.time())

    assert connection.xlen(FINE.key) == connection.xlen(COARSE.key) == 1


@pytest.mark.parametrize("track", [FINE, COARSE], ids=lambda track: track.key)
def test_history_streams_are_bounded(connection: Redis, track: HistorySeries) -> None:
    for second in range(track.most + 50):
        connection.delete(f"{track.key}:turn")
        record_sample(connection, EMPTY, second)

    assert connection.xlen(track.key) == track.most


def test_history_has_minutes_and_then_seconds(connection: Redis) -> None:
    for track, times in ((COARSE, (60, 120, 180)), (FINE, (150, 155))):
        for second in times:
            connection.delete(*(f"{each.key}:turn" for each in (FINE, COARSE)))
            connection.set(f"{(FINE if track is COARSE else COARSE).key}:turn", "1", px=1_000)
            record_sample(connection, EMPTY, second)

    assert [moment.time for moment in read_history(connection)] == [60, 120, 150, 155]


def test_foreign_entries_are_ignored(connection: Redis) -> None:
    connection.xadd(FINE.key, {"time": "soon"})
    record_sample(connection, EMPTY, 50)

    assert [moment.time for moment in read_history(connection)] == [50]


def test_a_missing_history_is_empty(connection: Redis) -> None:
    assert read_history(connection) == []
