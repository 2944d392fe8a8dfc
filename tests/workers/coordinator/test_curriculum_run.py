"""A whole run in one process: levels, gates, inheritance, retries, and the same files wherever it was stopped."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from optimizer.curriculum.inheritance import first_points
from optimizer.curriculum.state_machine import Outcome
from optimizer.level.constraints import Analysis, StressLimits
from optimizer.level.spec import Gate, Level, LevelDataset
from optimizer.objective.objective import repair
from optimizer.runs.run_store import RunRecord
from optimizer.search.study import read_trials
from optimizer.validation.holdout_log import read_openings
from tests.factories.in_process_runs import (
    ALMOST,
    ANY,
    DATASETS,
    DAYS,
    LADDER,
    NONE,
    Dying,
    Killed,
    School,
    after,
    level,
    school_in,
)
from tests.factories.stores import seal_made
from tradeschool.errors import DataIncomplete, ForeignFile, ServiceUnreachable
from tradeschool.markets.catalogue import find_dataset
from tradeschool.markets.windows import Window
from tradeschool.store import Gap, GapReason
from tradeschool.store.frame_store import FrameStore
from workers.coordinator.context import Place
from workers.coordinator.run_record import read_run
from workers.monitoring.run_status_json import as_result


def test_a_run_climbs_every_level_and_inherits(school: School) -> None:
    school.begin(level("1", ANY), level("2", ANY, trials=12, analyses=(Analysis.SIMILARITY,)))

    ended = school.go_on()

    assert (ended.outcome, ended.level, ended.reason) == (Outcome.PASSED, "2", "every gate is met")
    first, second = ended.record.attempts
    assert (first.inherited, first.verdict.passed) == (None, True)
    assert second.inherited == first.verdict.parameters
    points = first_points(ended.record.level("2"), first.verdict.parameters, 7)
    asked = [trial.params for trial in read_trials(school.place.storage_url, "run-L2-a1")[: len(points)]]
    assert asked == [repair(ended.record.level("2"), point) for point in points]
    assert all(isinstance(point["fast"], int) for point in [*points, second.inherited])
    assert school.file("2/similarity.json")["compared_with"] == "1"
    assert school.file("lineage.json")["attempts"][1]["inherited_from"] == "1"


def test_a_missed_gate_is_tried_again_and_then_given_up(school: School) -> None:
    school.begin(level("1", ALMOST, retries=2), level("2", ANY))

    ended = school.go_on()

    assert (ended.outcome, ended.level) == (Outcome.ESCALATED, "1")
    assert ended.reason == "the gate of level 1 is not met after 3 attempts"
    assert [(each.number, each.carried) for each in ended.record.attempts] == [(1, 0), (2, 8), (3, 20)]
    standing = school.standing()
    assert [(each.tally.trials, each.tally.finished) for each in standing.attempts] == [(8, 8), (12, 12), (18, 18)]
    assert len(read_trials(school.place.storage_url, "run-L1-a3")) == 8 + 12 + 18
    assert school.table("1", 3).startswith(school.table("1", 1))
    shortfalls = school.file("escalation.json")["attempts"]
    assert [[each["name"] for each in one["missed"]] for one in shortfalls] == [["sharpe"]] * 3
    assert not (school.place.folder("run") / "2").exists()


def test_without_a_feasible_trial_nothing_is_opened_and_the_nearest_is_told(school: School) -> None:
    school.begin(level("1", NONE))

    ended = school.go_on()

    assert ended.outcome is Outcome.ESCALATED
    (shortfall,) = school.file("escalation.json")["attempts"]
    assert shortfall["reason"] == "no trial met all constraints on train"
    assert shortfall["closest_on_train"]["violations"]["win_rate"] > 0
    assert read_openings(school.place.folder("run")) == []


def test_a_relaxed_pass_says_so_wherever_it_is_shown(school: School) -> None:
    strict = Gate(win_rate=0.0, sharpe=-99, max_drawdown_intrabar=1.0, profit_factor=0.01)
    almost = strict.model_copy(update={"profit_factor": 60.0})
    school.begin(level("1", almost, retries=1, relax=1.0))

    ended = school.go_on()

    assert ended.outcome is Outcome.PASSED
    assert ended.reason == "every gate is met, with targets relaxed: level 1 by 1"
    assert school.file("1/gate.json")["relaxed"] == 1.0
    assert "(targets relaxed by 1)" in school.file("1/gate.json")["reason"]
    assert as_result(school.standing())["levels"][1]["relaxed"] == 1.0
    assert school.file("lineage.json")["attempts"][1]["verdict"]["relaxed"] == 1.0


def test_every_look_at_validation_and_test_is_one_line(school: School) -> None:
    school.begin(level("1", ALMOST, retries=1))

    school.go_on()
    school.go_on()

    lines = read_openings(school.place.folder("run"))
    assert [(line["part"], line["attempt"]) for line in lines] == [
        ("validation", 1),
        ("test", 1),
        ("validation", 2),
        ("test", 2),
    ]


def test_a_level_with_stress_and_analyses_writes_each_file(school: School) -> None:
    limits = StressLimits(
        windows=({"name": "spring", "start": date(2021, 3, 20), "end": date(2021, 4, 2)},), window_drawdown=1.0
    )
    analyses = (Analysis.REGIMES, Analysis.STABILITY)
    school.begin(level("1", ANY, stress=limits, analyses=analyses))

    ended = school.go_on()

    names = [each.name for each in ended.record.attempts[0].verdict.readings]
    assert names[5:] == [
        "window_drawdown",
        "costs_x2_profit_factor",
        "costs_x2_sharpe_kept",
        "late_sharpe_kept",
        "missing_0.05_sharpe_kept",
        "shuffled_drawdown",
    ]
    files = {path for path in school.files() if path.startswith("1/")}
    assert files >= {"1/stress.json", "1/regimes.json", "1/stability.json", "1/plots/equity.svg", "1/metrics.json"}
    assert [each["name"] for each in school.file("1/stress.json")["windows"]] == ["spring"]


def test_further_constraints_and_an_early_end_hold(school: School) -> None:
    school.begin(level("1", ANY, trials=40, early_stop=5, constraints=("exposure <= 0.9",)))

    ended = school.go_on()

    (attempt,) = school.standing().attempts
    assert attempt.tally.finished < 40
    assert "exposure <= 0.9" in [each.name for each in ended.record.attempts[0].verdict.readings]
    assert all("exposure <= 0.9" in trial.constraints for trial in read_trials(school.place.storage_url, "run-L1-a1"))


def broken(school: School, kills: Iterator[tuple[str, int]]) -> None:
    for kind, when in kills:
        dying = replace(school.place, store=Dying(school.place.store, when)) if kind == "read" else school.place
        tell = after(when) if kind == "told" else lambda *_: None
        try:
            School(dying).go_on(tell=tell)
        except Killed:
            continue
        return


@pytest.mark.parametrize(
    "kills",
    [
        [("told", when) for when in range(12)],
        [("read", when) for when in (1, 3, 5, 6, 7, 8, 9, 12, 15, 20, 22, 24, 26)],
        [("read", 2), ("told", 3), ("read", 9), ("told", 5), ("read", 13), ("told", 1), ("read", 7)],
    ],
    ids=["while searching", "while reading", "both"],
)
def test_a_run_that_is_killed_anywhere_leaves_the_same_files(school: School, undisturbed: School, kills) -> None:
    school.begin(*LADDER)

    broken(school, iter(kills))
    ended = school.go_on()

    assert ended.outcome is Outcome.ESCALATED
    assert school.rows() == undisturbed.rows()
    for name, attempt in (("1", 1), ("2", 1), ("2", 2)):
        assert school.table(name, attempt) == undisturbed.table(name, attempt)
    assert school.files() == undisturbed.files()
    assert school.looks() == undisturbed.looks()


def test_an_ended_run_ends_again_and_changes_nothing(undisturbed: School) -> None:
    before, told = undisturbed.files(), undisturbed.events()

    ended = undisturbed.go_on()

    assert ended.outcome is Outcome.ESCALATED
    assert undisturbed.files() == before
    assert undisturbed.events() == told


def test_what_happened_is_told_in_order(undisturbed: School) -> None:
    assert undisturbed.events() == [
        "run_started",
        "level_started",
        "level_passed",
        "level_started",
        "level_missed",
        "level_started",
        "level_missed",
        "level_escalated",
        "recommendation",
        "run_finished",
    ]


class Fickle:
    """A role that its database gives back once, as a server's does after an outage."""

    def __init__(self, lives: int) -> None:
        self._lives = lives

    def is_held(self) -> bool:
        self._lives -= 1
        return self._lives >= 0

    def release(self) -> None:
        pass


@pytest.mark.parametrize("lives", [0, 1, 2, 3, 4])
def test_a_run_whose_role_was_lost_is_claimed_and_read_again(
    school: School, monkeypatch: pytest.MonkeyPatch, lives: int
) -> None:
    """Another process may have gone on meanwhile: nothing that was read before may be written over what it wrote."""
    roles = [Fickle(lives), Fickle(99)]
    monkeypatch.setattr("workers.coordinator.curriculum_run.wait_to_claim", lambda *_, **__: roles.pop(0))
    school.begin(level("1", ANY), level("2", ANY))

    ended = school.go_on()

    assert (ended.outcome, len(ended.record.attempts)) == (Outcome.PASSED, 2)
    assert roles == []
    assert len(read_trials(school.place.storage_url, "run-L1-a1")) == 8


def test_a_database_that_is_away_between_two_steps_is_waited_for(
    school: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, failures = read_run, [2, 5, 6]

    def fickle(place: Place, name: str) -> RunRecord:
        failures[:] = [each - 1 for each in failures]
        if 0 in failures:
            raise ServiceUnreachable("study database: gone for a moment")
        return read(place, name)

    monkeypatch.setattr("workers.coordinator.curriculum_run.read_run", fickle)
    school.begin(level("1", ANY), level("2", ANY))

    assert school.go_on().outcome is Outcome.PASSED
    assert max(failures) < 0, "every failure was met"


def test_what_a_download_ends_with_is_not_waited_out(school: School) -> None:
    later = level("1", ANY).model_copy(
        update={"datasets": (LevelDataset(dataset=DATASETS[0], start=date(2022, 1, 1), end=date(2022, 3, 1)),)}
    )
    school.begin(later)

    waited = []

    def wait(level: Level) -> None:
        waited.append(level.name)
        raise ServiceUnreachable("coinbase does not answer")

    with pytest.raises(ServiceUnreachable, match="coinbase"):
        school.go_on(wait=wait)

    assert waited == ["1"]


def test_an_interrupted_run_is_unfinished(school: School) -> None:
    school.begin(level("1", ANY))

    with pytest.raises(KeyboardInterrupt):
        school.go_on(stop=lambda: True)

    assert school.standing().outcome is None


def test_missing_candles_are_named_with_coverage_and_gaps(tmp_path: Path, folder: Path, window) -> None:
    store = FrameStore(tmp_path / "thin")
    dataset, days = find_dataset(DATASETS[0]), Window(*(datetime(d.year, d.month, d.day, tzinfo=UTC) for d in DAYS))
    lost = window("2021-04-01", "2021-04-21")
    gap = Gap(start=lost.start, end=lost.end, slots=480, reason=GapReason.CONFIRMED_EMPTY)
    seal_made(store, dataset, days, gaps=(gap,))
    school = school_in(folder, store.root)
    thin = level("1", ANY).model_copy(
        update={"datasets": (LevelDataset(dataset=DATASETS[0], start=DAYS[0], end=DAYS[1]),)}
    )
    school.begin(thin)

    with pytest.raises(DataIncomplete) as caught:
        school.go_on()

    said = str(caught.value)
    assert "coinbase/BTC-USD/H1: 2021-03-01..2021-06-09 has 80.00% of its candles, expected at least 90.00%" in said
    assert "gaps: 1, the longest 2021-04-01..2021-04-21 (480 candles)" in said
    assert caught.value.exit_code == 4


def test_candles_that_are_damaged_between_two_levels_stop_the_run_until_they_are_mended(
    folder: Path, candles: Path, undisturbed: School
) -> None:
    here = folder / "copy"
    shutil.copytree(candles, here)
    school = school_in(folder, here)
    school.begin(*LADDER)
    with pytest.raises(Killed):
        school.go_on(tell=lambda level, attempt, progress: (_ for _ in ()).throw(Killed) if level.name == "2" else None)
    file = next(here.rglob("oanda/**/*.parquet"))
    sound = file.read_bytes()
    file.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))

    with pytest.raises(ForeignFile, match="changed since it was sealed"):
        school.go_on()
    file.write_bytes(sound)
    school.go_on()

    assert school.files() == undisturbed.files()
