"""End of a run: null tests, evidence, one holdout look, a recommendation, and equal files after any kill."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from optimizer.curriculum.state_machine import RunOutcome
from optimizer.level.constraints import Analysis, StressLimits
from optimizer.report.page import draw_page
from optimizer.validation.evidence import NullRun
from optimizer.validation.recommendation import RecommendedAction, Tier
from tests.factories.in_process_runs import (
    ALMOST,
    ANY,
    DATASETS,
    NONE,
    Killed,
    RunHarness,
    after,
    level,
    run_harness_in,
)
from tests.factories.stores import seal_made
from tradeschool.errors import ForeignFile, SettingsError, StoreUnwritable
from tradeschool.markets.catalogue import HOLDOUT_WINDOW, find_dataset
from tradeschool.store import holdout_store
from tradeschool.store.frame_store import FrameStore
from workers.coordinator.run.curriculum_run import finalize_again
from workers.coordinator.run.finalize import NULL_TEST_NAME, FinalizeOptions, read_null_runs
from workers.coordinator.run.run_persistence import read_run

MILD = StressLimits(
    windows=(),
    costs_profit_factor=0.01,
    costs_sharpe_kept=0,
    late_sharpe_kept=0,
    missing_sharpe_kept=0,
    shuffled_drawdown=1,
)
CURRICULUM = (level("1", ANY), level("2", ANY, trials=12, analyses=(Analysis.STABILITY, Analysis.REGIMES)))


@pytest.fixture(scope="module")
def sealed_candles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = FrameStore(tmp_path_factory.mktemp("holdout"))
    for name in DATASETS:
        seal_made(store, find_dataset(name), HOLDOUT_WINDOW)
    return store.root


@pytest.fixture
def whole(harness: RunHarness, sealed_candles: Path) -> RunHarness:
    """A harness with holdout candles."""
    return RunHarness(replace(harness.context, holdout=FrameStore(sealed_candles)))


def again(harness: RunHarness, surrogates: int = 0):
    options = FinalizeOptions(processes=1)
    return finalize_again(harness.dispatcher, harness.context, "run", options, lambda: False, surrogates=surrogates)


def holdout_looks(harness: RunHarness) -> list[dict[str, object]]:
    return [look for look in harness.looks() if look["part"] == "holdout"]


def test_a_run_ends_with_a_recommendation_and_one_holdout_look(whole: RunHarness) -> None:
    whole.begin(*CURRICULUM, seed=3, surrogates=2)

    ended = whole.run()

    found = ended.record.recommendation
    assert (found.level, found.parameters) == ("2", ended.record.attempts[-1].verdict.parameters)
    assert [check.name for check in found.checks if check.met is None] == []
    assert found.evidence.holdout.datasets == DATASETS
    assert len(found.evidence.holdout.days) == (HOLDOUT_WINDOW.end - HOLDOUT_WINDOW.start).days - 2
    assert [each.part for each in found.evidence.excess] == ["train", "validation", "test", "holdout"]
    assert found.evidence.deflation.trials == 8 + 12
    assert ended.record.null_test.surrogates == 2
    trial = ended.record.attempts[-1].verdict.trial
    (look,) = holdout_looks(whole)
    assert (look["level"], look["attempt"], look["trials"]) == ("2", 1, [trial])
    assert look["days"] == [[market, "2024-04-01", "2025-01-01"] for market in ("coinbase:BTC/USD", "oanda:EUR/USD")]
    assert whole.file("recommendation.json")["action"] == found.action
    assert whole.file("report.json")["evidence"]["holdout"]["days"] == list(found.evidence.holdout.days)
    assert whole.file("null.json")["surrogates"] == 2
    assert b"Holdout period" in whole.files()["report.html"]
    assert whole.events()[-4:] == ["level_passed", "null_test_measured", "recommendation", "run_finished"]


def test_a_missing_holdout_is_reported_and_opened_once_available(harness: RunHarness, whole: RunHarness) -> None:
    harness.begin(*CURRICULUM)
    found = harness.run().record.recommendation

    assert found.action is not RecommendedAction.DEPLOY
    assert found.evidence.holdout is None
    assert "2024-04-01..2025-01-01 is incomplete; run: tradeschool fetch --holdout" in found.evidence.holdout_missing
    assert holdout_looks(harness) == []
    assert b"Not opened" in harness.files()["report.html"]

    for _ in range(2):
        assert again(whole).recommendation.evidence.holdout is not None
    assert len(holdout_looks(whole)) == 1
    assert whole.file("recommendation.json")["checks"] != found.model_dump(mode="json")["checks"]


def test_damaged_holdout_candles_are_not_evaluated(harness: RunHarness, folder: Path, sealed_candles: Path) -> None:
    shutil.copytree(sealed_candles, folder / "copy" / "holdout")
    made = RunHarness(replace(harness.context, holdout=holdout_store(folder / "copy")))
    file = next((folder / "copy").rglob("*.parquet"))
    file.write_bytes(file.read_bytes() + b"x")
    made.begin(level("1", ANY))

    with pytest.raises(ForeignFile, match="run tradeschool fetch --holdout to download it again"):
        made.run()

    assert made.run_status().recommendation is None
    assert holdout_looks(made) == []


def test_a_run_that_failed_early_gathers_the_evidence_at_its_last_level(whole: RunHarness) -> None:
    whole.begin(level("1", ANY), level("2", ALMOST), level("3", ANY))

    ended = whole.run()

    found = ended.record.recommendation
    assert (ended.outcome, found.mandate, found.tier) == (RunOutcome.ESCALATED, False, Tier.ESCALATED)
    assert found.action is not RecommendedAction.DEPLOY
    assert found.level == "3"
    assert [look["level"] for look in holdout_looks(whole)] == ["3"]
    assert again(whole, surrogates=1).null_test.surrogates == 1


def test_a_run_that_misses_its_last_gate_evaluates_its_winner_all_the_same(whole: RunHarness) -> None:
    whole.begin(level("1", ANY), level("2", ALMOST, retries=1))

    ended = whole.run()

    found = ended.record.recommendation
    assert (ended.outcome, found.tier, found.level) == (RunOutcome.ESCALATED, Tier.MINIMUM, "2")
    assert found.parameters == ended.record.attempts[-1].verdict.parameters
    assert (found.mandate, found.evidence.out_of_sample) == (False, ended.record.attempts[-1].verdict.skill)
    assert found.evidence.deflation.trials == 8 + 8 + 12
    assert found.action is not RecommendedAction.DEPLOY
    assert holdout_looks(whole)[0]["level"] == "2"


def test_a_run_without_a_winner_has_a_negative_report(whole: RunHarness) -> None:
    whole.begin(level("1", NONE), surrogates=1)

    found = whole.run().record.recommendation

    assert (found.action, found.level, found.evidence) == (RecommendedAction.DO_NOT_DEPLOY, None, None)
    assert found.reason.endswith("; gate of level 1: no trial met all constraints on train")
    assert whole.file("report.json")["evidence"] is None
    assert whole.run_status().record.null_test is None, "it cannot matter"
    assert again(whole, surrogates=1).null_test.t == (0.0,)


@pytest.fixture(scope="module")
def finalized(tmp_path_factory: pytest.TempPathFactory, candles: Path, sealed_candles: Path) -> RunHarness:
    """A run that was finalized without interruption."""
    made = run_harness_in(tmp_path_factory.mktemp("finalized"), candles)
    made = RunHarness(replace(made.context, holdout=FrameStore(sealed_candles)))
    made.begin(*CURRICULUM, seed=3, surrogates=3)
    made.run()
    return made


@pytest.mark.parametrize(
    "kills",
    [
        [("drawn", when) for when in (0, 0, 1, 0, 2)],
        [("read", when) for when in (12, 20, 24, 27, 29, 31, 33, 35, 37, 39, 41, 43, 45, 47, 49, 51, 53, 55)],
        [("drawn", 1), ("holdout", 0), ("read", 3), ("holdout", 1), ("holdout", 0)],
    ],
    ids=["while drawing", "while reading", "at the holdout period"],
)
def test_a_run_killed_while_finalizing_leaves_the_same_files(whole: RunHarness, finalized: RunHarness, kills) -> None:
    whole.begin(*CURRICULUM, seed=3, surrogates=3)

    stopped = whole.run_with_kills(kills)
    whole.run()

    assert stopped is None or stopped.outcome is RunOutcome.PASSED
    assert whole.files() == finalized.files()
    assert whole.looks() == finalized.looks()
    assert whole.events().count("recommendation") == 1
    one, other = (read_run(harness.context, "run").recommendation for harness in (whole, finalized))
    assert one.model_dump_json() == other.model_dump_json()


def test_damaged_candles_before_the_end_stop_the_run_until_repair(
    folder: Path, candles: Path, sealed_candles: Path, finalized: RunHarness
) -> None:
    here = folder / "copy"
    shutil.copytree(candles, here)
    made = run_harness_in(folder, here)
    made = RunHarness(replace(made.context, holdout=FrameStore(sealed_candles)))
    made.begin(*CURRICULUM, seed=3, surrogates=3)
    with pytest.raises(Killed):
        made.run(on_null_test=after(1))
    file = next(here.rglob("oanda/**/*.parquet"))
    sound = file.read_bytes()
    file.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))

    with pytest.raises(ForeignFile, match="changed since it was sealed"):
        made.run()
    file.write_bytes(sound)
    made.run()

    assert made.files() == finalized.files()


def test_resuming_a_finished_run_changes_nothing(finalized: RunHarness) -> None:
    before, told = finalized.files(), finalized.events()

    finalized.run()
    again(finalized)

    assert finalized.files() == before
    assert finalized.events() == told


def test_additional_draws_keep_the_previous_ones(harness: RunHarness) -> None:
    harness.begin(level("1", ANY), surrogates=0)
    harness.run()
    again(harness, surrogates=2)
    path = harness.context.folder("run") / NULL_TEST_NAME
    first = path.read_bytes()

    record = again(harness, surrogates=5)

    assert path.read_bytes().startswith(first)
    assert record.null_test.surrogates == 5
    assert again(harness, surrogates=3).null_test.surrogates == 5
    assert harness.file("null.json")["surrogates"] == 5
    assert harness.file("report.json")["null"]["surrogates"] == 5
    assert harness.file("recommendation.json")["skill"]["surrogates"] == 5


def test_a_draw_interrupted_by_a_kill_is_repeated(harness: RunHarness) -> None:
    harness.begin(level("1", ANY))
    harness.run()
    again(harness, surrogates=3)
    path = harness.context.folder("run") / NULL_TEST_NAME
    whole = path.read_text()
    path.write_text(whole[:-20])

    assert sorted(read_null_runs(path)) == [0, 1]
    again(harness, surrogates=3)
    assert path.read_text().splitlines()[-1] == whole.splitlines()[-1]
    assert read_null_runs(path.with_name("none")) == {}


def test_unreadable_draws_are_reported(tmp_path: Path) -> None:
    with pytest.raises(StoreUnwritable, match="cannot read"):
        read_null_runs(tmp_path)


@pytest.mark.parametrize("line", ["", "{", "[]", "null", '{"surrogate": 1}', '{"surrogate": "x"}', "[" * 9999])
def test_an_invalid_draw_line_is_skipped(tmp_path: Path, line: str) -> None:
    path = tmp_path / NULL_TEST_NAME
    draw = NullRun(surrogate=4, t=0.5, sharpe=None, attempts=1, passed=("1",), mandate=True)
    path.write_bytes(f"{line}\n{draw.model_dump_json()}\n{line}".encode() + b"\n\xff\xfe\n")

    assert read_null_runs(path) == {4: draw}


def test_a_run_with_changed_candles_is_not_evaluated_again(harness: RunHarness) -> None:
    harness.begin(level("1", ANY))
    harness.run()

    with pytest.raises(SettingsError, match="settings"):
        again(RunHarness(replace(harness.context, min_coverage=0.8)))


def test_a_stop_request_ends_the_null_test_between_two_draws(harness: RunHarness) -> None:
    harness.begin(*CURRICULUM, seed=3, surrogates=4)
    told = []

    def done() -> set[int]:
        return {finished for finished, _ in told}

    with pytest.raises(KeyboardInterrupt):
        harness.run(on_null_test=lambda *what: told.append(what), stop=lambda: 0 in done())

    assert done() == {0}
    assert harness.run_status().reason == "next: null test, 0 of 4 surrogate markets are finished"
    assert harness.run(on_null_test=lambda *what: told.append(what)).record.null_test.surrogates == 4
    assert done() == {0, 1, 2, 3, 4}


def test_the_holdout_download_is_awaited_once_the_last_level_was_judged(harness: RunHarness, whole: RunHarness) -> None:
    asked = []
    harness.begin(level("1", ANY))
    harness.run(wait_for_holdout=lambda is_there: asked.append(is_there()))
    whole.begin(level("1", ALMOST), name="other")
    whole.run("other", wait_for_holdout=lambda is_there: asked.append(is_there()))

    assert asked == [False, True], "a run whose last level was judged opens the period, whether its gate passed or not"


def marked(told: object) -> object:
    """The record with markup in every text."""
    match told:
        case str():
            return f"{told}<script>alert()"
        case dict():
            return {name: value if name in {"days", "met"} else marked(value) for name, value in told.items()}
        case list():
            return [marked(each) for each in told]
    return told


def test_a_report_names_gates_and_strength_in_words(finalized: RunHarness) -> None:
    told = finalized.file("report.json")
    page = draw_page({**told, "recommendation": {**told["recommendation"], "strength": "none"}}).decode()

    assert "</b>, no evidence.</p>" in page
    assert ">Gate of level 1</th>" in page
    assert not re.search(r"gate[_ ]1\b", page)


def test_report_text_is_escaped(finalized: RunHarness) -> None:
    page = draw_page(marked(finalized.file("report.json"))).decode()

    assert "<script>" not in page
    assert page.count("&lt;script&gt;alert()") > 100


def test_a_report_loads_no_external_resource(finalized: RunHarness) -> None:
    page = finalized.files()["report.html"].decode()

    asked = re.findall(r"(?:src|href|url)\s*[=(]\s*[\"']?([^\s\"'>)]+)", page)
    assert [each for each in asked if not each.startswith("#")] == []
