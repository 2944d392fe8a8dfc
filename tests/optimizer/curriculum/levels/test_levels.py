"""Built-in levels and the rules of each level."""

from datetime import date

import pytest

from optimizer.curriculum.attempts import at_attempt
from optimizer.curriculum.level_files import load_levels
from optimizer.level.constraints import Analysis, StressLimits
from optimizer.level.spec import Direction, Gate, MinTrades, Part
from optimizer.search.space import distributions
from optimizer.strategies.protocol import load
from tradeschool.markets.catalogue import HOLDOUT_WINDOW, default_catalogue
from tradeschool.markets.windows import subtract

LEVELS = {level.name: level for level in load_levels()}
FRAMES = ("M5", "M15", "H1")


def ranges_of(*pairs: tuple[str, str, str]) -> list[tuple[str, date, date]]:
    return [
        (f"{pair}/{frame}", date.fromisoformat(start), date.fromisoformat(end))
        for pair, start, end in pairs
        for frame in FRAMES
    ]


ALL = ranges_of(
    *[
        (pair, "2020-01-01", "2024-01-01")
        for pair in ("coinbase/BTC-USD", "coinbase/ETH-USD", "oanda/EUR-USD", "oanda/GBP-USD")
    ]
)
DATASETS = {
    "1": ranges_of(("coinbase/BTC-USD", "2020-01-01", "2022-01-01"), ("oanda/EUR-USD", "2024-01-01", "2024-04-01")),
    "2": ranges_of(("coinbase/BTC-USD", "2022-01-01", "2023-01-01"), ("oanda/EUR-USD", "2023-07-01", "2023-11-01")),
    "3": ALL,
    "4": ALL,
}
GATES = {
    "1": Gate(win_rate=0.50, sharpe=0.8, max_drawdown_intrabar=0.15, profit_factor=1.3),
    "2": Gate(win_rate=0.50, sharpe=0.8, max_drawdown_intrabar=0.15, profit_factor=1.3),
    "3": Gate(win_rate=0.52, sharpe=1.0, max_drawdown_intrabar=0.15, profit_factor=1.3),
    "4": Gate(win_rate=0.53, sharpe=1.2, max_drawdown_intrabar=0.15, profit_factor=1.3),
}


def test_the_four_levels_have_550_trials_in_order() -> None:
    assert [(level.name, level.trials, level.direction) for level in load_levels()] == [
        ("1", 100, Direction.LONG),
        ("2", 100, Direction.SHORT),
        ("3", 150, Direction.BOTH),
        ("4", 200, Direction.BOTH),
    ]


@pytest.mark.parametrize("name", LEVELS)
def test_datasets_and_gates_match_the_docs_table(name: str) -> None:
    level = LEVELS[name]

    assert [(each.dataset, each.start, each.end) for each in level.datasets] == DATASETS[name]
    assert level.gate == GATES[name]
    assert level.min_trades == MinTrades(train=30, validation=10)
    assert level.retries == 3


def test_each_level_has_the_analyses_of_the_docs_table() -> None:
    assert {name: level.analyses for name, level in LEVELS.items()} == {
        "1": (),
        "2": (Analysis.SIMILARITY,),
        "3": (Analysis.REGIMES,),
        "4": (Analysis.STABILITY,),
    }
    assert [name for name, level in LEVELS.items() if level.stress] == ["4"]
    assert LEVELS["4"].stress == StressLimits()


@pytest.mark.parametrize("name", LEVELS)
def test_every_attempt_has_a_valid_search_space(name: str) -> None:
    """Ranges stay within the bounds of the strategy in every attempt and contain its defaults."""
    for attempt in range(1, LEVELS[name].retries + 2):
        level = at_attempt(LEVELS[name], attempt)

        assert distributions(level).keys() == level.ranges.keys()
        assert {each.name for each in load(level.strategy).parameters if not each.fixed} <= level.ranges.keys()


@pytest.mark.parametrize("name", LEVELS)
def test_no_part_overlaps_the_holdout_period(name: str) -> None:
    level = LEVELS[name]
    windows = [level.window(dataset, part) for dataset in level.datasets for part in level.parts]

    assert level.parts == (Part.TRAIN, Part.VALIDATION)
    assert not [window for window in windows if window.overlap(HOLDOUT_WINDOW)]


@pytest.mark.parametrize("name", LEVELS)
def test_the_default_catalogue_has_every_dataset_of_a_level(name: str) -> None:
    for dataset in LEVELS[name].datasets:
        known = [want.window for want in default_catalogue() if want.dataset == dataset.source]

        assert not subtract(dataset.window, known)


def test_only_the_last_level_searches_filters() -> None:
    filters = {"vol_low", "vol_high", "trend", "trend_period", "hour_start", "hour_length", "cooldown_bars"}

    assert {name: filters & level.ranges.keys() for name, level in LEVELS.items()} == {
        "1": set(),
        "2": set(),
        "3": set(),
        "4": filters,
    }
