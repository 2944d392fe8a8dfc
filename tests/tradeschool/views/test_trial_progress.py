"""Progress log lines of a search without a terminal."""

from types import SimpleNamespace

import pytest

from tests.factories.runs import make_level
from tradeschool.views import trial_progress
from workers.coordinator.study.trial_ledger import StudyProgress


def test_null_test_progress_is_logged_periodically_with_eta(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([0.0, 1.0, 4.0, 5.0, 20.0])
    monkeypatch.setattr(trial_progress, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    tell = trial_progress.show_null_test()

    for done in (1, 2, 3, 11):
        tell(done, 20)

    assert capsys.readouterr().err.splitlines() == [
        "null test: 2 of 20 surrogate markets, ETA 54 s",
        "null test: 11 of 20 surrogate markets, ETA 17 s",
    ]


def test_an_unchanged_line_is_not_repeated(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    monkeypatch.setattr(trial_progress, "time", SimpleNamespace(monotonic=lambda: now[0]))
    with trial_progress.show_trials() as tell:
        now[0] = 10.0
        for complete in (1, 1, 1, 2, 2):
            tell(make_level("1"), 1, StudyProgress(trials=4, complete=complete, pruned=0, failed=0, open=1))
            now[0] += 10

    assert capsys.readouterr().err.splitlines() == [
        "level 1: 1 of 4 trials, 1 complete, 0 pruned, 0 failed",
        "level 1: 2 of 4 trials, 2 complete, 0 pruned, 0 failed",
    ]
