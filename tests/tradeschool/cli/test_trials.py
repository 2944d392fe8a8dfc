"""How far a search is, where there is no terminal."""

from types import SimpleNamespace

import pytest

from tradeschool.cli import trials


def test_luck_is_told_now_and_then_with_the_time_that_is_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([0.0, 1.0, 4.0, 5.0, 20.0, 50.0])
    monkeypatch.setattr(trials, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    tell = trials.tell_luck()

    for level, done in (("1", 1), ("1", 2), ("1", 3), ("1", 11), ("2", 1)):
        tell(level, done, 20)

    assert capsys.readouterr().err.splitlines() == [
        "level 1: what luck alone does: 2 of 20 markets without skill, about 54 s left",
        "level 1: what luck alone does: 11 of 20 markets without skill, about 17 s left",
        "level 2: what luck alone does: 1 of 20 markets without skill",
    ]
