"""Attempts: ranges of a retry and inheritance."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.curriculum.attempts import at_attempt, relaxed_by
from optimizer.curriculum.inheritance import NEIGHBOURS, first_points
from optimizer.level.spec import Gate
from optimizer.strategies.parameter_ranges import around, widest
from optimizer.strategies.protocol import bounds_of, load
from tests.factories.levels import PARAMETERS, RANGES, level_of

STRATEGY = load("sma_cross")
HARD = bounds_of(STRATEGY)


@st.composite
def ranges(draw: st.DrawFn) -> dict[str, tuple[float, float]]:
    found = {}
    for name, (low, high) in HARD.items():
        numbers = st.integers(int(low), int(high)) if isinstance(low, int) else st.floats(low, high)
        first, second = draw(numbers), draw(numbers)
        found[name] = (min(first, second), max(first, second))
    return found


def test_a_retry_has_1_5_times_the_trials_and_wider_ranges() -> None:
    level = level_of(trials=101, retries=3)
    second, third = at_attempt(level, 2), at_attempt(level, 3)

    assert [level.trials, second.trials, third.trials] == [101, 152, 228]
    assert second.ranges["slow"] == (10, 70)  # 20..60, its middle kept
    assert second.ranges["stop_atr"] == (0.25, 6.0)  # 1..5 becomes 0..6, cut at the strategy's bound
    assert (second.retries, third.retries) == (2, 1)


def test_the_first_attempt_equals_the_level() -> None:
    assert at_attempt(level_of(), 1) == level_of()


@given(ranges(), st.integers(1, 4))
def test_ranges_grow_within_the_hard_bounds(found, attempts: int) -> None:
    levels = [at_attempt(level_of(ranges=found, retries=4), attempt) for attempt in range(1, attempts + 2)]

    for narrower, wider in pairwise(levels):
        for name, (low, high) in wider.ranges.items():
            assert HARD[name][0] <= low <= narrower.ranges[name][0]
            assert narrower.ranges[name][1] <= high <= HARD[name][1]
    assert {name: widest(level)[name] for level in levels for name in HARD} == widest(levels[0])


def test_targets_are_relaxed_only_if_the_level_allows_it() -> None:
    assert at_attempt(level_of(retries=3), 4).gate == level_of().gate

    relaxed = at_attempt(level_of(retries=3, relax=0.05), 3)

    assert relaxed.gate.win_rate == pytest.approx(0.45)
    assert relaxed.gate.sharpe == pytest.approx(0.72)
    assert relaxed.gate.max_drawdown_intrabar == pytest.approx(0.165)
    assert relaxed.gate.profit_factor == pytest.approx(1.17)
    assert relaxed_by(level_of(relax=0.05), 3) == pytest.approx(0.10)
    assert relaxed_by(level_of(relax=0.05), 1) == 0


def test_a_negative_target_is_relaxed_downwards() -> None:
    gate = Gate(win_rate=0.5, sharpe=-1.0, max_drawdown_intrabar=0.9, profit_factor=1.3)

    assert at_attempt(level_of(gate=gate, relax=0.5, retries=1), 2).gate.sharpe == -1.5
    assert at_attempt(level_of(gate=gate, relax=0.5, retries=1), 2).gate.max_drawdown_intrabar == 1.0


def test_inherited_points_are_the_winner_and_eight_neighbours() -> None:
    points = first_points(level_of(), PARAMETERS, seed=7)

    assert points[0] == PARAMETERS
    assert len(points) == 1 + NEIGHBOURS
    for point in points:
        for name, (low, high) in RANGES.items():
            reach = (high - low) / 4
            assert max(low, PARAMETERS[name] - reach - 1) <= point[name] <= min(high, PARAMETERS[name] + reach + 1)
            if isinstance(HARD[name][0], int):
                assert isinstance(point[name], int)


def test_inherited_points_depend_on_the_seed() -> None:
    one, again, other = (first_points(level_of(), PARAMETERS, seed) for seed in (7, 7, 8))

    assert one == again
    assert one[1:] != other[1:]


def test_inherited_points_cover_the_whole_box() -> None:
    """No dimension has half of its points in one quarter and none in two others."""
    level, centre = level_of(), {**PARAMETERS, "stop_atr": 3.0, "target_atr": 4.5}
    points = first_points(level, centre, seed=3)[1:]

    for name, (low, high) in around(level, centre).items():
        if name not in {"stop_atr", "target_atr"}:
            continue
        quarters = [math.floor((point[name] - low) / (high - low) * 4) for point in points]
        assert all(quarters.count(quarter) <= 4 for quarter in range(4)), quarters
        assert len(set(quarters)) >= 3


@given(st.integers(0, 2**32 - 1), st.fixed_dictionaries({name: st.floats(-500, 500) for name in RANGES}))
def test_inherited_points_lie_in_the_ranges_of_the_level(seed: int, winner) -> None:
    level = level_of()

    for point in first_points(level, winner, seed):
        assert all(low <= point[name] <= high for name, (low, high) in level.ranges.items())


def test_an_unused_filter_of_the_winner_starts_off() -> None:
    """Level 4 starts with the unchanged winner of level 3, without additional filters."""
    level = level_of(ranges={**RANGES, "trend": (0, 1), "hour_length": (4, 24), "vol_high": (0.5, 1.0)})

    first, *others = first_points(level, PARAMETERS, seed=7)

    assert first == {**PARAMETERS, "trend": 0, "hour_length": 24, "vol_high": 1.0}
    assert len({point["hour_length"] for point in others}) > 2


def test_a_winner_of_another_strategy_is_not_inherited() -> None:
    assert first_points(level_of(), {"entry_bars": 20}, seed=7) == ()
    assert first_points(level_of(), {}, seed=7) == ()


def test_a_narrow_level_searches_a_quarter_around_the_winner() -> None:
    level = level_of(narrow=True, retries=1)
    centre = {**PARAMETERS, "fast": 18, "slow": 60}

    assert at_attempt(level, 1, centre).ranges["fast"] == (11, 25)  # 5..30
    assert at_attempt(level, 1, centre).ranges["slow"] == (50, 60)  # 20..60, cut at its end
    assert at_attempt(level, 1).ranges == level.ranges
    assert at_attempt(level_of(), 1, centre).ranges == RANGES
