"""What a run comes to: luck, evidence, the sealed period opened once, and the same files wherever it was killed."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from optimizer.curriculum.state_machine import Outcome
from optimizer.level.constraints import Analysis, StressLimits
from optimizer.report.page import draw_page
from optimizer.validation.evidence import Draw
from optimizer.validation.recommendation import Action, Tier
from tests.factories.in_process_runs import ALMOST, ANY, DATASETS, NONE, Dying, Killed, School, after, level, school_in
from tests.factories.stores import seal_made
from tradeschool.errors import ForeignFile, SettingsError, StoreUnwritable
from tradeschool.markets.catalogue import SEALED_WINDOW, find_dataset
from tradeschool.store import sealed_store
from tradeschool.store.frame_store import FrameStore
from workers.coordinator.curriculum_run import conclude_again
from workers.coordinator.finalize import DRAWS_NAME, Finale, read_draws
from workers.coordinator.run_record import read_run

MILD = StressLimits(
    windows=(),
    costs_profit_factor=0.01,
    costs_sharpe_kept=0,
    late_sharpe_kept=0,
    missing_sharpe_kept=0,
    shuffled_drawdown=1,
)
LADDER = (level("1", ANY), level("2", ANY, trials=12, analyses=(Analysis.STABILITY, Analysis.REGIMES)))


@pytest.fixture(scope="module")
def sealed_candles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = FrameStore(tmp_path_factory.mktemp("sealed"))
    for name in DATASETS:
        seal_made(store, find_dataset(name), SEALED_WINDOW)
    return store.root


@pytest.fixture
def whole(school: School, sealed_candles: Path) -> School:
    """With the sealed period."""
    return School(replace(school.place, sealed=FrameStore(sealed_candles)))


def again(school: School, **luck: object):
    return conclude_again(school.place, "run", Finale(processes=1), lambda: False, **luck)


def sealed_looks(school: School) -> list[dict[str, object]]:
    return [look for look in school.looks() if look["part"] == "sealed"]


def test_a_run_ends_with_a_recommendation_its_files_and_one_look_at_the_sealed_period(whole: School) -> None:
    whole.begin(*LADDER, surrogates=2)

    ended = whole.go_on()

    found = ended.record.recommendation
    assert (found.level, found.parameters) == ("2", ended.record.attempts[-1].verdict.parameters)
    assert [check.name for check in found.checks if check.met is None] == []
    assert found.evidence.sealed.datasets == DATASETS
    assert len(found.evidence.sealed.days) == (SEALED_WINDOW.end - SEALED_WINDOW.start).days - 2
    assert [each.part for each in found.evidence.excess] == ["train", "validation", "test", "sealed"]
    assert found.evidence.deflation.trials == 8 + 12
    assert {name: null.surrogates for name, null in ended.record.nulls.items()} == {"1": 2, "2": 2}
    trial = ended.record.attempts[-1].verdict.trial
    assert sealed_looks(whole) == [{"time": None, "level": "2", "attempt": 1, "part": "sealed", "trials": [trial]}]
    assert whole.file("recommendation.json")["action"] == found.action
    assert whole.file("report.json")["evidence"]["sealed"]["days"] == list(found.evidence.sealed.days)
    assert whole.file("1/null.json")["surrogates"] == 2
    assert b"Holdout period" in whole.files()["report.html"]
    assert whole.events()[-4:] == ["luck_measured", "luck_measured", "recommendation", "run_finished"]


def test_without_the_sealed_period_it_says_so_and_opens_it_once_it_is_there(school: School, whole: School) -> None:
    school.begin(*LADDER)
    found = school.go_on().record.recommendation

    assert found.action is not Action.DEPLOY
    assert found.evidence.sealed is None
    assert "2024-04-01..2025-01-01 is there; run: tradeschool fetch --sealed" in found.evidence.sealed_missing
    assert sealed_looks(school) == []
    assert b"Not opened" in school.files()["report.html"]

    for _ in range(2):
        assert again(whole).recommendation.evidence.sealed is not None
    assert len(sealed_looks(whole)) == 1
    assert whole.file("recommendation.json")["checks"] != found.model_dump(mode="json")["checks"]


def test_sealed_candles_that_are_damaged_are_not_weighed(school: School, folder: Path, sealed_candles: Path) -> None:
    shutil.copytree(sealed_candles, folder / "copy" / "sealed")
    made = School(replace(school.place, sealed=sealed_store(folder / "copy")))
    file = next((folder / "copy").rglob("*.parquet"))
    file.write_bytes(file.read_bytes() + b"x")
    made.begin(level("1", ANY))

    with pytest.raises(ForeignFile, match="run tradeschool fetch --sealed to download it again"):
        made.go_on()

    assert made.standing().recommendation is None
    assert sealed_looks(made) == []


def test_a_run_that_was_given_up_early_opens_nothing(whole: School) -> None:
    whole.begin(level("1", ANY), level("2", ALMOST), level("3", ANY), surrogates=1)

    ended = whole.go_on()

    found = ended.record.recommendation
    assert (ended.outcome, found.action, found.tier) == (Outcome.ESCALATED, Action.DO_NOT_DEPLOY, Tier.ESCALATED)
    assert found.level == "2"
    assert sealed_looks(whole) == []
    assert [*ended.record.nulls] == ["1"], "luck is asked of gates that were met alone"
    assert [*again(whole, levels=["2"], surrogates=1).nulls] == ["1", "2"]


def test_a_run_that_misses_its_last_gate_weighs_the_winner_before_it(whole: School) -> None:
    whole.begin(level("1", ANY), level("2", ALMOST, retries=1))

    ended = whole.go_on()

    found = ended.record.recommendation
    assert (ended.outcome, found.tier, found.level) == (Outcome.ESCALATED, Tier.MINIMUM, "1")
    assert found.parameters == ended.record.attempts[0].verdict.parameters
    assert found.evidence.deflation.trials == 8 + 8 + 12
    assert found.action is not Action.DEPLOY
    assert sealed_looks(whole)[0]["level"] == "1"


def test_a_run_without_a_winner_is_not_to_be_deployed_and_still_has_a_report(whole: School) -> None:
    whole.begin(level("1", NONE), surrogates=1)

    found = whole.go_on().record.recommendation

    assert (found.action, found.level, found.evidence) == (Action.DO_NOT_DEPLOY, None, None)
    assert found.reason == "gate of level 1: no trial met all constraints on train"
    assert whole.file("report.json")["evidence"] is None
    assert again(whole, levels=["1"], surrogates=1).nulls["1"].passed == 0


@pytest.fixture(scope="module")
def concluded(tmp_path_factory: pytest.TempPathFactory, candles: Path, sealed_candles: Path) -> School:
    """A run that was concluded in peace."""
    made = school_in(tmp_path_factory.mktemp("concluded"), candles)
    made = School(replace(made.place, sealed=FrameStore(sealed_candles)))
    made.begin(*LADDER, surrogates=3)
    made.go_on()
    return made


def broken(school: School, kills: Iterator[tuple[str, int]]) -> None:
    for kind, when in kills:
        place = school.place
        if kind == "read":
            place = replace(place, store=Dying(place.store, when))
        if kind == "sealed":
            place = replace(place, sealed=Dying(place.sealed, when))
        try:
            again_with = School(place).go_on(**({"tell_luck": after(when)} if kind == "drawn" else {}))
        except Killed:
            continue
        assert again_with.outcome is Outcome.PASSED
        return


@pytest.mark.parametrize(
    "kills",
    [
        [("drawn", when) for when in (0, 0, 1, 0, 2)],
        [("read", when) for when in (12, 20, 24, 27, 29, 31, 33, 35, 37, 39, 41, 43, 45, 47, 49, 51, 53, 55)],
        [("drawn", 1), ("sealed", 0), ("read", 3), ("sealed", 1), ("sealed", 0)],
    ],
    ids=["while drawing", "while reading", "at the sealed period"],
)
def test_a_run_that_is_killed_at_its_end_leaves_the_same_files(whole: School, concluded: School, kills) -> None:
    whole.begin(*LADDER, surrogates=3)

    broken(whole, iter(kills))
    whole.go_on()

    assert whole.files() == concluded.files()
    assert whole.looks() == concluded.looks()
    assert whole.events().count("recommendation") == 1
    one, other = (read_run(school.place, "run").recommendation for school in (whole, concluded))
    assert one.model_dump_json() == other.model_dump_json()


def test_candles_that_are_damaged_before_the_end_stop_the_run_until_they_are_mended(
    folder: Path, candles: Path, sealed_candles: Path, concluded: School
) -> None:
    here = folder / "copy"
    shutil.copytree(candles, here)
    made = school_in(folder, here)
    made = School(replace(made.place, sealed=FrameStore(sealed_candles)))
    made.begin(*LADDER, surrogates=3)
    with pytest.raises(Killed):
        made.go_on(tell_luck=after(1))
    file = next(here.rglob("oanda/**/*.parquet"))
    sound = file.read_bytes()
    file.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))

    with pytest.raises(ForeignFile, match="changed since it was sealed"):
        made.go_on()
    file.write_bytes(sound)
    made.go_on()

    assert made.files() == concluded.files()


def test_an_ended_run_ends_again_and_changes_nothing(concluded: School) -> None:
    before, told = concluded.files(), concluded.events()

    concluded.go_on()
    again(concluded)

    assert concluded.files() == before
    assert concluded.events() == told


def test_more_markets_are_drawn_beside_those_that_were(school: School) -> None:
    school.begin(level("1", ANY), surrogates=2)
    school.go_on()
    path = school.place.folder("run") / "1" / DRAWS_NAME
    first = path.read_bytes()

    record = again(school, levels=["1"], surrogates=5)

    assert path.read_bytes().startswith(first)
    assert record.nulls["1"].surrogates == 5
    assert again(school, levels=["1"], surrogates=3).nulls["1"].surrogates == 5
    assert school.file("1/null.json")["surrogates"] == 5
    assert school.file("report.json")["levels"][0]["null"]["surrogates"] == 5


def test_a_draw_that_a_kill_has_cut_is_drawn_again(school: School) -> None:
    school.begin(level("1", ANY), surrogates=3)
    school.go_on()
    path = school.place.folder("run") / "1" / DRAWS_NAME
    whole = path.read_text()
    path.write_text(whole[:-20])

    assert sorted(read_draws(path, attempts=1)) == [0, 1]
    again(school, levels=["1"], surrogates=3)
    assert path.read_text().splitlines()[-1] == whole.splitlines()[-1]
    assert read_draws(path, attempts=2) == {}
    assert read_draws(path.with_name("none"), attempts=1) == {}


def test_draws_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    with pytest.raises(StoreUnwritable, match="cannot read"):
        read_draws(tmp_path, attempts=1)


@pytest.mark.parametrize("line", ["", "{", "[]", "null", '{"surrogate": 1}', '{"surrogate": "x"}', "[" * 9999])
def test_a_line_that_is_no_draw_is_left_out(tmp_path: Path, line: str) -> None:
    path = tmp_path / DRAWS_NAME
    draw = Draw(surrogate=4, attempts_allowed=1, attempts=1, passed=True, values={"sharpe": None}, met=())
    path.write_bytes(f"{line}\n{draw.model_dump_json()}\n{line}".encode() + b"\n\xff\xfe\n")

    assert read_draws(path, attempts=1) == {4: draw}


def test_luck_is_measured_of_what_was_judged_alone(school: School) -> None:
    school.begin(level("1", ANY), level("2", ANY))
    with pytest.raises(Killed):
        school.go_on(tell=lambda level, attempt, progress: (_ for _ in ()).throw(Killed) if level.name == "2" else None)

    with pytest.raises(SettingsError, match="level 2 was not judged yet"):
        again(school, levels=["2"], surrogates=1)
    record = again(school, levels=["1"], surrogates=1)

    assert record.nulls["1"].surrogates == 1
    assert record.recommendation is None
    assert school.standing().levels[0].null == record.nulls["1"]


def test_a_run_whose_candles_have_changed_is_not_weighed_again(school: School) -> None:
    school.begin(level("1", ANY))
    school.go_on()

    with pytest.raises(SettingsError, match="settings"):
        again(School(replace(school.place, min_coverage=0.8)))


def test_who_is_told_to_stop_stops_between_two_markets(school: School) -> None:
    school.begin(level("1", ANY), surrogates=4)
    told = []

    with pytest.raises(KeyboardInterrupt):
        school.go_on(tell_luck=lambda *what: told.append(what), stop=lambda: len(told) >= 2)

    assert told == [("1", 1, 4), ("1", 2, 4)]
    assert school.go_on(tell_luck=lambda *what: told.append(what)).record.nulls["1"].surrogates == 4
    assert told[2:] == [("1", 3, 4), ("1", 4, 4)]


def test_what_fetches_the_sealed_period_is_waited_for_where_the_run_came_so_far(school: School, whole: School) -> None:
    asked = []
    school.begin(level("1", ANY))
    school.go_on(wait_for_sealed=lambda is_there: asked.append(is_there()))
    whole.begin(level("1", ALMOST), name="other")
    whole.go_on("other", wait_for_sealed=lambda is_there: asked.append(is_there()))

    assert asked == [False]


def test_the_luck_of_a_level_with_stress_is_held_against_its_limits(school: School) -> None:
    school.begin(level("1", ANY, stress=MILD))

    school.go_on()

    assert "costs_x2_profit_factor" in again(school, levels=["1"], surrogates=3).nulls["1"].met


def marked(told: object) -> object:
    """Every text with something in it that a browser would run."""
    match told:
        case str():
            return f"{told}<script>alert()"
        case dict():
            return {name: value if name in {"days", "met"} else marked(value) for name, value in told.items()}
        case list():
            return [marked(each) for each in told]
    return told


def test_no_text_of_a_report_is_taken_for_markup(concluded: School) -> None:
    page = draw_page(marked(concluded.file("report.json"))).decode()

    assert "<script>" not in page
    assert page.count("&lt;script&gt;alert()") > 100


def test_a_report_asks_for_nothing(concluded: School) -> None:
    page = concluded.files()["report.html"].decode()

    asked = re.findall(r"(?:src|href|url)\s*[=(]\s*[\"']?([^\s\"'>)]+)", page)
    assert [each for each in asked if not each.startswith("#")] == []
