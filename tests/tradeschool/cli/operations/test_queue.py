"""Tests of `tradeschool queue` with a separate server."""

import json
from collections.abc import Callable

Command = Callable[..., tuple[int, str, str]]


def test_requeue_of_a_job_that_did_not_fail_has_exit_code_2(command: Command) -> None:
    code, _, told = command("queue", "requeue", "r-L1-a1-0-0-a1")

    assert code == 2
    assert "not among the failed jobs: r-L1-a1-0-0-a1" in told


def test_requeue_needs_job_ids_or_all(command: Command) -> None:
    assert command("queue", "requeue")[0] == 2
    assert command("queue", "requeue", "--all", "--json")[1].strip() == "[]"


def test_an_empty_queue_shows_zero_counts(command: Command) -> None:
    code, out, _ = command("queue", "status", "--json")
    found = json.loads(out)

    assert code == 0
    assert (found["queued"], found["failed"], found["workers"]) == (0, 0, [])
