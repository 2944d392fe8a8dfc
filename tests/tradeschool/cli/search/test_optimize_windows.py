"""`optimize export`, `show` and `verify`, and the Python API, read the searches of walk-forward windows."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

import tradeschool as ts
from optimizer.level.spec import Split
from optimizer.search.study import read_trials
from optimizer.search.trial_table import export, trial_rows
from tests.factories.in_process_runs import ALMOST, ANY, RunHarness, level, run_harness_in, seal_candles
from tradeschool.app.search.recorded_search import begun_window
from tradeschool.errors import SettingsError
from tradeschool.store.frame_store import FrameStore
from workers.coordinator.run.run_persistence import read_run

Command = Callable[..., tuple[int, str, str]]
WINDOWS = (1, 2)


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> RunHarness:
    """A finished run: two attempts at a level with two windows; and a run without windows."""
    folder = tmp_path_factory.mktemp("windows")
    seal_candles(FrameStore(folder / "data"))
    made = run_harness_in(folder, folder / "data")
    made.begin(level("1", ALMOST, retries=1, split=Split(scheme="walk_forward", windows=2)))
    made.run()
    made.begin(level("1", ANY, trials=2), name="single")
    made.run("single")
    return made


@pytest.fixture(autouse=True)
def _reads_the_runs(harness: RunHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in harness.environment.items():
        monkeypatch.setenv(name, value)


def trials_of(harness: RunHarness, attempt: int, window: int):
    return read_trials(harness.context.storage_url, f"run-L1-a{attempt}-w{window}")


@pytest.mark.parametrize("window", WINDOWS)
def test_export_writes_the_table_of_a_window(harness: RunHarness, command: Command, window: int) -> None:
    code, _, said = command("optimize", "export", "run", "--window", str(window), "--out", "table.csv")

    trials = trials_of(harness, 2, window)
    assert (code, said.strip()) == (0, f"{len(trials)} trials written to table.csv")
    assert Path("table.csv").read_bytes() == export(trials, "csv") == harness.files()[f"1/windows/{window}/trials.csv"]
    assert Path("table.csv").read_bytes() != harness.table("1", 2)


def test_without_a_window_the_last_search_is_exported(harness: RunHarness, command: Command) -> None:
    assert command("optimize", "export", "run", "--attempt", "1", "--out", "table.csv")[0] == 0

    assert Path("table.csv").read_bytes() == harness.table("1", 1)


@pytest.mark.parametrize("window", WINDOWS)
def test_show_prints_a_trial_of_a_window(harness: RunHarness, command: Command, window: int) -> None:
    words = ("optimize", "show", "run", "3", "--attempt", "1", "--window", str(window), "--json")

    (row,) = trial_rows([trials_of(harness, 1, window)[3]])
    assert json.loads(command(*words)[1]) == json.loads(json.dumps(row))


@pytest.mark.parametrize("window", WINDOWS)
def test_verify_reproduces_own_and_reused_trials_of_a_window(
    harness: RunHarness, command: Command, window: int
) -> None:
    reused = read_run(harness.context, "run").attempt("1", 2).window(window).reused
    last = len(trials_of(harness, 2, window)) - 1
    assert 0 < reused <= last

    for number in (0, reused - 1, reused, last):
        code, out, said = command("optimize", "verify", "run", str(number), "--window", str(window))

        told = f"trial {number} of level 1, attempt 2, window {window}: reproduced, byte for byte"
        assert (code, " ".join(out.split())) == (0, told), said


def test_verify_finds_a_changed_trial_of_a_window(
    harness: RunHarness, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = tmp_path / "study.sqlite3"
    recorded = sqlite3.connect(harness.context.storage_url.removeprefix("sqlite:///"))
    with closing(recorded), closing(sqlite3.connect(changed)) as study, study:
        recorded.backup(study)  # includes what is in the write-ahead log only
        study.execute(
            "UPDATE trial_intermediate_values SET intermediate_value = 0.125 WHERE step = 0 AND trial_id IN "
            "(SELECT trial_id FROM trials JOIN studies USING (study_id) WHERE study_name = ? AND number = 0)",
            ("run-L1-a1-w2",),
        )
    monkeypatch.setenv("TRADESCHOOL_STORAGE_URL", f"sqlite:///{changed}")
    words = ("optimize", "verify", "run", "0", "--attempt", "1", "--json", "--window")

    code, out, said = command(*words, "2")
    found = json.loads(out)
    assert (code, found["window"], found["attempt"], found["same"]) == (1, 2, 1, False)
    assert "trial 0 of level 1, attempt 1, window 2 is not reproducible: intermediate_0: recorded 0.125" in said
    assert command(*words, "1")[0] == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("run", "0", "--window", "3"), "level 1 has 2 windows; its last search is shown without --window"),
        (("single", "0", "--window", "1"), "level 1 has no windows: its split is single"),
        (("run", "99", "--window", "1"), "level 1, attempt 2, window 1 has 10 trials, numbered from 0"),
    ],
)
@pytest.mark.parametrize("name", ["show", "verify"])
def test_a_window_or_trial_that_does_not_exist_is_refused(command: Command, name: str, words, told: str) -> None:
    code, _, said = command("optimize", name, *words)

    assert code == 2
    assert told in " ".join(said.split())


def test_a_window_that_has_not_started_is_refused(harness: RunHarness) -> None:
    record = read_run(harness.context, "run")
    begun = record.attempts[0].model_copy(update={"windows": record.attempts[0].windows[:1]})

    assert begun_window(record, begun, 1).number == 1
    with pytest.raises(SettingsError, match="run run has not started window 2 of level 1, attempt 1"):
        begun_window(record, begun, 2)


def test_python_reads_the_searches_of_windows(harness: RunHarness) -> None:
    run = ts.run("run")

    for window in WINDOWS:
        chosen = read_run(harness.context, "run").attempt("1", 2).window(window)
        assert run.trials(window=window)["number"].to_list() == [each.number for each in trials_of(harness, 2, window)]
        best = run.best(window=window)
        assert (best.number, best.parameters) == (chosen.trial, chosen.parameters)
        assert run.study(window=window).study_name == f"run-L1-a2-w{window}"
        assert [each.number for each in run.front(window=window)] == [chosen.trial]
