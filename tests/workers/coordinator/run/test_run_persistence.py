"""Run record: which changes a resumed run accepts or refuses, and the next step in its status."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.factories.in_process_runs import ANY, CURRICULUM, Killed, RunHarness, after, level
from tradeschool.errors import ServiceUnreachable, SettingsError
from workers.coordinator.run.run_persistence import changes, next_of, opened, read_run, resume
from workers.monitoring.run_status_json import as_result

CHANGES = {
    "code": lambda harness: _rewrite(harness, "fingerprints", "code"),
    "settings": lambda harness: RunHarness(replace(harness.context, min_coverage=0.8)),
    "coinbase/BTC-USD/H1 20210301-20210609": lambda harness: _rewrite(
        harness, "candles", "coinbase/BTC-USD/H1 20210301-20210609"
    ),
}


def _rewrite(harness: RunHarness, field: str, key: str) -> RunHarness:
    """Rewrite the run record as if it had been started with other code or candles."""
    record = read_run(harness.context, "run")
    with opened(harness.context) as runs:
        runs.write(record.model_copy(update={field: {**getattr(record, field), key: "0" * 16}}))
    return harness


@pytest.mark.parametrize("what", CHANGES)
def test_a_changed_run_resumes_only_with_force(harness: RunHarness, what: str) -> None:
    harness.begin(*CURRICULUM)
    with pytest.raises(Killed):
        harness.run(tell=after(3))
    changed = CHANGES[what](harness)

    with pytest.raises(SettingsError, match="changed since its start: " + what.replace("/", ".") + r" \(was"):
        resume(changed.context, "run")
    forced = resume(changed.context, "run", force=True)

    assert [each.what for each in forced.forced] == [what]
    assert changes(changed.context, forced) == {}
    assert resume(changed.context, "run").forced == forced.forced
    assert changed.run().record.forced == forced.forced
    assert [each["what"] for each in harness.file("lineage.json")["forced"]] == [what]


def test_a_moved_study_database_is_reported_without_data_loss(
    harness: RunHarness, folder: Path, finished_run: RunHarness
) -> None:
    harness.begin(*CURRICULUM)
    with pytest.raises(Killed):
        harness.run(tell=after(3))
    study, elsewhere = folder / "study.sqlite3", folder / "elsewhere"
    study.rename(elsewhere)

    with pytest.raises(SettingsError, match="was the study's database moved"):
        harness.run()
    assert not study.exists()
    elsewhere.rename(study)
    harness.run()

    assert harness.files() == finished_run.files()


def test_a_database_replaced_during_a_run_is_detected(harness: RunHarness, folder: Path) -> None:
    harness.begin(*CURRICULUM)

    def replace_it(*_: object) -> None:
        (folder / "study.sqlite3").unlink(missing_ok=True)

    with pytest.raises((SettingsError, ServiceUnreachable), match="run"):
        harness.run(tell=replace_it)


def test_two_runs_of_one_name_are_refused(harness: RunHarness) -> None:
    harness.begin(level("1", ANY))

    with pytest.raises(SettingsError, match="to continue it"):
        harness.begin(level("1", ANY))


def test_status_shows_the_next_step(harness: RunHarness) -> None:
    harness.begin(*CURRICULUM)
    assert harness.run_status().reason == "next: search level 1, attempt 1"

    with pytest.raises(Killed):
        harness.run(tell=after(1))

    status = harness.run_status()
    (attempt,) = status.attempts
    assert 0 < attempt.counts.finished < attempt.counts.trials == 8
    assert as_result(status)["waiting"] == ["2"]
    assert next_of(harness.context, status.record) == status.action
