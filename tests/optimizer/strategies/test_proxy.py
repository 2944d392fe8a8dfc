"""A strategy's declaration reaches the searching process as JSON and is the same there."""

import json

import pytest

from optimizer.strategies.protocol import CategoricalParameter, FloatParameter, IntParameter, load
from optimizer.strategies.proxy import StrategyDeclaration
from optimizer.strategies.registry import built_in_names


@pytest.mark.parametrize("name", built_in_names())
def test_the_declaration_of_every_built_in_strategy_is_the_same_after_json(name: str) -> None:
    declared = StrategyDeclaration.of(load(name))

    assert StrategyDeclaration.from_json(json.loads(json.dumps(declared.as_json()))) == declared


def test_every_kind_of_parameter_keeps_its_search_range() -> None:
    declared = StrategyDeclaration(
        name="any",
        parameters=(
            IntParameter(name="whole", low=1, high=9, default=3, search=(2, 5), meaning="Any."),
            FloatParameter(name="real", low=0.0, high=1.0, default=0.5, meaning="Any."),
            CategoricalParameter(name="choice", choices=("a", "b", "c"), default=0, search=(0, 1), meaning="Any."),
        ),
        is_asked_by_bar=True,
    )

    restored = StrategyDeclaration.from_json(json.loads(json.dumps(declared.as_json())))

    assert [each.search for each in restored.parameters] == [(2, 5), None, (0, 1)]
    assert restored == declared
