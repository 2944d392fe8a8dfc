"""`doctor` finds what is wrong, says what to do, and exits with 1 only for failures."""

import importlib.metadata
import json
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tradeschool.app.doctor.check_result import CheckState
from tradeschool.app.doctor.installation import check_libraries
from tradeschool.app.doctor.services import clock_finding

Command = Callable[..., tuple[int, str, str]]


def findings(command: Command, *words: str) -> tuple[int, dict[str, dict[str, str]]]:
    code, out, _ = command("doctor", "--json", *words)
    return code, {each["check"]: each for each in json.loads(out)}


def test_a_usable_installation_passes_offline(command: Command) -> None:
    code, found = findings(command, "--offline")

    assert code == 0, found
    assert {each["state"] for each in found.values()} <= {"ok", "warning"}
    assert {"system", "python", "libraries", "data_dir", "queue", "study database", "page", "coinbase"} <= set(found)
    assert "0 runs" in found["study database"]["found"]
    assert "OANDA_API_TOKEN" in found["OANDA token"]["action"]


def test_a_table_shows_the_same_checks(command: Command) -> None:
    code, out, _ = command("doctor", "--offline")

    assert code == 0
    assert "what to do" in out
    assert "server program" in out


def test_a_file_in_the_place_of_a_folder_fails_with_an_action(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("taken").write_text("")
    monkeypatch.setenv("TRADESCHOOL_DATA_DIR", "taken")
    code, found = findings(command, "--offline")

    assert code == 1
    assert found["data_dir"]["state"] == "failed"
    assert "set data_dir" in found["data_dir"]["action"]


@pytest.mark.parametrize(
    ("requirement", "found"),
    [
        ("click>=999", "expected >=999"),
        ("absent-library>=1", "absent-library is missing"),
        ("absent-library; extra == 'gp'", ""),
        ("click>=8", ""),
    ],
)
def test_a_library_that_does_not_fit_is_named(monkeypatch: pytest.MonkeyPatch, requirement: str, found: str) -> None:
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: [requirement])
    result = check_libraries()

    assert (result.state is CheckState.FAILED) is bool(found)
    assert found in result.found


def test_an_unreachable_redis_and_database_fail(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADESCHOOL_REDIS_URL", "redis://:hunter2@127.0.0.1:1/0")
    monkeypatch.setenv("TRADESCHOOL_STORAGE_URL", "postgresql+psycopg://u:hunter2@127.0.0.1:1/x")
    code, out, _ = command("doctor", "--json", "--offline")
    states = {each["check"]: each["state"] for each in json.loads(out)}

    assert code == 1
    assert (states["queue"], states["study database"]) == ("failed", "failed")
    assert "hunter2" not in out


def test_an_unreachable_provider_is_a_warning(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COINBASE_URL", "PROVIDERS__BINANCE__URL"):
        monkeypatch.setenv(f"TRADESCHOOL_FETCH__{name}", "http://127.0.0.1:1")
    code, found = findings(command)

    assert code == 0
    assert found["coinbase"]["state"] == "warning"
    assert "check the network" in found["coinbase"]["action"]


def test_a_port_in_use_is_a_warning(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("TRADESCHOOL_SERVE__PORT", str(taken.getsockname()[1]))
        code, found = findings(command, "--offline")

    assert (code, found["page"]["state"]) == (0, "warning")


@pytest.mark.parametrize(
    ("off", "state"), [(0.5, CheckState.OK), (-20, CheckState.WARNING), (3_600, CheckState.FAILED)]
)
def test_a_wrong_clock_is_told_by_its_difference(off: float, state: CheckState) -> None:
    found = clock_finding("clock of Redis", 1_000_000.0, 1_000_000.0 + off)

    assert found.state is state
    assert f"{abs(off):.1f} s" in found.found
    assert bool(found.action) is (state is not CheckState.OK)
