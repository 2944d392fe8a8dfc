"""Gate readings."""

import math

import pytest
from pydantic import ValidationError

from optimizer.level.constraints import Constraint
from optimizer.level.spec import Gate, Part
from optimizer.validation.gate import gate_readings, is_passed
from tests.factories.levels import level_of

GOOD = {"win_rate": 0.5, "sharpe": 0.8, "max_drawdown_intrabar": 0.15, "profit_factor": 1.3, "trades": 30}


def test_exactly_met_targets_pass():
    readings = gate_readings(level_of(), GOOD, Part.TRAIN)

    assert [(reading.name, reading.target) for reading in readings] == [
        ("win_rate", 0.5),
        ("sharpe", 0.8),
        ("max_drawdown_intrabar", 0.15),
        ("profit_factor", 1.3),
        ("trades", 30),
    ]
    assert is_passed(readings)


@pytest.mark.parametrize(
    ("metric", "name", "value"),
    [
        ("win_rate", "win_rate", 0.499),
        ("sharpe", "sharpe", 0.799),
        ("max_drawdown_intrabar", "max_drawdown_intrabar", 0.151),
        ("profit_factor", "profit_factor", 1.299),
        ("trades", "trades", 29),
    ],
)
def test_one_missed_target_fails_the_gate(metric, name, value):
    readings = gate_readings(level_of(), {**GOOD, metric: value}, Part.TRAIN)

    assert [reading.name for reading in readings if not reading.met] == [name]
    assert not is_passed(readings)


@pytest.mark.parametrize("metric", GOOD)
def test_nan_fails_the_gate(metric):
    assert not is_passed(gate_readings(level_of(), {**GOOD, metric: math.nan}, Part.TRAIN))


def test_an_infinite_profit_factor_passes():
    assert is_passed(gate_readings(level_of(), {**GOOD, "profit_factor": math.inf}, Part.TRAIN))


@pytest.mark.parametrize("part", [Part.VALIDATION, Part.TEST])
def test_later_parts_need_fewer_trades(part):
    assert is_passed(gate_readings(level_of(), {**GOOD, "trades": 10}, part))
    assert not is_passed(gate_readings(level_of(), {**GOOD, "trades": 9}, part))


@pytest.mark.parametrize("name", ["max_drawdown", "max_drawdown_intrabar"])
def test_the_drawdown_of_a_gate_has_a_short_and_a_full_key(name: str) -> None:
    gate = Gate.model_validate({"win_rate": 0.5, "sharpe": 0.8, name: 0.15, "profit_factor": 1.3})

    assert gate.model_dump() == {"win_rate": 0.5, "sharpe": 0.8, "max_drawdown_intrabar": 0.15, "profit_factor": 1.3}


def test_a_gate_that_names_its_drawdown_twice_is_refused() -> None:
    with pytest.raises(ValidationError, match="max_drawdown\n"):
        Gate.model_validate(
            {"win_rate": 0, "sharpe": 0, "max_drawdown": 0.1, "max_drawdown_intrabar": 0.2, "profit_factor": 1}
        )


def test_a_drawdown_constraint_uses_the_drawdown_of_the_gate() -> None:
    assert Constraint.parse("drawdown <= 0.15") == Constraint.parse("max_drawdown_intrabar <= 0.15")
