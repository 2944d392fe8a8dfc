"""The gate's readings."""

import math

import pytest

from optimizer.gate import gate_readings, is_passed
from optimizer.level import Part
from tests.optimizer.made_levels import level_of

GOOD = {"win_rate": 0.5, "sharpe": 0.8, "max_drawdown_intrabar": 0.15, "profit_factor": 1.3, "trades": 30}


def test_every_target_just_reached_passes():
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
def test_one_target_missed_shuts_the_gate(metric, name, value):
    readings = gate_readings(level_of(), {**GOOD, metric: value}, Part.TRAIN)

    assert [reading.name for reading in readings if not reading.met] == [name]
    assert not is_passed(readings)


@pytest.mark.parametrize("metric", GOOD)
def test_nan_shuts_the_gate(metric):
    assert not is_passed(gate_readings(level_of(), {**GOOD, metric: math.nan}, Part.TRAIN))


def test_an_infinite_profit_factor_passes():
    assert is_passed(gate_readings(level_of(), {**GOOD, "profit_factor": math.inf}, Part.TRAIN))


@pytest.mark.parametrize("part", [Part.VALIDATION, Part.TEST])
def test_later_parts_need_fewer_trades(part):
    assert is_passed(gate_readings(level_of(), {**GOOD, "trades": 10}, part))
    assert not is_passed(gate_readings(level_of(), {**GOOD, "trades": 9}, part))
