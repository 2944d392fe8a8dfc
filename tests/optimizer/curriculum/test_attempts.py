"""Attempts: what a retry learns and changes, and inheritance."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.curriculum.attempts import at_attempt, relaxed_by
from optimizer.curriculum.inheritance import PLAIN_POINTS, first_points, starting_points
from optimizer.curriculum.retry_plan import AttemptFacts, RetryPlan, Shortfall, plan_retry, trials_by_attempt
from optimizer.level.spec import Gate
from optimizer.search.sampler import ask
from optimizer.search.space import search_space
from optimizer.strategies.parameter_ranges import around, widest
from optimizer.strategies.protocol import bounds_of, load
from tests.factories.levels import NOTHING_FEASIBLE, PARAMETERS, RANGES, level_at, level_of, retries_of

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


WINNER = AttemptFacts(
    feasible=True,
    parameters={**PARAMETERS, "fast": 15, "slow": 60, "stop_atr": 1.0},
    on_validation=(Shortfall(name="sharpe", by=0.3),),
)
"""A winner at the upper end of `slow` and at the lower end of `stop_atr`."""
INSIDE = AttemptFacts(feasible=True, parameters={**PARAMETERS, "fast": 15, "slow": 40})
NEAR = AttemptFacts(
    feasible=False, parameters={**PARAMETERS, "fast": 30, "slow": 40}, on_train=(Shortfall(name="drawdown", by=0.03),)
)


def test_a_retry_has_1_5_times_the_trials() -> None:
    level = level_of(trials=101, retries=3)

    for facts in (WINNER, INSIDE, NEAR, NOTHING_FEASIBLE):
        assert [level_at(level, attempt, facts).trials for attempt in (1, 2, 3, 4)] == [101, 152, 228, 342]
    assert trials_by_attempt(level) == [101, 152, 228, 342]
    assert [level_at(level, attempt).retries for attempt in (2, 3)] == [2, 1]


def test_a_level_sets_the_factors() -> None:
    level = level_of(trials=10, retries=2, retry={"trials_factor": 3.0, "range_factor": 2.0, "edge": 0.0})

    assert trials_by_attempt(level) == [10, 30, 90]
    assert level_at(level, 2).ranges["slow"] == (7, 80)  # 20..60, twice as wide, not below the bound of 7
    assert level_at(level, 3, WINNER).trials == 90
    near = INSIDE.model_copy(update={"parameters": {**PARAMETERS, "fast": 29.9, "slow": 40}})
    assert level_at(level, 2, near).ranges == level.ranges  # without an edge, only its end itself counts


def test_only_ends_at_which_the_winner_lies_are_widened() -> None:
    level = level_of(retries=2)

    second = level_at(level, 2, WINNER)

    assert second.ranges == {**level.ranges, "slow": (20.0, 70.0), "stop_atr": (0.25, 5.0)}
    assert level_at(level, 2, INSIDE).ranges == level.ranges


def test_without_a_feasible_trial_the_ends_of_the_closest_one_are_widened() -> None:
    level = level_of(retries=1)

    assert level_at(level, 2, NEAR).ranges == {**level.ranges, "fast": (5.0, 37.0)}


def test_every_range_is_widened_without_a_feasible_trial_and_an_edge_that_can_move() -> None:
    level = level_of(retries=1, ranges={**RANGES, "fast": (2.0, 30.0)})
    hard, inside = (
        AttemptFacts(feasible=False, parameters={**PARAMETERS, "fast": fast, "slow": 40}) for fast in (2, 15)
    )  # 2 is a hard bound
    wider = {"fast": (2, 37), "slow": (10, 70), "stop_atr": (0.25, 6.0)}

    for facts in (hard, inside, NOTHING_FEASIBLE):
        assert wider.items() <= level_at(level, 2, facts).ranges.items()


def test_a_plan_says_what_was_missed_and_what_changes() -> None:
    level = level_of(trials=100, retries=3)
    said = [plan_retry(level, 2, facts).reason for facts in (WINNER, INSIDE, NEAR, NOTHING_FEASIBLE)]

    assert said[0] == (
        "the winner missed on validation: sharpe by 0.3; 150 trials instead of 100; slow 20..60 becomes 20..70 (upper "
        "end), stop_atr 1..5 becomes 0.25..5 (lower end): the winner lies there"
    )
    assert said[1].endswith("no range widened: the winner lies at no edge that can move")
    assert said[2] == (
        "the closest trial missed on train: drawdown by 0.03; 150 trials instead of 100; fast 5..30 becomes 5..37 "
        "(upper end): the closest trial lies there"
    )
    assert said[3].startswith("no trial met every constraint on train; 150 trials instead of 100; fast 5..30 becomes ")
    assert said[3].endswith("(both ends): no trial is feasible, and none lies at an edge that can move")
    assert "relaxed" not in "".join(said)
    assert plan_retry(level_of(relax=0.05, retries=3), 3, WINNER).reason.endswith("gate targets relaxed by 0.1")


def test_a_plan_is_equal_after_its_storage_as_json() -> None:
    level = level_of(retries=3)
    stored = [RetryPlan.model_validate_json(plan.model_dump_json()) for plan in retries_of(level, 4, WINNER)]

    assert stored == retries_of(level, 4, WINNER)
    assert at_attempt(level, 4, None, stored) == level_at(level, 4, WINNER)
    assert AttemptFacts.model_validate_json(WINNER.model_dump_json()) == WINNER


def test_an_attempt_needs_the_plans_of_its_retries() -> None:
    with pytest.raises(ValueError, match="level 1: attempt 3 has 2 retries, but 0 plans"):
        at_attempt(level_of(retries=3), 3)


def test_the_first_attempt_equals_the_level() -> None:
    assert at_attempt(level_of(), 1) == level_of()


@st.composite
def found_facts(draw: st.DrawFn) -> AttemptFacts:
    values = {
        name: draw(st.integers(int(low), int(high)) if isinstance(low, int) else st.floats(low, high))
        for name, (low, high) in HARD.items()
    }
    return AttemptFacts(feasible=draw(st.booleans()), parameters=draw(st.sampled_from([values, None])))


@given(ranges(), st.lists(found_facts(), max_size=4), st.booleans(), st.floats(1, 3))
def test_ranges_grow_within_those_that_set_the_warm_up(found, learned, at_ends: bool, factor: float) -> None:
    """Whatever is found, no range shrinks, leaves the hard bounds, or exceeds the widest ranges of attempt 1."""
    written = level_of(ranges=found, retries=4, retry={"range_factor": factor})
    levels, plans = [written], list[RetryPlan]()
    for number, facts in enumerate(learned, start=2):
        last = levels[-1]
        if at_ends and facts.parameters:  # at the upper end, where it can move furthest
            facts = facts.model_copy(update={"parameters": {name: high for name, (_, high) in last.ranges.items()}})
        plans.append(plan_retry(last, number, facts))
        levels.append(at_attempt(written, number, None, plans))

    for narrower, wider in pairwise(levels):
        for name, (low, high) in wider.ranges.items():
            assert HARD[name][0] <= low <= narrower.ranges[name][0]
            assert narrower.ranges[name][1] <= high <= HARD[name][1]
            assert widest(written)[name][0] <= low
            assert high <= widest(written)[name][1]
    assert {name: widest(level)[name] for level in levels for name in HARD} == widest(written)


def test_targets_are_relaxed_only_if_the_level_allows_it() -> None:
    assert level_at(level_of(retries=3), 4).gate == level_of().gate

    relaxed = level_at(level_of(retries=3, relax=0.05), 3)

    assert relaxed.gate.win_rate == pytest.approx(0.45)
    assert relaxed.gate.sharpe == pytest.approx(0.72)
    assert relaxed.gate.max_drawdown_intrabar == pytest.approx(0.165)
    assert relaxed.gate.profit_factor == pytest.approx(1.17)
    assert relaxed_by(level_of(relax=0.05), 3) == pytest.approx(0.10)
    assert relaxed_by(level_of(relax=0.05), 1) == 0


def test_a_negative_target_is_relaxed_downwards() -> None:
    gate = Gate(win_rate=0.5, sharpe=-1.0, max_drawdown_intrabar=0.9, profit_factor=1.3)

    assert level_at(level_of(gate=gate, relax=0.5, retries=1), 2).gate.sharpe == -1.5
    assert level_at(level_of(gate=gate, relax=0.5, retries=1), 2).gate.max_drawdown_intrabar == 1.0


def test_inherited_points_are_the_winner_and_eight_neighbours() -> None:
    points = first_points(level_of(), PARAMETERS, seed=7)

    assert points[0] == PARAMETERS
    assert len(points) == 1 + 8
    assert len(first_points(level_of(inherit={"neighbours": 3}), PARAMETERS, seed=7)) == 1 + 3
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


def test_a_search_that_inherits_nothing_begins_without_optional_rules() -> None:
    """A filter is off at its default; one whose range does not contain that stays searched."""
    filters = {"trend": (0, 1), "hour_length": (4, 24), "vol_high": (0.5, 0.9)}
    level = level_of(ranges={**RANGES, **filters}, trials=100)

    assert starting_points(level, 1, [None, None], seed=7) == ({"trend": 0, "hour_length": 24},) * PLAIN_POINTS
    assert starting_points(level_of(), 1, [None], seed=7) == ()
    assert starting_points(level, 2, [None], seed=7) == ()
    assert starting_points(level, 1, [PARAMETERS], seed=7) == first_points(level, PARAMETERS, seed=7)


def test_the_first_trials_without_optional_rules_differ_in_all_other_parameters() -> None:
    level = level_of(ranges={**RANGES, "hour_length": (4, 24)}, trials=100)
    space = search_space(level, 7, starting_points(level, 1, [None], seed=7))

    asked = [ask(replace(space, lag=100), space.history(), number).parameters for number in range(PLAIN_POINTS + 4)]

    assert {each["hour_length"] for each in asked[:PLAIN_POINTS]} == {24}
    assert len({each["hour_length"] for each in asked[PLAIN_POINTS:]}) > 1
    assert len({each["fast"] for each in asked[:PLAIN_POINTS]}) > 3


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
