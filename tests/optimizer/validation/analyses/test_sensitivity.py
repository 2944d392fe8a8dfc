"""Sensitivity analysis."""

import pytest

from optimizer.level.spec import Part
from optimizer.objective.choices import Choice
from optimizer.objective.objective import evaluate_part, prepare_level
from optimizer.validation.analyses.sensitivity import STEPS, at_the_edge, stability
from tests.factories.levels import PARAMETERS, RANGES, level_of, read_made

LEVEL = level_of()
WINNER = {**PARAMETERS, "fast": 20, "slow": 40}
CHOICES = [Choice(parameters=WINNER)]


@pytest.fixture(scope="module")
def found():
    return stability(LEVEL, prepare_level(LEVEL, Part.VALIDATION, read_made), WINNER, CHOICES)


def test_each_parameter_is_varied_by_each_step(found) -> None:
    moved = [(row["parameter"], row["step"], row["parameters"][row["parameter"]]) for row in found["neighbours"]]

    assert [(step, value) for name, step, value in moved if name == "fast"] == list(
        zip(STEPS, (16, 18, 19, 21, 22, 24), strict=True)
    )
    assert {name for name, _, _ in moved} == set(RANGES)
    assert all(isinstance(value, int) for name, _, value in moved if name in {"fast", "slow", "atr_period"})


def test_neighbours_are_evaluated_on_validation(found) -> None:
    bars = prepare_level(LEVEL, Part.VALIDATION, read_made)
    row = found["neighbours"][0]

    assert row["sharpe"] == evaluate_part(LEVEL, bars, row["parameters"], Part.VALIDATION).metrics["sharpe"]
    assert found["sharpe"] == evaluate_part(LEVEL, bars, WINNER, Part.VALIDATION).metrics["sharpe"]


def test_the_share_of_a_non_positive_sharpe_ratio_is_nan(found) -> None:
    if found["sharpe"] > 0:
        assert found["worst_kept"] <= found["median_kept"]
    else:
        assert found["median_kept"] is None
        assert found["stable"] is False


def test_a_best_value_at_the_edge_of_its_range_is_reported() -> None:
    assert at_the_edge(LEVEL, {**WINNER, "fast": 30, "stop_atr": 1.02}) == ["fast", "stop_atr"]
    assert at_the_edge(LEVEL, WINNER) == []


def test_a_fixed_parameter_is_not_varied_or_checked_for_edges() -> None:
    level = level_of(ranges={name: (value, value) for name, value in WINNER.items()} | {"fast": (5.0, 30.0)})
    found = stability(level, prepare_level(level, Part.VALIDATION, read_made), WINNER, CHOICES)

    assert {row["parameter"] for row in found["neighbours"]} == {"fast"}
    assert found["at_the_edge"] == []
