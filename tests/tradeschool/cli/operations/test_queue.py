"""Tests of `tradeschool queue` with a separate server."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tradeschool.embedded_valkey.server import EmbeddedValkey

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
