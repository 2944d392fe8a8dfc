"""The life of a forward test: its files, kills between any two bytes, and changes that it refuses."""

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from optimizer.forward.day_log import DAYS_NAME, read_day_log
from optimizer.forward.forward_test import (
    ForwardTest,
    begin_forward_test,
    continued_forward_test,
    read_forward_test,
    record_days,
    require_code,
)
from optimizer.forward.rule import RULE_NAME, code_of, write_rule
from optimizer.forward.summary import forward_json, forward_summaries, series_json
from tests.factories.forward_rules import START, make_rule
from tests.factories.forward_tests import NOW, read_walk
from tradeschool.errors import ForwardTestChanged
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.windows import Window
from tradeschool.ohlcv.arrays import CandleArrays


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "results" / "r1" / "forward" / "live"


@pytest.fixture
def test(folder: Path) -> ForwardTest:
    return begin_forward_test(folder.parents[2], folder, make_rule())


def recorded(test: ForwardTest, days: int, *, code: str = "code") -> ForwardTest:
    return record_days(test, read_walk, START + timedelta(days=days), lambda: NOW, code=code)


def reopened(folder: Path) -> ForwardTest:
    found = continued_forward_test(folder)
    assert found is not None
    return found


def without_clock(test: ForwardTest) -> list[dict[str, object]]:
    return [each.model_dump(exclude={"recorded"}) for each in test.log.days]


def test_days_are_appended_and_read_back(test: ForwardTest, folder: Path) -> None:
    whole = recorded(test, 20)
    known = reopened(folder)

    assert known == whole
    assert len(known.log.days) == 20
    assert known.next_day == START + timedelta(days=20)
    lines = (folder / DAYS_NAME).read_text().splitlines()
    assert len(lines) == 21
    assert json.loads(lines[0]).keys() == {"rule", "digest"}


def test_days_in_one_or_many_steps_are_the_same(tmp_path: Path) -> None:
    at_once = recorded(begin_forward_test(tmp_path, tmp_path / "a", make_rule()), 25)
    step_by_step = begin_forward_test(tmp_path, tmp_path / "b", make_rule())
    for days in range(1, 26):
        step_by_step = recorded(step_by_step, days)

    assert without_clock(step_by_step) == without_clock(at_once)


def test_a_kill_after_any_byte_of_the_log_loses_no_complete_day(test: ForwardTest, folder: Path) -> None:
    whole = recorded(test, 4)
    content = (folder / DAYS_NAME).read_bytes()
    expected = without_clock(whole)
    for size in range(0, len(content), 61):
        (folder / DAYS_NAME).write_bytes(content[:size])
        known = reopened(folder)
        complete = max(0, content[:size].count(b"\n") - 1)
        assert without_clock(known) == expected[:complete]
        assert without_clock(recorded(known, 4)) == expected


def test_a_kill_between_rule_and_log_begins_the_log(folder: Path) -> None:
    write_rule(folder.parents[2], folder, make_rule())

    assert read_forward_test(folder) is not None
    assert not (folder / DAYS_NAME).exists()
    assert len(recorded(reopened(folder), 3).log.days) == 3


@pytest.mark.parametrize("field", ["max_days", "alpha_deploy", "size", "bound"])
def test_a_changed_rule_is_refused(test: ForwardTest, folder: Path, field: str) -> None:
    recorded(test, 2)
    content = json.loads((folder / RULE_NAME).read_text())
    target = content["limits"] if field in content["limits"] else content
    target[field] = target[field] * 0.5 if isinstance(target[field], float) else target[field] + 1
    (folder / RULE_NAME).write_text(json.dumps(content))

    with pytest.raises(ForwardTestChanged, match="rule was changed") as told:
        read_forward_test(folder)
    assert len(str(told.value).splitlines()) == 1


@pytest.mark.parametrize("change", ["edited", "removed", "inserted", "reordered"])
def test_a_changed_day_is_refused(test: ForwardTest, folder: Path, change: str) -> None:
    recorded(test, 5)
    lines = (folder / DAYS_NAME).read_text().splitlines()
    match change:
        case "edited":
            lines[3] = lines[3].replace('"number":3', '"number":4')
        case "removed":
            del lines[2]
        case "inserted":
            lines.insert(2, lines[2])
        case "reordered":
            lines[2], lines[3] = lines[3], lines[2]
    (folder / DAYS_NAME).write_text("\n".join(lines) + "\n")

    with pytest.raises(ForwardTestChanged, match=r"line [34] is not what was recorded"):
        read_forward_test(folder)


def test_revised_candles_of_a_recorded_day_are_refused(test: ForwardTest, folder: Path) -> None:
    known = recorded(test, 10)

    def revised(dataset: Dataset, window: Window) -> CandleArrays:
        candles = read_walk(dataset, window)
        is_late = candles.time >= int(datetime(2021, 3, 15, tzinfo=UTC).timestamp())
        shift = round(candles.open[0] * 0.1, 2)
        numbers = {
            name: values + shift * is_late if name in ("open", "high", "low", "close") else values
            for name, values in candles.numbers.items()
        }
        return CandleArrays.of(dataset, candles.time, numbers)

    before = (folder / DAYS_NAME).read_bytes()
    with pytest.raises(ForwardTestChanged, match=r"day 2021-03-1[56] changed"):
        record_days(known, revised, START + timedelta(days=12), lambda: NOW, code="code")
    assert (folder / DAYS_NAME).read_bytes() == before


def test_changed_code_is_refused_unless_every_day_is_reproduced(test: ForwardTest, folder: Path) -> None:
    known = recorded(test, 5)
    with pytest.raises(ForwardTestChanged, match=r"code changed \(was code, now newer\)"):
        require_code(known, "newer", force=False)
    require_code(known, "newer", force=True)

    continued = recorded(known, 8, code="newer")

    assert [(each.was, each.now) for each in continued.log.accepted] == [("code", "newer")]
    assert reopened(folder).code == "newer"
    require_code(reopened(folder), "newer", force=False)


def test_nothing_is_recorded_after_a_decision(folder: Path) -> None:
    rule = make_rule(limits={"max_days": 6, "min_days": 1})
    test = recorded(begin_forward_test(folder.parents[2], folder, rule), 20)

    assert (len(test.log.days), test.is_over, test.action.value) == (6, True, "stop")
    assert without_clock(recorded(reopened(folder), 30)) == without_clock(test)


def test_a_replay_is_over_at_its_end(folder: Path) -> None:
    rule = make_rule(end=START + timedelta(days=7))
    test = recorded(begin_forward_test(folder.parents[2], folder, rule), 7)

    assert test.is_over
    assert test.action.value == "paper_trade"


def test_a_summary_holds_the_figures_of_the_last_day(test: ForwardTest, folder: Path) -> None:
    known = recorded(test, 12)
    found = forward_json(known)
    (listed,) = forward_summaries(folder.parents[2])

    assert listed == found
    assert (found["days"], found["last_day"], found["known_days"], found["read_days"]) == (12, "2021-03-22", 0, 0)
    assert found["equity"] == known.log.days[-1].equity
    assert found["next_day"] == "2021-03-23"
    series = series_json(known)
    assert series["days"] == [(each.day - date(1970, 1, 1)).days for each in known.log.days]
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_days_that_had_ended_before_the_rule_was_written_are_counted(tmp_path: Path) -> None:
    rule = make_rule(created=datetime(2021, 3, 14, 12, tzinfo=UTC))
    test = recorded(begin_forward_test(tmp_path, tmp_path / "a", rule), 10)

    assert forward_json(test)["known_days"] == 3  # 11, 12 and 13 March


def test_a_summary_of_a_changed_test_is_its_error(test: ForwardTest, folder: Path) -> None:
    recorded(test, 2)
    (folder / DAYS_NAME).write_text("{}\n")

    (found,) = forward_summaries(folder.parents[2])

    assert (found["run"], found["name"]) == ("r1", "live")
    assert "line 1 is not what was recorded" in str(found["error"])


def test_the_code_of_a_users_strategy_is_part_of_the_fingerprint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "users_own.py").write_text("A = 1\n")
    before = code_of("users_own:STRATEGY", "abcdef")
    (tmp_path / "users_own.py").write_text("A = 2\n")

    assert code_of("users_own:STRATEGY", "abcdef") != before
    assert code_of("sma_cross", "abcdef") == "abcdef"
    assert read_day_log(tmp_path).days == ()
