"""A level's gate, held against the metrics of one part of its datasets."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from optimizer.evaluation import finite_or_none
from optimizer.level import Level, Part

Interval = tuple[float, float]
UNKNOWN: Interval = (math.nan, math.nan)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One figure beside what the level asks for."""

    name: str
    """The metric's own where the target is the gate's; with its bound, such as `calmar >= 1.5`, where it is a further
    constraint's."""
    value: float
    """NaN where there is nothing to measure."""
    target: float
    is_ceiling: bool
    """Whether the value may be at most, and not at least, the target."""
    low: float = math.nan
    """Of the 95 % interval around the value; NaN where there is none."""
    high: float = math.nan
    trades: int
    """How many closed trades the value is made of."""

    @property
    def met(self) -> bool:
        """Whether the value keeps to the target; never where it is NaN."""
        if math.isnan(self.value):
            return False
        return self.value <= self.target if self.is_ceiling else self.value >= self.target

    def as_json(self) -> dict[str, str | float | bool | None]:
        """For a file or another program; what is no finite number is null, and `infinite` says which kind."""
        return {
            "name": self.name,
            "value": finite_or_none(self.value),
            "infinite": math.isinf(self.value),
            "target": self.target,
            "sign": "<=" if self.is_ceiling else ">=",
            "met": self.met,
            "low": finite_or_none(self.low),
            "high": finite_or_none(self.high),
            "trades": self.trades,
        }


def gate_readings(
    level: Level, metrics: Mapping[str, float], part: Part, intervals: Mapping[str, Interval] | None = None
) -> list[Reading]:
    """Every criterion of the gate, the minimum number of trades and further constraints included.

    `intervals` are the 95 % ones of metrics, by name, as far as they are known.
    """
    gate, known = level.gate, intervals or {}
    asked = [
        ("win_rate", gate.win_rate, False),
        ("sharpe", gate.sharpe, False),
        ("max_drawdown_intrabar", gate.max_drawdown_intrabar, True),
        ("profit_factor", gate.profit_factor, False),
        ("trades", trades_needed(level, part), False),
        *((each.name, each.bound, each.at_least is None) for each in level.constraints),
    ]
    metric_of = {each.name: each.metric for each in level.constraints}
    return [
        _reading(name, metric_of.get(name, name), target, metrics, known, is_ceiling=is_ceiling)
        for name, target, is_ceiling in asked
    ]


def is_passed(readings: list[Reading]) -> bool:
    """Whether every criterion is met."""
    return all(reading.met for reading in readings)


def trades_needed(level: Level, part: Part) -> int:
    """Closed trades that a part needs; test is held against validation's number, which is as long."""
    return level.min_trades.train if part is Part.TRAIN else level.min_trades.validation


def _reading(
    name: str,
    metric: str,
    target: float,
    metrics: Mapping[str, float],
    intervals: Mapping[str, Interval],
    *,
    is_ceiling: bool,
) -> Reading:
    low, high = intervals.get(metric, UNKNOWN)
    trades = metrics["trades"]
    return Reading(
        name=name,
        value=float(metrics[metric]),
        target=float(target),
        is_ceiling=is_ceiling,
        low=low,
        high=high,
        trades=0 if math.isnan(trades) else int(trades),
    )
