"""`clean` removes what is chosen, asks first, and keeps running runs and candles."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from optimizer.search.study import StudyFacts, open_study, read_trials
from tests.factories.runs import make_attempt, make_context, make_level, make_run_record, make_verdict
from tradeschool.errors import SettingsError
from workers.coordinator.context import RunContext
from workers.coordinator.leadership import acquire_leadership
from workers.coordinator.run import run_persistence

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def context(tmp_path: Path) -> RunContext:
    """A finished run `r1` with files, a study, cached columns and a sealed file."""
    (tmp_path / ".tradeschool").mkdir()
    found = replace(make_context(tmp_path), storage_url=f"sqlite:///{tmp_path / '.tradeschool' / 'study.sqlite3'}")
    make_attempt(found, make_run_record(found), verdict=make_verdict(passed=True))
    (found.folder("r1") / "report.html").write_bytes(b"x" * 5_000)
    facts = StudyFacts(level=make_level("1"), seed=7, fingerprints={})
    open_study(found.storage_url, "r1-L1-a1", facts).close()
    for path in (tmp_path / ".tradeschool" / "columns" / "a.npy", tmp_path / "data" / "candles.parquet"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"y" * 2_000)
    return found


def names(context: RunContext) -> list[str]:
    with run_persistence.opened(context) as runs:
        return [record.name for record in runs.all()]


def test_without_a_choice_everything_is_listed_and_kept(command: Command, context: RunContext) -> None:
    code, out, told = command("clean")

    assert code == 0
    assert "r1" in out
    assert "candles as arrays" in out
    assert "choose: tradeschool clean RUN" in told
    assert names(context) == ["r1"]


@pytest.mark.parametrize("words", [(), ("--yes", "--dry-run")], ids=str)
def test_a_choice_is_only_told(command: Command, context: RunContext, words: tuple[str, ...]) -> None:
    code, out, told = command("clean", "r1", "--caches", *words)

    assert code == 0
    assert "r1" in out
    assert "nothing is removed; --yes would remove 1 run and " in told
    assert names(context) == ["r1"]
    assert context.folder("r1").is_dir()


def test_a_run_is_removed_with_its_trials_and_the_candles_stay(command: Command, context: RunContext) -> None:
    code, out, told = command("clean", "r1", "--caches", "--yes", "--json")
    removed = json.loads(out)

    assert code == 0, told
    assert removed["removed"] is True
    assert sum(each["bytes"] for each in removed["items"] if each["name"] == "r1") >= 5_000
    assert names(context) == []
    assert not context.folder("r1").exists()
    assert not Path(".tradeschool/columns").exists()
    assert Path("data/candles.parquet").exists()
    with pytest.raises(SettingsError):
        read_trials(context.storage_url, "r1-L1-a1")


def test_a_running_run_stays(command: Command, context: RunContext) -> None:
    leadership = acquire_leadership(context.storage_url, "r1")
    assert leadership is not None
    named = command("clean", "r1", "--yes")
    by_age = command("clean", "--older-than", "0", "--yes")
    leadership.release()

    assert named[0] == 2
    assert "run r1 is not removed: it is running" in named[2]
    assert by_age[0] == 0
    assert names(context) == ["r1"]


def test_only_runs_that_are_old_enough_are_chosen(command: Command, context: RunContext) -> None:
    assert "nothing to remove" in command("clean", "--older-than", "20000", "--yes")[2]
    assert names(context) == ["r1"]
    command("clean", "--older-than", "1", "--yes")
    assert names(context) == []


def test_an_unknown_run_is_one_line(command: Command, context: RunContext) -> None:
    code, _, told = command("clean", "absent", "--yes")

    assert (code, told.strip()) == (2, "tradeschool: no run 'absent'; see: tradeschool optimize list")
