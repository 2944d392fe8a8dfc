"""`optimize status` shows the next step and whether the run is active."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from optimizer.curriculum.retry_plan import AttemptFacts, Shortfall
from optimizer.report.contents import retry_json
from tests.factories.levels import PARAMETERS, RANGES
from tests.factories.runs import (
    make_attempt,
    make_context,
    make_level,
    make_null_test,
    make_run_record,
    make_verdict,
    recommended,
)
from workers.coordinator.context import RunContext
from workers.coordinator.leadership import acquire_leadership

Command = Callable[..., tuple[int, str, str]]
IDLE = "run r1 is not running; resume it: tradeschool optimize resume r1"


@pytest.fixture
def context(tmp_path: Path) -> RunContext:
    """The default folders, below a temporary working folder."""
    (tmp_path / ".tradeschool").mkdir()
    return replace(make_context(tmp_path), storage_url=f"sqlite:///{tmp_path / '.tradeschool' / 'study.sqlite3'}")


@pytest.fixture
def held(context: RunContext) -> Iterator[None]:
    leadership = acquire_leadership(context.storage_url, "r1")
    assert leadership is not None
    yield
    leadership.release()


def test_an_inactive_run_shows_how_to_resume(command: Command, context: RunContext) -> None:
    make_run_record(context, is_sealed=True)

    code, out, _ = command("optimize", "status")

    assert (code, out.splitlines()) == (0, ["next: search level 1, attempt 1", IDLE])


@pytest.mark.usefixtures("held")
def test_an_active_run_shows_no_resume_hint(command: Command, context: RunContext) -> None:
    make_run_record(context, is_sealed=True)

    assert IDLE not in command("optimize", "status")[1]
    assert json.loads(command("optimize", "status", "--json")[1])["is_active"] is True


def test_a_finished_run_shows_no_next_command(command: Command, context: RunContext) -> None:
    recommended(
        context, make_attempt(context, make_run_record(context, make_level("1")), verdict=make_verdict(passed=True))
    )

    code, out, _ = command("optimize", "status")

    assert code == 0
    assert IDLE not in out
    assert "every gate is met" in out
    assert make_null_test().sentence in " ".join(out.split())
    assert "recommendation: do not deploy: mandate missed, no evidence of skill: as weighed" in out
    assert "unknown" in out
    assert "shuffled_drawdown" in out


def test_without_a_run_the_start_command_is_shown(command: Command, context: RunContext) -> None:
    code, _, err = command("optimize", "status")

    assert code == 2
    assert "start one: tradeschool optimize run" in err


def test_a_retry_shows_what_it_changed_and_why(command: Command, context: RunContext) -> None:
    level = make_level("1").model_copy(update={"ranges": {**RANGES, "fast": (5.0, 50.0)}})
    facts = AttemptFacts(
        feasible=True,
        parameters={**PARAMETERS, "fast": 50, "slow": 40},
        on_validation=(Shortfall(name="sharpe", by=0.7),),
    )
    failed = make_verdict(passed=False).model_copy(update={"facts": facts})
    record = make_attempt(context, make_run_record(context, level, is_sealed=True), verdict=failed)
    retries = record.planned_retries("1", 2)
    make_attempt(context, record, number=2, retries=retries)
    shown = "retry: the winner missed on validation: sharpe by 0.7; 6 trials instead of 4; fast 5..50 becomes 5..62"

    assert shown in " ".join(command("optimize", "status")[1].split())
    attempts = json.loads(command("optimize", "status", "--json")[1])["levels"]
    assert [each["retry"] for each in attempts] == [None, retry_json(retries[0])]
    assert attempts[1]["retry"]["changes"] == [{"name": "fast", "end": "upper", "was": [5.0, 50.0], "now": [5.0, 62.0]}]
