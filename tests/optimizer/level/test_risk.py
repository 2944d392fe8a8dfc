"""Risk budget of a level."""

import pytest
from pydantic import ValidationError

from optimizer.level.risk import Risk
from optimizer.level.spec import Level
from tests.factories.levels import level_of


def test_the_default_budget_is_a_volatility_of_ten_percent_without_leverage() -> None:
    assert (Risk().target_volatility, Risk().max_drawdown, Risk().max_leverage) == (0.10, None, 1.0)
    assert Risk(max_leverage=2).target_volatility == 0.10


def test_a_drawdown_replaces_the_volatility() -> None:
    assert (Risk(max_drawdown=0.1).target_volatility, Risk(max_drawdown=0.1).max_drawdown) == (None, 0.1)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"target_volatility": 0.1, "max_drawdown": 0.1}, "not both"),
        ({"target_volatility": 0}, "greater than 0"),
        ({"max_drawdown": 1.0}, "less than 1"),
        ({"max_leverage": 0}, "greater than 0"),
        ({"leverage": 2}, "Extra inputs"),
    ],
)
def test_wrong_budgets_are_refused(given: dict[str, float], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Risk.model_validate(given)


@pytest.mark.parametrize("risk", [None, Risk(), Risk(max_drawdown=0.2, max_leverage=3)])
def test_a_level_keeps_its_budget_in_json(risk: Risk | None) -> None:
    level = level_of(risk=risk)

    assert Level.model_validate_json(level.model_dump_json()) == level
    assert ("risk" in level.model_dump_json()) is (risk is not None)


def test_the_budget_is_told_in_words() -> None:
    assert Risk().sentence == "account sized to 0.1 volatility a year on train, leverage at most 1"
    assert Risk(max_drawdown=0.15).sentence == "account sized to 0.15 drawdown on train, leverage at most 1"
