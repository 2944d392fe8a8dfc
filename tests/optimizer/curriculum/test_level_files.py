"""Curriculum files: the same fields as built-in levels, and errors with line and key."""

from datetime import timedelta
from pathlib import Path

import pytest

from optimizer.curriculum.level_files import find_level, load_levels, sets_holdout
from optimizer.level.risk import Risk
from optimizer.level.spec import Level
from tradeschool.errors import SettingsError
from tradeschool.markets.catalogue import HOLDOUT_WINDOW
from tradeschool.markets.timerange import settled_day

WHOLE = """\
# two levels
[[level]]
name = "1"
title = "Long in bull markets"
direction = "long"
strategy = "sma_cross"
trials = 100
lag = 8
datasets = [{ dataset = "coinbase/BTC-USD/M5", start = 2020-01-01, end = 2022-01-01 }]
split = { train = 0.6, validation = 0.2, test = 0.2, embargo_days = 1 }
gate = { win_rate = 0.50, sharpe = 0.8, max_drawdown_intrabar = 0.15, profit_factor = 1.3 }
min_trades = { train = 30, validation = 10 }
ranges = { fast = [5, 50], slow = [20, 200], atr_period = [7, 28], stop_atr = [1.0, 5.0], target_atr = [1.0, 8.0] }
retries = 3
relax = 0.05
narrow = false
retry = { trials_factor = 2.0, edge = 0.05 }
early_stop = 40
constraints = ["calmar >= 1", { metric = "exposure", at_most = 0.9 }]
analyses = ["similarity", "regimes", "stability"]
risk = { max_drawdown = 0.12, max_leverage = 2 }

[level.stress]
window_drawdown = 0.25
windows = [{ name = "ftx", start = 2022-11-05, end = 2022-11-21, pairs = ["BTC/USD"] }]

[[level]]
name = "2"
title = "Short"
direction = "short"
trials = 10
datasets = [{ dataset = "oanda/EUR-USD/H1", start = 2023-07-01, end = 2023-11-01 }]
gate = { win_rate = 0.50, sharpe = 0.8, max_drawdown_intrabar = 0.15, profit_factor = 1.3 }
ranges = { fast = [5, 50] }
"""


@pytest.fixture
def write(tmp_path: Path):
    def one(text: str) -> Path:
        path = tmp_path / "my.toml"
        path.write_text(text)
        return path

    return one


def test_every_level_field_can_be_set_in_a_file(write) -> None:
    first, second = load_levels(write(WHOLE))

    assert [constraint.name for constraint in first.constraints] == ["calmar >= 1", "exposure <= 0.9"]
    assert first.stress is not None
    assert first.stress.windows[0].pairs == ("BTC/USD",)
    assert (first.relax, first.early_stop, first.narrow) == (0.05, 40, False)
    assert (first.retry.trials_factor, first.retry.range_factor, first.retry.edge) == (2.0, 1.5, 0.05)
    assert (second.retry.trials_factor, second.inherit.neighbours, second.inherit.reach) == (1.5, 8, 0.25)
    assert second.lag == 8
    assert (first.risk, second.risk) == (Risk(max_drawdown=0.12, max_leverage=2.0), None)
    left = {name for name in Level.model_fields if f"\n{name} =" not in WHOLE and f"[level.{name}]" not in WHOLE}
    assert left == {
        *("costs", "position_fraction", "drawdown_limit", "min_density", "mode"),
        *("objective", "sampler", "pruner", "holdout", "inherit", "reachable"),
    }


WRONG = {
    "misspelt key": ("trials = 100", "trails = 100", 7, "level.0.trails", "extra inputs"),
    "unknown key": ("lag = 8", "lagg = 8", 8, "level.0.lagg", "extra inputs"),
    "wrong type": ("trials = 100", 'trials = "many"', 7, "level.0.trials", "valid integer"),
    "unknown direction": ('"long"', '"sideways"', 5, "level.0.direction", "'long', 'short' or 'both'"),
    "split that is not whole": ("train = 0.6", "train = 0.7", 10, "level.0.split", "must be 1, was 1.1"),
    "unknown dataset": ("BTC-USD/M5", "BTC-EUR/M5", 9, "level.0.datasets", "unknown pair 'BTC-EUR'"),
    "reversed days": ("end = 2022-01-01", "end = 2019-01-01", 9, "level.0.datasets", "must come before end"),
    "reversed range": ("fast = [5, 50], slow", "fast = [50, 5], slow", 13, "level.0.ranges", "low <= high"),
    "unknown metric": ("calmar >= 1", "karma >= 1", 19, "level.0.constraints.0", "unknown metric 'karma'"),
    "constraint of another form": ("calmar >= 1", "calmar > 1", 19, "level.0.constraints.0", "METRIC <= NUMBER"),
    "stress limit": ("window_drawdown = 0.25", "window_drawdown = 25", 24, "level.0.stress", "less than or equal to 1"),
    "stress pair": ('["BTC/USD"]', '["BTC/EUR"]', 25, "level.0.stress.windows.0", "unknown pair 'BTC/EUR'"),
    "second level": ("trials = 10\ndat", "trials = 0\ndat", 31, "level.1.trials", "greater than or equal to 1"),
    "same name twice": ('name = "2"', 'name = "1"', 2, "level", "level names must be unique"),
    "name that is no file name": ('name = "2"', 'name = "../2"', 28, "level.1.name", "match pattern"),
    "retry that searches less": (
        "trials_factor = 2",
        "trials_factor = 0",
        17,
        "level.0.retry",
        "greater than or equal",
    ),
    "ranges of the program": ("narrow = false", "reachable = { fast = [1, 2] }", 2, "level", "set by the program"),
}


@pytest.mark.parametrize("case", WRONG)
def test_an_error_is_reported_with_line_and_key(write, case: str) -> None:
    right, wrong, line, key, said = WRONG[case]
    assert WHOLE.count(right) >= 1
    path = write(WHOLE.replace(right, wrong, 1))

    with pytest.raises(SettingsError) as caught:
        load_levels(path)

    assert f"{path}:{line}: {key}" in str(caught.value)
    assert said in str(caught.value)


def test_an_error_of_a_level_is_the_only_one_reported(write) -> None:
    with pytest.raises(SettingsError) as caught:
        load_levels(write(WHOLE.replace("trials = 100", "trials = 0")))

    assert str(caught.value).count(".toml:") == 1, caught.value


@pytest.mark.parametrize("text", ["[[level]", "level = 3", "", "[other]\nx = 1"])
def test_a_file_of_another_format_is_refused(write, text: str) -> None:
    with pytest.raises(SettingsError, match=r"my\.toml"):
        load_levels(write(text))


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"no\.toml cannot be read"):
        load_levels(tmp_path / "no.toml")


def test_an_unknown_level_is_reported_with_the_known_ones() -> None:
    with pytest.raises(SettingsError, match="unknown level '9': expected one of 1, 2, 3, 4"):
        find_level("9", load_levels())


def test_a_file_sets_the_holdout_period_of_its_levels(write) -> None:
    levels = load_levels(write("holdout = { start = 2023-11-01, end = 2024-02-01 }\n" + WHOLE))

    assert {str(level.holdout.window) for level in levels} == {"2023-11-01..2024-02-01"}
    assert "holdout" in levels[0].model_dump(mode="json")


def test_without_a_holdout_period_it_lasts_to_the_last_settled_day(write) -> None:
    for file in (write(WHOLE), None):
        levels = load_levels(file)

        assert {level.holdout.window.start for level in levels} == {HOLDOUT_WINDOW.start}
        assert levels[0].holdout.end in {settled_day(), settled_day() - timedelta(days=1)}
        assert {level.holdout for level in levels} == {levels[0].holdout}
        recorded = type(levels[0]).model_validate(levels[0].model_dump(mode="json"))
        assert recorded.holdout == levels[0].holdout, "a run keeps the days that it began with"


def test_a_file_may_leave_the_holdout_period_out(write) -> None:
    assert not sets_holdout(write(WHOLE))
    assert sets_holdout(write("holdout = { start = 2023-11-01, end = 2024-02-01 }\n" + WHOLE))


def test_a_holdout_period_may_last_to_the_last_settled_day(write) -> None:
    [first, _] = load_levels(write('holdout = { start = 2023-11-01, end = "settled" }\n' + WHOLE))

    assert first.holdout.end in {settled_day(), settled_day() - timedelta(days=1)}


@pytest.mark.parametrize(
    ("holdout", "reason"),
    [
        ("{ start = 2023-11-01 }", "end missing"),
        ("{ start = 2023-11-01, end = 2023-11-01 }", "must come before end"),
        ('{ start = "yesterday", end = 2023-11-01 }', "no date"),
        ("{ start = 2023-11-01, end = 2023-12-01, more = 1 }", "extra inputs are not permitted"),
        ("2023", "input should be a valid dictionary"),
    ],
)
def test_an_invalid_holdout_period_is_refused(write, holdout: str, reason: str) -> None:
    with pytest.raises(SettingsError, match=rf"my\.toml:1: holdout.*{reason}"):
        load_levels(write(f"holdout = {holdout}\n" + WHOLE))


def test_a_level_has_no_holdout_period_of_its_own(write) -> None:
    own = WHOLE.replace("retries = 3", "retries = 3\nholdout = { start = 2023-11-01, end = 2024-02-01 }")

    with pytest.raises(SettingsError, match="level 1: holdout belongs at the top of the file"):
        load_levels(write(own))
