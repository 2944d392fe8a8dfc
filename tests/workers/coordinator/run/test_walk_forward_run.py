"""A whole run by walk-forward: windows, inheritance without a leak, files, and equal results after any interruption."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from optimizer.curriculum.state_machine import RunOutcome
from optimizer.level.constraints import Analysis, StressLimits
from optimizer.level.risk import Risk
from optimizer.level.spec import Gate, Level, MinTrades, Part, Split
from optimizer.level.walk_forward import first_judged, out_of_sample
from optimizer.objective.metrics import sharpe
from optimizer.report.equity_file import accounts_of
from optimizer.search.study import read_trials
from optimizer.search.trial_table import export
from optimizer.validation.holdout_log import read_holdout_log
from tests.factories.folders import memory_folder
from tests.factories.in_process_runs import ALMOST, ANY, NONE, RunHarness, level, run_harness_in
from workers.coordinator.run.run_persistence import read_run
from workers.monitoring.run_status_json import as_page, as_result

SPLIT = Split(scheme="walk_forward", windows=3)


def walked(name: str, gate: Gate = ANY, **fields: object) -> Level:
    return level(name, gate, **{"split": SPLIT, **fields})


CURRICULUM = (walked("1"), walked("2", ALMOST, retries=1))


@pytest.fixture(scope="module")
def undisturbed(candles: Path) -> Iterator[RunHarness]:
    """A finished run by walk-forward without any fault."""
    with memory_folder() as name:
        made = run_harness_in(name, candles)
        made.begin(*CURRICULUM)
        made.run()
        yield made


TOO_MANY = 80
"""Closed trades that some trials make on the days before the last window, and none on those before the first one."""


def window_table(harness: RunHarness, name: str, attempt: int, window: int) -> bytes:
    return export(read_trials(harness.context.storage_url, f"run-L{name}-a{attempt}-w{window}"), "csv")


def test_each_window_is_a_study_and_its_choice_trades_the_days_after(harness: RunHarness) -> None:
    harness.begin(walked("1", risk=Risk(target_volatility=0.1)))

    ended = harness.run()

    (attempt,) = ended.record.attempts
    assert [each.number for each in attempt.windows] == [1, 2, 3]
    searched = ended.record.level("1")
    for row in attempt.windows:
        trials = read_trials(harness.context.storage_url, f"run-L1-a1-w{row.number}")
        assert (len(trials), row.finished, row.searched) == (4, 4, True)
        assert row.trial is not None
        assert row.parameters == trials[row.trial].params
        assert row.size == trials[row.trial].user_attrs["metrics"]["size"]
        assert row.train["sharpe"] == trials[row.trial].user_attrs["metrics"]["sharpe"]
        days = {row.validation["days"]}
        assert days == {
            (
                out_of_sample(searched, searched.datasets[0], row.number).end_seconds
                - out_of_sample(searched, searched.datasets[0], row.number).start_seconds
            )
            / 86_400
        }
    assert attempt.verdict.figures[Part.VALIDATION]["days"] == sum(each.validation["days"] for each in attempt.windows)
    trades = sum(each.validation["trades"] for each in attempt.windows)
    assert attempt.verdict.figures[Part.VALIDATION]["trades"] == trades
    assert attempt.verdict.figures.keys() == {Part.TRAIN, Part.VALIDATION}


def test_a_window_starts_from_the_choice_of_the_window_before(harness: RunHarness) -> None:
    harness.begin(walked("1", trials=24))

    record = harness.run().record

    (attempt,) = record.attempts
    for row in attempt.windows[1:]:
        first = read_trials(harness.context.storage_url, f"run-L1-a1-w{row.number}")[0]
        assert first.params == attempt.window(row.number - 1).parameters
    assert read_trials(harness.context.storage_url, "run-L1-a1")[0].params == attempt.windows[-1].parameters


def test_nothing_is_inherited_that_depends_on_days_of_the_window(harness: RunHarness) -> None:
    """Both levels read the same days, so that only the choices before a window's days may reach it."""
    harness.begin(walked("1"), walked("2"))

    record = harness.run().record

    first, second = record.attempts
    assert [each.inherited for each in second.windows] == [each.parameters for each in first.windows]
    for row in second.windows:
        source = first.window(row.number)
        assert source.until <= first_judged(record.level("2"), row.number)
        assert f"level 1, window {row.number}" in row.inherited_reason
    assert second.inherited == first.verdict.parameters
    assert "the winner of level 1" in second.inherited_reason


def test_a_window_without_a_feasible_trial_holds_cash(harness: RunHarness) -> None:
    """Trials of the first windows have too few trades for the constraint; the last search has enough."""
    strict = walked("1", trials=12).model_copy(update={"min_trades": MinTrades(train=TOO_MANY, validation=0)})
    harness.begin(strict)

    record = harness.run().record

    (attempt,) = record.attempts
    cash = [each for each in attempt.windows if each.trial is None]
    assert 0 < len(cash) < 3
    assert attempt.windows[2].validation["trades"] > 0
    assert all(each.validation["trades"] == 0 and each.validation["max_drawdown_intrabar"] == 0 for each in cash)
    assert attempt.verdict.trial is not None
    assert "cash" in (harness.context.folder("run") / "report.html").read_text()


def test_without_a_feasible_trial_no_day_is_opened(harness: RunHarness) -> None:
    harness.begin(walked("1", NONE))

    ended = harness.run()

    assert ended.outcome is RunOutcome.ESCALATED
    assert ended.record.attempts[0].verdict.reason == "no trial met all constraints on train"
    assert read_holdout_log(harness.context.folder("run")) == []


def test_a_retry_reuses_the_trials_of_every_window(harness: RunHarness) -> None:
    harness.begin(walked("1", ALMOST, retries=1))

    record = harness.run().record

    first, second = record.attempts
    assert [each.reused for each in second.windows] == [4, 4, 4]
    assert [each.finished for each in second.windows] == [6, 6, 6]
    for window in (1, 2, 3):
        assert window_table(harness, "1", 2, window).startswith(window_table(harness, "1", 1, window))
    assert first.number == 1


def test_every_look_is_logged_by_window(harness: RunHarness) -> None:
    harness.begin(walked("1"))

    record = harness.run().record

    looks = [(each["part"], each["window"], each["trials"]) for each in read_holdout_log(harness.context.folder("run"))]
    assert looks == [("validation", each.number, [each.trial]) for each in record.attempts[0].windows]


def test_files_show_the_windows(harness: RunHarness) -> None:
    analyses = (Analysis.REGIMES, Analysis.STABILITY)
    limits = StressLimits(
        windows=({"name": "spring", "start": date(2021, 4, 20), "end": date(2021, 5, 2)},), window_drawdown=1.0
    )
    harness.begin(walked("1", analyses=analyses, stress=limits))

    record = harness.run().record

    found = harness.file("1/windows.json")
    assert [each["window"] for each in found["windows"]] == [1, 2, 3]
    assert found["windows"][0]["datasets"][0]["train"] == "2021-03-01..2021-04-09"
    assert found["windows"][0]["datasets"][0]["out_of_sample"] == "2021-04-10..2021-04-30"
    equity = harness.file("1/equity.json")
    windows = dict(zip(equity["days"], equity["window"], strict=True))
    parts = dict(zip(equity["days"], equity["part"], strict=True))
    assert {parts[day] for day, window in windows.items() if window} == {"validation"}
    assert sorted(set(windows.values())) == [0, 1, 2, 3]
    files = harness.files()
    assert files["1/windows/2/trials.csv"] == window_table(harness, "1", 1, 2)
    page = (harness.context.folder("run") / "report.html").read_text()
    assert "Walk-forward windows" in page
    assert '<th scope="row">1</th><td>2021-04-10 to 2021-04-30</td>' in page
    assert record.recommendation is not None


@pytest.mark.parametrize(
    "kills",
    [
        [("told", when) for when in range(16)],
        [("read", when) for when in (1, 3, 5, 7, 8, 9, 11, 13, 15, 17, 20, 24, 28, 32, 36, 40)],
        [("read", 2), ("told", 3), ("read", 9), ("told", 5), ("read", 13), ("told", 1), ("read", 7)],
    ],
    ids=["while searching", "while reading", "both"],
)
def test_a_run_killed_in_any_window_leaves_the_same_files(harness: RunHarness, undisturbed: RunHarness, kills) -> None:
    harness.begin(*CURRICULUM)

    harness.run_with_kills(kills)
    harness.run()

    assert harness.rows() == undisturbed.rows()
    assert harness.files() == undisturbed.files()
    assert harness.looks() == undisturbed.looks()
    for window in (1, 2, 3):
        assert window_table(harness, "2", 2, window) == window_table(undisturbed, "2", 2, window)


def test_the_status_names_the_window_that_is_searched(harness: RunHarness) -> None:
    harness.begin(walked("1"))
    seen = []

    def tell(searched: Level, attempt: int, progress: object) -> None:
        (status,) = harness.run_status().attempts
        seen.append((status.study, status.level.title))

    harness.run(tell=tell)

    assert list(dict.fromkeys(seen)) == [
        ("run-L1-a1-w1", "Made, window 1 of 3"),
        ("run-L1-a1-w2", "Made, window 2 of 3"),
        ("run-L1-a1-w3", "Made, window 3 of 3"),
        ("run-L1-a1", "Made"),
    ]
    status = harness.run_status()
    (attempt,) = as_page(status)["levels"][0]["attempts"]
    assert [each["window"] for each in attempt["windows"]] == [1, 2, 3]
    assert [each["searched"] for each in as_result(status)["levels"][0]["windows"]] == [True] * 3


def test_regimes_choose_in_each_window_on_its_own_train(harness: RunHarness) -> None:
    harness.begin(walked("1", analyses=(Analysis.REGIME_SETS,)))

    (attempt,) = harness.run().record.attempts

    found = harness.file("1/regime_sets.json")
    assert [each["window"] for each in found["windows"]] == [1, 2, 3]
    assert found["test"] is None
    assert found["out_of_sample"]["single"]["sharpe"] == attempt.verdict.figures[Part.VALIDATION]["sharpe"]
    assert found["out_of_sample"]["days"] == attempt.verdict.figures[Part.VALIDATION]["days"]
    for row, window in zip(attempt.windows, found["windows"], strict=True):
        trials = read_trials(harness.context.storage_url, f"run-L1-a1-w{row.number}")
        for chosen in window["sets"].values():
            single = row.parameters if chosen["trial"] is None else trials[chosen["trial"]].params
            assert chosen["parameters"] == single
    assert "Parameters by market regime" in (harness.context.folder("run") / "report.html").read_text()


def test_the_equity_file_has_the_account_that_the_gate_judged(undisturbed: RunHarness) -> None:
    """`optimize compare` reads the daily returns of validation from it."""
    verdict = next(row.verdict for row in read_run(undisturbed.context, "run").attempts if row.level == "1")
    found = accounts_of(undisturbed.file("1/equity.json"))["validation"]

    assert sharpe(found.returns) == pytest.approx(verdict.figures[Part.VALIDATION]["sharpe"], rel=1e-6)
    assert found.max_drawdown_intrabar == pytest.approx(verdict.figures[Part.VALIDATION]["max_drawdown_intrabar"])
