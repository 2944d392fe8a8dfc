"""Tests of `tradeschool queue` with a separate server."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from redis import Redis

from optimizer.runs.fingerprint import release
from tests.workers.servers import private_server
from tradeschool.embedded_valkey.server import EmbeddedValkey
from workers.queue.announcements import Announcement, publish_announcement
from workers.queue.messages import VERSION

Command = Callable[..., tuple[int, str, str]]


def test_requeue_of_a_job_that_did_not_fail_has_exit_code_2(command: Command) -> None:
    code, _, told = command("queue", "requeue", "r-L1-a1-0-0-a1")

    assert code == 2
    assert "not among the failed jobs: r-L1-a1-0-0-a1" in told


def test_requeue_needs_job_ids_or_all(command: Command) -> None:
    assert command("queue", "requeue")[0] == 2
    assert command("queue", "requeue", "--all", "--json")[1].strip() == "[]"


def test_the_url_is_that_of_the_server_with_its_password_masked(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRADESCHOOL_REDIS_URL", "rediss://trials:hidden@queue.example:6380/1")

    assert command("queue", "url")[:2] == (0, "rediss://trials:***@queue.example:6380/1\n")


def test_the_url_of_the_embedded_server_is_that_of_its_socket(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("TRADESCHOOL_REDIS_URL", raising=False)
    monkeypatch.setenv("TRADESCHOOL_STATE_DIR", str(tmp_path / "a folder"))

    assert command("queue", "url")[:2] == (0, EmbeddedValkey.of(tmp_path / "a folder").url + "\n")


def test_an_empty_queue_shows_zero_counts(command: Command) -> None:
    code, out, _ = command("queue", "status", "--json")
    found = json.loads(out)

    assert code == 0
    assert (found["queued"], found["failed"], found["workers"]) == (0, 0, [])


def test_the_status_has_one_line_per_study(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    said = Announcement(v=VERSION, release=release(), seen=0.0, trials=300, finished=120, failed=2)
    with private_server() as server, Redis.from_url(server.url) as connection:
        monkeypatch.setenv("TRADESCHOOL_REDIS_URL", server.url)
        for name, queued in (("one-L1-a1", 3), ("two-L2-a1", 1)):
            publish_announcement(connection, name, said)
            connection.rpush("rq:queue:trials", *(f"{name}-{number}-{number}-a1" for number in range(queued)))
        _, out, _ = command("queue", "status")
    rows = [line.split() for line in out.splitlines() if "-a1" in line]
    shown = [[word for word in row if word not in {"│", "┃", "|"}] for row in rows]

    assert shown == [["one-L1-a1", "120", "300", "2", "3", "0"], ["two-L2-a1", "120", "300", "2", "1", "0"]]
