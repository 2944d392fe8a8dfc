"""Event log of a run: concurrent writers, bounded reads, and no failure of the writer."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from workers.coordinator import event_log


def test_recorded_events_are_read_in_order(tmp_path: Path) -> None:
    event_log.record(tmp_path / "run", "level_started", level="1", attempt=1, trials=100)
    event_log.record(tmp_path / "run", "level_failed", level="1", attempt=1, reason="sharpe 0.3")

    first, second = event_log.read(tmp_path / "run")

    assert first.sentence == "level 1, attempt 1 started: 100 trials"
    assert second.facts == {"level": "1", "attempt": 1, "reason": "sharpe 0.3"}
    assert first.time <= second.time
    assert second.to_json()["sentence"] == "level 1, attempt 1: the gate failed: sharpe 0.3"


def test_a_run_without_events_has_none(tmp_path: Path) -> None:
    assert event_log.read(tmp_path / "absent") == ()


@pytest.mark.parametrize(
    "noise",
    [b"", b"{", b"[1]\n", b"null\n", b'{"time": 3, "event": "x"}\n', b"\xff\xfe\n", b'{"event": "x"}\n', b"[" * 9999],
)
def test_a_truncated_or_invalid_line_damages_no_other(tmp_path: Path, noise: bytes) -> None:
    (tmp_path / event_log.NAME).write_bytes(b'{"time": "2026-01-01T00:00:00+00:00", "event": "a"}\n' + noise)
    event_log.record(tmp_path, "b")

    assert [event.name for event in event_log.read(tmp_path)] == ["a", "b"]


def test_concurrent_writers_lose_and_mix_no_line(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: event_log.record(tmp_path, "n", number=number, text="x" * 400), range(400)))

    assert {event.facts["number"] for event in event_log.read(tmp_path)} == set(range(400))


def test_only_the_end_of_a_long_file_is_read(tmp_path: Path) -> None:
    line = json.dumps({"time": "2026-01-01T00:00:00+00:00", "event": "old", "text": "x" * 400}) + "\n"
    (tmp_path / event_log.NAME).write_text(line * 5_000)
    event_log.record(tmp_path, "new")

    found = event_log.read(tmp_path, most=10_000)

    assert found[-1].name == "new"
    assert len(found) < event_log.MAX_READ_BYTES / 400


def test_a_follower_reads_each_event_once_and_restarts_with_a_new_file(tmp_path: Path) -> None:
    follower = event_log.Follower(tmp_path)
    event_log.record(tmp_path, "a")
    assert [event.name for event in follower.new_events()] == ["a"]
    assert follower.new_events() == ()
    event_log.record(tmp_path, "b")
    assert [event.name for event in follower.new_events()] == ["b"]
    (tmp_path / event_log.NAME).unlink()
    event_log.record(tmp_path, "c")

    assert [event.name for event in follower.new_events()] == ["c"]


def test_a_long_text_is_cut_to_a_bounded_line(tmp_path: Path) -> None:
    event_log.record(tmp_path, "long", reason="x" * 100_000, many=["y" * 500] * 100)

    assert (tmp_path / event_log.NAME).stat().st_size <= event_log.MAX_BYTES


def test_a_failed_event_write_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "run").write_text("a file where the folder should be")
    event_log.record(tmp_path / "run", "level_started")

    assert "event not recorded" in caplog.text


def test_an_event_without_a_message_is_reported_by_name(tmp_path: Path) -> None:
    event_log.record(tmp_path, "something_new", level="2")

    assert event_log.read(tmp_path)[0].sentence == "something new: level 2"
