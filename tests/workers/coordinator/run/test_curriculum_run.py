"""A whole run in one process: levels, gates, inheritance, retries, and equal files after any interruption."""

import shutil
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from optimizer.curriculum.inheritance import first_points
from optimizer.curriculum.state_machine import RunOutcome
from optimizer.level.constraints import Analysis, StressLimits
from optimizer.level.level_dataset import LevelDataset
from optimizer.level.spec import Gate, Level, Part
from optimizer.objective.objective import prepare_level, repair
from optimizer.runs.run_record import RunRecord
from optimizer.search.study import read_trials
from optimizer.validation.holdout_log import read_holdout_log
from tests.factories.in_process_runs import (
    ALMOST,
    ANY,
    CURRICULUM,
    DATASETS,
    DAYS,
    NONE,
    Killed,
    RunHarness,
    early,
    level,
    run_harness_in,
)
from tests.factories.levels import RANGES
from tests.factories.stores import seal_made
from tradeschool.errors import DataIncomplete, ForeignFile, ServiceUnreachable
from tradeschool.markets.catalogue import find_dataset
from tradeschool.markets.windows import Window
from tradeschool.store import Gap, GapReason
from tradeschool.store.frame_store import FrameStore
from workers.coordinator import event_log
from workers.coordinator.context import RunContext
from workers.coordinator.run.run_persistence import read_run
from workers.monitoring.run_status_json import as_page, as_result


def test_a_run_searches_every_level_and_inherits(harness: RunHarness) -> None:
    harness.begin(early("1", ANY), level("2", ANY, trials=12, analyses=(Analysis.SIMILARITY,)))

    ended = harness.run()

    assert (ended.outcome, ended.level, ended.reason) == (RunOutcome.PASSED, "2", "every gate is met")
    first, second = ended.record.attempts
    assert (first.inherited, first.verdict.passed) == (None, True)
    assert second.inherited == first.verdict.parameters
    points = first_points(ended.record.level("2"), first.verdict.parameters, 7)
    asked = [trial.params for trial in read_trials(harness.context.storage_url, "run-L2-a1")[: len(points)]]
    assert asked == [repair(ended.record.level("2"), point) for point in points]
    assert all(isinstance(point["fast"], int) for point in [*points, second.inherited])
    assert harness.file("2/similarity.json")["compared_with"] == "1"
    assert harness.file("lineage.json")["attempts"][1]["inherited_from"] == "1"


def test_a_winner_that_was_selected_on_days_of_the_next_level_is_not_inherited(harness: RunHarness) -> None:
    """Both levels are judged on the same days; level 2 would be judged on days that its first points were chosen on."""
    harness.begin(level("1", ANY), level("2", ANY))

    first, second = harness.run().record.attempts

    assert second.inherited is None
    assert second.inherited_reason == (
        "nothing inherited: every earlier choice depends on days up to 2021-05-20, and 2021-05-01 is judged here"
    )
    assert first.inherited_reason == "nothing inherited: no earlier level has passed its gate"
    assert harness.file("lineage.json")["attempts"][1]["inherited_reason"] == second.inherited_reason


def test_a_failed_gate_is_retried_and_then_only_the_last_level_is_tried(harness: RunHarness) -> None:
    harness.begin(level("1", ALMOST, retries=2), level("2", ANY), level("3", ANY, retries=2))

    ended = harness.run()

    assert (ended.outcome, ended.level) == (RunOutcome.ESCALATED, "1")
    assert ended.reason == "the gate of level 1 is not met after 3 attempts"
    tried = [(each.level, each.number, each.reused) for each in ended.record.attempts]
    assert tried == [("1", 1, 0), ("1", 2, 8), ("1", 3, 20), ("3", 1, 0)]
    status = harness.run_status()
    counted = [(each.counts.trials, each.counts.finished) for each in status.attempts]
    assert counted == [(8, 8), (12, 12), (18, 18), (8, 8)]
    assert [each.state for each in status.levels] == ["failed", "skipped", "passed"]
    assert ended.record.recommendation.level == "3", "the evidence is that of the last level"
    assert len(read_trials(harness.context.storage_url, "run-L1-a3")) == 8 + 12 + 18
    assert harness.table("1", 3).startswith(harness.table("1", 1))
    shortfalls = harness.file("escalation.json")["attempts"]
    assert [[each["name"] for each in one["missed"]] for one in shortfalls] == [["sharpe"]] * 3
    assert not (harness.context.folder("run") / "2").exists()


def test_a_retry_records_and_shows_what_it_changed_and_why(harness: RunHarness) -> None:
    narrow = {**RANGES, "fast": (5.0, 6.0), "slow": (20.0, 21.0)}  # every value lies at an end
    harness.begin(level("1", ALMOST, retries=1, ranges=narrow, retry={"trials_factor": 2.0}))

    ended = harness.run()

    first, second = ended.record.attempts
    (plan,) = second.retries
    assert plan.facts == first.verdict.facts
    assert plan.facts.parameters == first.verdict.parameters
    assert [each.name for each in plan.facts.on_validation] == ["sharpe"]
    reading = next(each for each in first.verdict.readings if each.name == "sharpe")
    assert plan.facts.on_validation[0].by == pytest.approx(99 - reading.value)
    assert {"fast", "slow"} <= {change.name for change in plan.changes}
    searched = ended.record.searched_level(second)
    assert {change.name: change.now for change in plan.changes}.items() <= searched.ranges.items()
    assert (searched.trials, plan.trials, plan.trials_before) == (16, 16, 8)
    assert searched.gate == ALMOST
    shown = [
        harness.file("lineage.json")["attempts"][1]["retry"],
        harness.file("report.json")["levels"][0]["retries"][0],
        as_result(harness.run_status())["levels"][1]["retry"],
        as_page(harness.run_status())["levels"][0]["attempts"][1]["retry"],
    ]
    assert [each["reason"] for each in shown] == [plan.reason] * 4
    assert "16 instead of 8" in (harness.context.folder("run") / "report.html").read_text()
    told = next(each for each in event_log.read(harness.context.folder("run")) if each.name == "retry_planned")
    assert told.sentence == f"level 1, attempt 2: {plan.reason}"


def test_all_attempts_are_judged_over_the_same_bars(harness: RunHarness) -> None:
    """A retry that widens nothing keeps the warm-up of the widest ranges."""
    harness.begin(level("1", ALMOST, retries=2, retry={"edge": 0.0}))

    record = harness.run().record

    read = harness.context.store.arrays
    bars = [
        [each.first_evaluated for each in prepare_level(record.searched_level(row), Part.TRAIN, read)]
        for row in record.attempts
    ]
    assert bars[0] == bars[1] == bars[2]
    days = {row.verdict.figures[Part.TRAIN]["days"] for row in record.attempts}
    assert len(days) == 1


def test_without_a_feasible_trial_the_nearest_trial_is_reported(harness: RunHarness) -> None:
    harness.begin(level("1", NONE))

    ended = harness.run()

    assert ended.outcome is RunOutcome.ESCALATED
    (shortfall,) = harness.file("escalation.json")["attempts"]
    assert shortfall["reason"] == "no trial met all constraints on train"
    assert shortfall["closest_on_train"]["violations"]["win_rate"] > 0
    assert read_holdout_log(harness.context.folder("run")) == []


def test_a_relaxed_pass_is_marked_in_all_outputs(harness: RunHarness) -> None:
    strict = Gate(win_rate=0.0, sharpe=-99, max_drawdown_intrabar=1.0, profit_factor=0.01)
    almost = strict.model_copy(update={"profit_factor": 60.0})
    harness.begin(level("1", almost, retries=1, relax=1.0))

    ended = harness.run()

    assert ended.outcome is RunOutcome.PASSED
    assert ended.reason == "every gate is met, with targets relaxed: level 1 by 1"
    assert harness.file("1/gate.json")["relaxed"] == 1.0
    assert "(targets relaxed by 1)" in harness.file("1/gate.json")["reason"]
    assert as_result(harness.run_status())["levels"][1]["relaxed"] == 1.0
    assert harness.file("lineage.json")["attempts"][1]["verdict"]["relaxed"] == 1.0


def test_every_look_at_validation_and_test_is_logged(harness: RunHarness) -> None:
    harness.begin(level("1", ALMOST, retries=1))

    harness.run()
    harness.run()

    lines = read_holdout_log(harness.context.folder("run"))
    assert [(line["part"], line["attempt"]) for line in lines] == [
        ("validation", 1),
        ("test", 1),
        ("validation", 2),
        ("test", 2),
    ]


def test_a_level_with_stress_and_analyses_writes_each_file(harness: RunHarness) -> None:
    limits = StressLimits(
        windows=({"name": "spring", "start": date(2021, 3, 20), "end": date(2021, 4, 2)},), window_drawdown=1.0
    )
    analyses = (Analysis.REGIMES, Analysis.STABILITY)
    harness.begin(level("1", ANY, stress=limits, analyses=analyses))

    ended = harness.run()

    names = [each.name for each in ended.record.attempts[0].verdict.readings]
    assert names[5:] == [
        "window_drawdown",
        "costs_x2_profit_factor",
        "costs_x2_sharpe_kept",
        "late_sharpe_kept",
        "missing_0.05_sharpe_kept",
        "shuffled_drawdown",
    ]
    files = {path for path in harness.files() if path.startswith("1/")}
    assert files >= {"1/stress.json", "1/regimes.json", "1/stability.json", "1/plots/equity.svg", "1/metrics.json"}
    assert [each["name"] for each in harness.file("1/stress.json")["windows"]] == ["spring"]


def test_parameters_by_regime_are_reported_and_the_winner_stays_one_set(harness: RunHarness) -> None:
    harness.begin(level("1", ANY, analyses=(Analysis.REGIME_SETS,)))
    harness.begin(level("1", ANY), name="plain")

    (attempt,) = harness.run().record.attempts

    found = harness.file("1/regime_sets.json")
    assert found["available"] is True
    assert (found["out_of_sample"]["part"], found["test"]["part"]) == ("validation", "test")
    assert found["out_of_sample"]["single"]["sharpe"] == attempt.verdict.figures[Part.VALIDATION]["sharpe"]
    assert found["test"]["single"]["trades"] == attempt.verdict.figures[Part.TEST]["trades"]
    assert found["conclusion"] == ("parameter sets by regime" if found["adopted"] else "one parameter set")
    assert set(found["sets"]) == {"bull", "bear", "sideways"}
    assert sum(found["train_bars"].values()) == pytest.approx(1)
    assert harness.file("report.json")["levels"][0]["regime_sets"] == found
    assert "Parameters by market regime" in (harness.context.folder("run") / "report.html").read_text()
    (plain,) = harness.run("plain").record.attempts
    assert (attempt.verdict.trial, attempt.verdict.parameters) == (plain.verdict.trial, plain.verdict.parameters)
    assert attempt.verdict.model_dump_json() == plain.verdict.model_dump_json()


def test_extra_constraints_and_early_stopping_are_applied(harness: RunHarness) -> None:
    harness.begin(level("1", ANY, trials=40, early_stop=5, constraints=("exposure <= 0.9",)))

    ended = harness.run()

    (attempt,) = harness.run_status().attempts
    assert attempt.counts.finished < 40
    assert "exposure <= 0.9" in [each.name for each in ended.record.attempts[0].verdict.readings]
    assert all(
        "exposure <= 0.9" in trial.constraints for trial in read_trials(harness.context.storage_url, "run-L1-a1")
    )


@pytest.mark.parametrize(
    "kills",
    [
        [("told", when) for when in range(12)],
        [("read", when) for when in (1, 3, 5, 6, 7, 8, 9, 12, 15, 20, 22, 24, 26)],
        [("read", 2), ("told", 3), ("read", 9), ("told", 5), ("read", 13), ("told", 1), ("read", 7)],
    ],
    ids=["while searching", "while reading", "both"],
)
def test_a_run_killed_at_any_step_leaves_the_same_files(harness: RunHarness, finished_run: RunHarness, kills) -> None:
    harness.begin(*CURRICULUM)

    harness.run_with_kills(kills)
    ended = harness.run()

    assert ended.outcome is RunOutcome.ESCALATED
    assert harness.rows() == finished_run.rows()
    for name, attempt in (("1", 1), ("2", 1), ("2", 2)):
        assert harness.table(name, attempt) == finished_run.table(name, attempt)
    assert harness.files() == finished_run.files()
    assert harness.looks() == finished_run.looks()


def test_resuming_a_finished_run_changes_nothing(finished_run: RunHarness) -> None:
    before, told = finished_run.files(), finished_run.events()

    ended = finished_run.run()

    assert ended.outcome is RunOutcome.ESCALATED
    assert finished_run.files() == before
    assert finished_run.events() == told


def test_events_are_reported_in_order(finished_run: RunHarness) -> None:
    assert finished_run.events() == [
        "run_started",
        "level_started",
        "level_passed",
        "level_started",
        "level_failed",
        "retry_planned",
        "level_started",
        "level_failed",
        "level_escalated",
        "recommendation",
        "run_finished",
    ]


class UnstableSource:
    """A leadership lock that the database releases once, as after an outage."""

    def __init__(self, lives: int) -> None:
        self._lives = lives

    def is_held(self) -> bool:
        self._lives -= 1
        return self._lives >= 0

    def release(self) -> None:
        pass


@pytest.mark.parametrize("lives", [0, 1, 2, 3, 4])
def test_a_run_that_lost_its_leadership_claims_it_and_reloads(
    harness: RunHarness, monkeypatch: pytest.MonkeyPatch, lives: int
) -> None:
    """Another process may have continued meanwhile, so stale state must not overwrite its writes."""
    roles = [UnstableSource(lives), UnstableSource(99)]
    monkeypatch.setattr("workers.coordinator.run.curriculum_run.wait_for_leadership", lambda *_, **__: roles.pop(0))
    harness.begin(level("1", ANY), level("2", ANY))

    ended = harness.run()

    assert (ended.outcome, len(ended.record.attempts)) == (RunOutcome.PASSED, 2)
    assert roles == []
    assert len(read_trials(harness.context.storage_url, "run-L1-a1")) == 8


def test_a_database_outage_between_two_steps_is_waited_for(
    harness: RunHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, failures = read_run, [2, 5, 6]

    def fickle(context: RunContext, name: str) -> RunRecord:
        failures[:] = [each - 1 for each in failures]
        if 0 in failures:
            raise ServiceUnreachable("study database: gone for a moment")
        return read(context, name)

    monkeypatch.setattr("workers.coordinator.run.curriculum_run.read_run", fickle)
    harness.begin(level("1", ANY), level("2", ANY))

    assert harness.run().outcome is RunOutcome.PASSED
    assert max(failures) < 0, "every failure was met"


def test_a_failed_download_ends_the_wait_for_candles(harness: RunHarness) -> None:
    later = level("1", ANY).model_copy(
        update={"datasets": (LevelDataset(dataset=DATASETS[0], start=date(2022, 1, 1), end=date(2022, 3, 1)),)}
    )
    harness.begin(later)

    waited = []

    def wait(level: Level) -> None:
        waited.append(level.name)
        raise ServiceUnreachable("coinbase does not answer")

    with pytest.raises(ServiceUnreachable, match="coinbase"):
        harness.run(wait=wait)

    assert waited == ["1"]


def test_an_interrupted_run_is_unfinished(harness: RunHarness) -> None:
    harness.begin(level("1", ANY))

    with pytest.raises(KeyboardInterrupt):
        harness.run(stop=lambda: True)

    assert harness.run_status().outcome is None


def test_missing_candles_are_reported_with_coverage_and_gaps(tmp_path: Path, folder: Path, window) -> None:
    store = FrameStore(tmp_path / "thin")
    dataset, days = find_dataset(DATASETS[0]), Window(*(datetime(d.year, d.month, d.day, tzinfo=UTC) for d in DAYS))
    lost = window("2021-04-01", "2021-04-21")
    gap = Gap(start=lost.start, end=lost.end, slots=480, reason=GapReason.NOT_IN_FILE)
    seal_made(store, dataset, days, gaps=(gap,))
    harness = run_harness_in(folder, store.root)
    thin = level("1", ANY).model_copy(
        update={"datasets": (LevelDataset(dataset=DATASETS[0], start=DAYS[0], end=DAYS[1]),)}
    )
    harness.begin(thin)

    with pytest.raises(DataIncomplete) as caught:
        harness.run()

    said = str(caught.value)
    assert (
        "coinbase/BTC-USD/H1: 2021-03-01..2021-06-09 has 80.00% of its candles accounted for, expected at least 90.00%"
        in said
    )
    assert "gaps: 1, the longest 2021-04-01..2021-04-21 (480 candles)" in said
    assert caught.value.exit_code == 4


def test_damaged_candles_between_two_levels_stop_the_run_until_repair(
    folder: Path, candles: Path, finished_run: RunHarness
) -> None:
    here = folder / "copy"
    shutil.copytree(candles, here)
    harness = run_harness_in(folder, here)
    harness.begin(*CURRICULUM)
    with pytest.raises(Killed):
        harness.run(tell=lambda level, attempt, progress: (_ for _ in ()).throw(Killed) if level.name == "2" else None)
    file = next(here.rglob("oanda/**/*.parquet"))
    sound = file.read_bytes()
    file.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))

    with pytest.raises(ForeignFile, match="changed since it was sealed"):
        harness.run()
    file.write_bytes(sound)
    harness.run()

    assert harness.files() == finished_run.files()
