"""A run's record: what it goes on with, what it refuses, and what it says of what comes next."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.factories.in_process_runs import ANY, LADDER, Killed, School, after, level
from tradeschool.errors import ServiceUnreachable, SettingsError
from workers.coordinator.run_record import changes, next_of, opened, read_run, resume
from workers.monitoring.run_status_json import as_result

CHANGES = {
    "code": lambda school: _rewrite(school, "fingerprints", "code"),
    "settings": lambda school: School(replace(school.place, min_coverage=0.8)),
    "coinbase/BTC-USD/H1 20210301-20210609": lambda school: _rewrite(
        school, "candles", "coinbase/BTC-USD/H1 20210301-20210609"
    ),
}


def _rewrite(school: School, field: str, key: str) -> School:
    """As if the run had been begun with other code or candles."""
    record = read_run(school.place, "run")
    with opened(school.place) as runs:
        runs.write(record.model_copy(update={field: {**getattr(record, field), key: "0" * 16}}))
    return school


@pytest.mark.parametrize("what", CHANGES)
def test_a_run_does_not_go_on_with_what_has_changed_but_by_force(school: School, what: str) -> None:
    school.begin(*LADDER)
    with pytest.raises(Killed):
        school.go_on(tell=after(3))
    changed = CHANGES[what](school)

    with pytest.raises(SettingsError, match="changed since it was begun: " + what.replace("/", ".") + r" \(was"):
        resume(changed.place, "run")
    forced = resume(changed.place, "run", force=True)

    assert [each.what for each in forced.forced] == [what]
    assert changes(changed.place, forced) == {}
    assert resume(changed.place, "run").forced == forced.forced
    assert changed.go_on().record.forced == forced.forced
    assert [each["what"] for each in school.file("lineage.json")["forced"]] == [what]


def test_a_study_database_that_was_moved_away_is_told_and_nothing_is_lost(
    school: School, folder: Path, undisturbed: School
) -> None:
    school.begin(*LADDER)
    with pytest.raises(Killed):
        school.go_on(tell=after(3))
    study, elsewhere = folder / "study.sqlite3", folder / "elsewhere"
    study.rename(elsewhere)

    with pytest.raises(SettingsError, match="was the study's database moved"):
        school.go_on()
    assert not study.exists()
    elsewhere.rename(study)
    school.go_on()

    assert school.files() == undisturbed.files()


def test_a_database_that_is_replaced_under_a_run_is_noticed(school: School, folder: Path) -> None:
    school.begin(*LADDER)

    def replace_it(*_: object) -> None:
        (folder / "study.sqlite3").unlink(missing_ok=True)

    with pytest.raises((SettingsError, ServiceUnreachable), match="run"):
        school.go_on(tell=replace_it)


def test_two_runs_of_one_name_are_refused(school: School) -> None:
    school.begin(level("1", ANY))

    with pytest.raises(SettingsError, match="go on with it"):
        school.begin(level("1", ANY))


def test_status_tells_what_comes_next(school: School) -> None:
    school.begin(*LADDER)
    assert school.standing().reason == "next: search level 1, attempt 1"

    with pytest.raises(Killed):
        school.go_on(tell=after(1))

    standing = school.standing()
    (attempt,) = standing.attempts
    assert 0 < attempt.tally.finished < attempt.tally.trials == 8
    assert as_result(standing)["waiting"] == ["2"]
    assert next_of(school.place, standing.record) == standing.action
