"""A level's gate, held against the metrics of one part of its datasets."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from optimizer.level import Level, Part


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One figure beside what the level asks for."""

    name: str
    value: float
    """NaN where there is nothing to measure."""
    target: float
    met: bool
    """Never where the value is NaN."""


def gate_readings(level: Level, metrics: Mapping[str, float], part: Part) -> list[Reading]:
    """Every criterion of the gate, the minimum number of trades included; the drawdown is the intrabar one."""
    gate = level.gate
    return [
        _at_least("win_rate", metrics["win_rate"], gate.win_rate),
        _at_least("sharpe", metrics["sharpe"], gate.sharpe),
        _at_most("max_drawdown", metrics["max_drawdown_intrabar"], gate.max_drawdown),
        _at_least("profit_factor", metrics["profit_factor"], gate.profit_factor),
        _at_least("min_trades", metrics["trades"], trades_needed(level, part)),
    ]


def is_passed(readings: list[Reading]) -> bool:
    """Whether every criterion is met."""
    return all(reading.met for reading in readings)


def trades_needed(level: Level, part: Part) -> int:
    """Closed trades that a part needs; test is held against validation's number, which is as long."""
    return level.min_trades.train if part is Part.TRAIN else level.min_trades.validation


def _at_least(name: str, value: float, target: float) -> Reading:
    return Reading(name=name, value=value, target=target, met=not math.isnan(value) and value >= target)


def _at_most(name: str, value: float, target: float) -> Reading:
    return Reading(name=name, value=value, target=target, met=not math.isnan(value) and value <= target)
