"""A curriculum of two levels: downloads and searches overlap, and kills do not change the result."""

import json
import os
import re
import shutil
import signal
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

GATE_NOT_MET, DATA_INCOMPLETE = 3, 4
LEVEL = """
[[level]]
name = "{name}"
title = "Made"
direction = "both"
strategy = "{strategy}"
trials = 12
lag = 4
datasets = [{{ dataset = "{dataset}", start = 2023-01-01, end = {end} }}]
gate = {{ win_rate = 0.0, sharpe = {sharpe}, max_drawdown_intrabar = 1.0, profit_factor = 0.01 }}
min_trades = {{ train = 1, validation = 1 }}
drawdown_limit = 1.0
ranges = {{ fast = [3, 20], slow = [10, 40], atr_period = [5, 20], stop_atr = [1.0, 4.0], target_atr = [1.0, 6.0] }}
retries = {retries}
"""
ANY, NONE = -99, 99
SLOWLY = """
import time

from optimizer.strategies.built_in.sma_cross import STRATEGY as CROSS


class Slowly:
    name, parameters, warm_up, repair = "slowly", CROSS.parameters, CROSS.warm_up, CROSS.repair

    def signals(self, candles, parameters, direction):
        time.sleep(0.05)
        return CROSS.signals(candles, parameters, direction)


STRATEGY = Slowly()
"""
"""Long enough for a kill to meet a search."""


def write(folder: Path, *levels: str) -> str:
    (folder / "slowly.py").write_text(SLOWLY)
    (folder / "curriculum.toml").write_text("".join(levels))
    return "curriculum.toml"


def level(name: str, dataset: str, **changes: object) -> str:
    given = {"end": "2023-01-22", "sharpe": ANY, "retries": 0, "strategy": "sma_cross"} | changes
    return LEVEL.format(name=name, dataset=dataset, **given)


FIRST = level("1", "coinbase/BTC-USD/M5")
SLOW = (
    level("1", "coinbase/BTC-USD/M5", strategy="slowly:STRATEGY"),
    level("2", "oanda/EUR-USD/M5", strategy="slowly:STRATEGY", sharpe=NONE, retries=1),
)


def results(program, run: str) -> dict[str, bytes]:
    """Every file of a run without times; the surrogate markets, which may finish in any order, sorted."""
    folder = program.folder / "results" / run
    begun = json.loads((folder / "run.json").read_text())["created"][:16]
    untimed = {"run.json", "lineage.json", "events.jsonl", "holdout_log.jsonl"}
    found = {
        str(path.relative_to(folder)): re.sub(rf"{begun[:10]}[T ]{begun[11:]}\S*".encode(), b"then", path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file() and path.name not in untimed
    }
    return found | {
        name: b"".join(sorted(found[name].splitlines(keepends=True))) for name in {"null.jsonl"} & set(found)
    }


def events(program, run: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in (program.folder / "results" / run / "events.jsonl").read_text().splitlines()]


def test_a_level_starts_while_later_datasets_are_still_downloading(program) -> None:
    """Level 2 needs two more years of its dataset: level 1 is judged before they are downloaded."""
    curriculum = write(program.folder, FIRST, level("2", "coinbase/BTC-USD/M5", end="2023-12-20"))
    slow = {"TRADESCHOOL_FETCH__COINBASE_RATE": "20"}

    done = program.run(
        *("fetch", "--pairs", "BTC/USD", "--timeframes", "M5", "--timerange", "20230101-20230102", "--then-optimize"),
        *("--curriculum", curriculum, "--seed", "7", "-j", "2", "--run", "early"),
        environment=slow,
    )

    assert done.returncode == 0, done.stderr
    told = [(each["event"], each.get("level") or each.get("window")) for each in events(program, "early")]
    assert told.index(("level_started", "1")) < told.index(("dataset_sealed", "2023-01-22..2023-12-20"))
    assert told.index(("dataset_sealed", "2023-01-01..2023-01-22")) < told.index(("level_started", "1"))
    assert told[-1][0] == "run_finished"


@pytest.fixture(scope="module")
def undisturbed(candles: Path, make_lasting) -> dict[str, bytes]:
    made = make_lasting("undisturbed")
    shutil.copytree(candles, made.folder / "data")
    curriculum = write(made.folder, *SLOW)
    command = ("optimize", "run", "--curriculum", curriculum, "--seed", "7", "-j", "2", "--run", "whole")
    done = made.run(*command, "--json")
    assert done.returncode == GATE_NOT_MET, done.stderr
    verdict = json.loads(done.stdout)
    assert [(each["level"], each["attempt"], each["passed"]) for each in verdict["levels"]] == [
        ("1", 1, True),
        ("2", 1, False),
        ("2", 2, False),
    ]
    assert verdict["exit_reason"] == "the gate of level 2 is not met after 2 attempts"
    return results(made, "whole")


def test_repeated_kills_leave_the_same_result_files(fetched, eventually, undisturbed) -> None:
    """SIGKILL of command, workers and server at once: in the first level, the second, its retry and at the end."""
    hasty = replace(fetched, environment={**fetched.environment, "TRADESCHOOL_WORK__LEASE_SECONDS": "5"})
    curriculum = write(fetched.folder, *SLOW)
    command = ["optimize", "run", "--curriculum", curriculum, "--seed", "7", "-j", "2", "--run", "whole"]
    draws = fetched.folder / "results" / "whole" / "null.jsonl"
    reached = [lambda trials=trials: fetched.trials() >= trials for trials in (4, 16, 40)]  # of 12, 12, 12 + 18 more
    for is_reached in (*reached, draws.exists):
        search = hasty.start(*command)
        eventually(is_reached)
        for pid in fetched.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        search.communicate(timeout=60)
        assert search.returncode == -signal.SIGKILL, "it was over before it was killed"
        command = ["optimize", "resume", "whole", "-j", "2"]

    done = hasty.run(*command)

    assert done.returncode == GATE_NOT_MET, done.stderr
    assert results(fetched, "whole") == undisturbed


@pytest.fixture(scope="module")
def over(candles: Path, make_lasting):
    """The command in a folder with a finished run `a`."""
    made = make_lasting("over")
    shutil.copytree(candles, made.folder / "data")
    words = ("optimize", "run", "--curriculum", write(made.folder, FIRST), "--seed", "7", "-j", "1", "--run", "a")
    done = made.run(*words)
    assert done.returncode == 0, done.stderr
    assert not made.processes()
    return made


def test_status_and_reproduce_work_on_a_finished_run(over, tmp_path: Path) -> None:
    status = over.json("optimize", "status")
    best = over.json("optimize", "best", "a", "-n", "3")
    verified = over.json("optimize", "verify", "a", str(best[0]["trial"]))
    shown = over.run("optimize", "show", "a", str(best[0]["trial"]))
    planned = over.json("optimize", "plan", "--curriculum", "curriculum.toml")
    changed = copied_study(over, tmp_path)
    with sqlite3.connect(tmp_path / "study.sqlite3") as study:
        study.execute("UPDATE trial_intermediate_values SET intermediate_value = 0.125 WHERE trial_id = 4")
    study.close()
    differing = changed.run("optimize", "verify", "a", "3")

    assert (status["run"], status["outcome"], status["levels"][0]["complete"] > 0) == ("a", "passed", True)
    assert [each["value"] for each in best] == sorted((each["value"] for each in best), reverse=True)
    assert verified["same"] is True
    assert "metric" in shown.stdout
    assert [each["stored"] for each in planned["levels"][0]["parts"]] == [3744, 864, 864]
    assert differing.returncode == 1
    assert "trial 3 of level 1, attempt 1 is not reproducible: intermediate_0: recorded 0.125" in differing.stderr


def copied_study(program, folder: Path):
    """The command over a copy of the study."""
    study = program.folder / ".tradeschool" / "study.sqlite3"
    with sqlite3.connect(study) as there, sqlite3.connect(folder / "study.sqlite3") as here:
        there.backup(here)
    there.close()
    here.close()
    return program.with_environment({"TRADESCHOOL_STORAGE_URL": f"sqlite:///{folder / 'study.sqlite3'}"})


def test_null_test_is_extended_and_report_is_rewritten(over) -> None:
    folder = over.folder / "results" / "a"

    null = over.json("optimize", "null", "a", "--surrogates", "6", "-j", "2")
    report = over.run("optimize", "report", "a")
    told = over.json("optimize", "status", "a")

    assert (null["surrogates"], len(null["t"])) == (6, 6)
    assert len((folder / "null.jsonl").read_text().splitlines()) == 6
    assert report.returncode == 0, report.stderr
    assert "recommendation: " in report.stdout
    assert "holdout period not opened" in " ".join(report.stdout.split())
    assert str(folder / "report.html") in report.stderr
    assert told["recommendation"] == json.loads((folder / "recommendation.json").read_text())
    assert json.loads((folder / "report.json").read_text())["null"]["surrogates"] == 6


def test_an_unfinished_run_has_no_report(fetched, eventually) -> None:
    search = fetched.start("optimize", "run", "--curriculum", write(fetched.folder, *SLOW), "-j", "1", "--run", "a")
    eventually(lambda: fetched.trials() >= 2)
    search.send_signal(signal.SIGINT)
    search.communicate(timeout=60)

    report = fetched.run("optimize", "report", "a")
    null = fetched.run("optimize", "null", "a")

    assert (report.returncode, null.returncode) == (2, 2)
    assert "run a is not finished: next: search level 1, attempt 1" in report.stderr
    assert "no level has a verdict yet" in null.stderr


def test_a_run_resumes_after_a_full_results_disk(
    fetched, small_disk: Path, remount: Callable[[str], None], undisturbed
) -> None:
    curriculum = write(fetched.folder, *SLOW)
    (small_disk / "ballast").write_bytes(b"x" * 470_000)
    (fetched.folder / "results").symlink_to(small_disk)

    full = fetched.run("optimize", "run", "--curriculum", curriculum, "--seed", "7", "-j", "1", "--run", "whole")
    remount("size=20m")
    done = fetched.run("optimize", "resume", "whole", "-j", "1")

    assert full.returncode == 1, full.stderr
    assert "cannot write" in full.stderr
    assert "Traceback" not in full.stderr
    assert done.returncode == GATE_NOT_MET, done.stderr
    assert {name: each for name, each in results(fetched, "whole").items() if name != "ballast"} == undisturbed


def test_insufficient_coverage_is_reported_before_the_start(fetched) -> None:
    curriculum = write(fetched.folder, level("1", "coinbase/BTC-USD/M5", end="2023-02-10"))

    done = fetched.run("optimize", "run", "--curriculum", curriculum, "--seed", "7", "-j", "2")

    assert done.returncode == DATA_INCOMPLETE
    assert "level 1 cannot start: coinbase/BTC-USD/M5: 2023-01-22..2023-02-10 is not sealed" in done.stderr
    assert not (fetched.folder / "results").exists()
