"""`optimize compare` on real runs: parameters, intervals of the difference, gates, recommendation and settings."""

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from optimizer.level.spec import Part
from optimizer.objective.objective import backtest, prepare_level
from optimizer.objective.portfolio import portfolio
from optimizer.report.equity_file import accounts_of
from optimizer.validation.statistics.paired_difference import paired_differences
from tests.factories.in_process_runs import ANY, NONE, RunHarness, level, run_harness_in, seal_candles
from tradeschool.store.frame_store import FrameStore
from workers.coordinator.run.run_persistence import read_run

Command = Callable[..., tuple[int, str, str]]


def shortened(start: date, end: date):
    made = level("1", ANY)
    return made.model_copy(
        update={"datasets": tuple(each.model_copy(update={"start": start, "end": end}) for each in made.datasets)}
    )


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> RunHarness:
    """Two finished runs of the same days with different trials, one of other days, and one without a winner."""
    folder = tmp_path_factory.mktemp("compared")
    seal_candles(FrameStore(folder / "data"))
    made = run_harness_in(folder, folder / "data")
    runs = {
        "one": (level("1", ANY), 7),
        "other": (level("1", ANY, trials=16, position_fraction=0.5), 8),
        "early": (shortened(date(2021, 3, 1), date(2021, 4, 20)), 7),
        "late": (shortened(date(2021, 4, 20), date(2021, 6, 9)), 7),
        "none": (level("1", NONE, trials=2, retries=0), 7),
    }
    for name, (searched, seed) in runs.items():
        made.begin(searched, name=name, seed=seed)
        made.run(name)
    return made


@pytest.fixture
def compare(harness: RunHarness, command: Command, monkeypatch: pytest.MonkeyPatch) -> Command:
    folder = harness.context.results_dir.parent
    for name, value in (
        ("DATA_DIR", folder / "data"),
        ("RESULTS_DIR", folder / "results"),
        ("STATE_DIR", folder / "state"),
        ("STORAGE_URL", harness.context.storage_url),
    ):
        monkeypatch.setenv(f"TRADESCHOOL_{name}", str(value))
    return lambda *words: command("optimize", "compare", *words)


def of(compare: Command, *words: str) -> dict:
    code, out, err = compare(*words, "--json")
    assert code == 0, err
    return json.loads(out)


def test_two_runs_are_compared_side_by_side(compare: Command, harness: RunHarness) -> None:
    found = of(compare, "one", "other")
    (compared,) = found["levels"]
    records = [read_run(harness.context, name) for name in ("one", "other")]
    verdicts = [record.attempts[0].verdict for record in records]

    assert found["runs"] == ["one", "other"]
    assert found["code"]["same"] is True
    assert {row["name"]: row["values"] for row in found["settings"]} == {"seed": [7, 8]}
    assert {row["name"]: row["values"] for row in compared["settings"]} == {
        "trials": [8, 16],
        "position_fraction": [1.0, 0.5],
    }
    assert compared["winners"] == [each.trial for each in verdicts]
    for row in compared["parameters"]:
        assert row["values"] == [each.parameters[row["name"]] for each in verdicts]
    assert [row["same"] for row in compared["data"]] == [True, True]
    assert {row["name"] for row in compared["gate"]} >= {"sharpe", "win_rate", "trades"}
    assert found["recommendation"]["actions"] == [record.recommendation.action_words for record in records]
    assert [row["name"] for row in found["recommendation"]["checks"]] == [
        check.name for check in records[0].recommendation.checks
    ]


def test_metrics_and_intervals_are_those_of_the_winners_daily_returns(compare: Command, harness: RunHarness) -> None:
    (compared,) = of(compare, "one", "other")["levels"]
    records = [read_run(harness.context, name) for name in ("one", "other")]
    accounts = []
    for record in records:
        searched = record.levels[0]
        prepared = prepare_level(searched, Part.VALIDATION, harness.context.store.arrays)
        parameters = record.attempts[0].verdict.parameters
        accounts.append(portfolio([backtest(searched, each, parameters) for each in prepared]))
    expected = paired_differences(*accounts, 1).by_metric["sharpe"]
    part = next(each for each in compared["parts"] if each["part"] == "validation")
    sharpe = next(row for row in part["metrics"] if row["name"] == "sharpe")

    assert [each["part"] for each in compared["parts"]] == ["train", "validation", "test"]
    assert sharpe["values"] == [each.attempts[0].verdict.figures[Part.VALIDATION]["sharpe"] for each in records]
    assert [sharpe["difference"], sharpe["low"], sharpe["high"]] == pytest.approx(
        [expected.value, expected.low, expected.high], abs=1e-6
    )
    assert sharpe["difference"] == pytest.approx(sharpe["values"][1] - sharpe["values"][0], abs=1e-6)
    trades = next(row for row in part["metrics"] if row["name"] == "trades")
    assert (trades["difference"], trades["low"]) == (None, None)


def test_the_accounts_of_an_equity_file_are_those_of_the_backtest(harness: RunHarness) -> None:
    record = read_run(harness.context, "one")
    searched, found = record.levels[0], accounts_of(harness.file("1/equity.json", "one"))
    prepared = prepare_level(searched, Part.TRAIN, harness.context.store.arrays)
    account = portfolio([backtest(searched, each, record.attempts[0].verdict.parameters) for each in prepared])

    assert found["train"].days.tolist() == account.days.tolist()
    assert found["train"].returns == pytest.approx(account.returns, abs=1e-9)
    assert found["train"].max_drawdown_intrabar == pytest.approx(account.max_drawdown_intrabar, abs=1e-9)


@pytest.mark.parametrize("content", [None, [], {"days": [1], "part": ["train"], "equity": [], "drawdown": [0.0]}])
def test_a_missing_or_damaged_equity_file_has_no_account(content: object) -> None:
    assert accounts_of(content) == {}


def test_runs_of_other_days_have_a_line_instead_of_differences(compare: Command) -> None:
    found = of(compare, "early", "late")
    part = found["levels"][0]["parts"][0]

    assert part["common"] is None
    assert part["note"].startswith("train: the days of the runs do not overlap (2021-03-")
    assert all(row["difference"] is None for row in part["metrics"])
    assert [row["same"] for row in found["levels"][0]["data"]] == [False, False]
    assert "the days of the runs do not overlap" in " ".join(compare("early", "late")[1].split())


def test_a_run_without_a_winner_is_compared_by_its_reason(compare: Command) -> None:
    (compared,) = of(compare, "one", "none")["levels"]

    assert compared["winners"][1] is None
    assert compared["parts"] == []
    assert compared["reasons"][1] == "no trial met all constraints on train"
    assert all(row["readings"][1] is None for row in compared["gate"])


def test_the_tables_show_both_runs(compare: Command) -> None:
    code, out, _ = compare("one", "other", "--level", "1")

    assert code == 0
    for text in (
        "code: the same",
        "position_fraction",
        "parameters of the winners",
        "95 % interval",
        "other minus one",
    ):
        assert text in out, text


def test_an_unknown_run_or_level_is_named(compare: Command) -> None:
    assert "no run 'missing'" in compare("one", "missing")[2]
    assert "unknown level '9'" in compare("one", "other", "--level", "9")[2]


def test_a_run_whose_files_are_gone_has_a_line_instead_of_differences(compare: Command, harness: RunHarness) -> None:
    file: Path = harness.context.folder("other") / "1" / "equity.json"
    kept = file.read_bytes()
    file.unlink()
    try:
        part = of(compare, "one", "other")["levels"][0]["parts"][0]
    finally:
        file.write_bytes(kept)

    assert part["note"] == "train: the daily returns are not in the results folder, so there are no differences"
