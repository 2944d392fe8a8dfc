"""Levels with another strategy: its own search ranges, and those of the rules that are optional in both."""

import pytest

from optimizer.curriculum.level_files import load_levels
from optimizer.search.space import distributions
from optimizer.strategies.parameter_ranges import with_strategy
from optimizer.strategies.protocol import load
from optimizer.strategies.registry import built_in_names
from tests.factories.levels import level_at
from tradeschool.app.search.search_request import SearchOptions
from tradeschool.errors import SettingsError

LEVELS = {level.name: level for level in load_levels()}


def test_the_ranges_of_another_strategy_are_its_own() -> None:
    level = with_strategy(LEVELS["1"], "momentum")

    assert level.strategy == "momentum"
    assert level.ranges == {"lookback": (24, 120), "hold": (4, 48), "atr_period": (7, 28)}
    assert level.datasets == LEVELS["1"].datasets


def test_the_filters_of_a_level_are_kept() -> None:
    level = with_strategy(LEVELS["4"], "band_reversion")

    assert list(level.ranges) == [
        *("period", "width", "max_bars", "atr_period", "stop_atr"),
        *("vol_low", "vol_high", "trend", "trend_period", "hour_start", "hour_length", "cooldown_bars"),
    ]
    assert level.ranges["trend_period"] == LEVELS["4"].ranges["trend_period"]


def test_the_level_s_own_strategy_changes_nothing() -> None:
    assert with_strategy(LEVELS["2"], "sma_cross") is LEVELS["2"]


@pytest.mark.parametrize("name", built_in_names())
@pytest.mark.parametrize("number", LEVELS)
def test_every_built_in_strategy_has_a_valid_search_space_in_every_attempt(name: str, number: str) -> None:
    changed = with_strategy(LEVELS[number], name)
    for attempt in range(1, changed.retries + 2):
        level = level_at(changed, attempt)

        assert distributions(level).keys() == level.ranges.keys()
        assert {each.name for each in load(name).parameters if not each.fixed} <= level.ranges.keys()


@pytest.mark.parametrize("name", built_in_names())
def test_a_search_range_lies_within_the_hard_bounds(name: str) -> None:
    """Every searched parameter of a built-in strategy has one, and it holds the default."""
    for parameter in load(name).parameters:
        if not parameter.fixed:
            assert parameter.search is not None, parameter.name
            low, high = parameter.search
            assert parameter.low <= low <= parameter.default <= high <= parameter.high, parameter.name


def test_the_option_of_a_search_replaces_the_strategy_and_says_so() -> None:
    options = SearchOptions(level_name="4", strategy="momentum", trials=7)

    (level,) = options.levels()

    assert (level.strategy, level.trials) == ("momentum", 7)
    assert options.strategy_notes() == {
        "4": "level 4: momentum instead of sma_cross; its own ranges: lookback 24..120, hold 4..48, "
        "atr_period 7..28; kept from the level: vol_low 0..0.5, vol_high 0.5..1, trend 0..1, "
        "trend_period 50..400, hour_start 0..23, hour_length 4..24, cooldown_bars 0..48"
    }
    assert SearchOptions(strategy="sma_cross").strategy_notes() == {}
    assert SearchOptions(strategy="sma_cross").levels() == SearchOptions().levels()


def test_an_unknown_strategy_is_named() -> None:
    with pytest.raises(SettingsError, match="unknown strategy 'momentun': expected one of band_reversion, donchian"):
        SearchOptions(strategy="momentun").levels()
