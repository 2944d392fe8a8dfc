"""Gate: compares the metrics of one part of a level's datasets with the level's targets."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from optimizer.level.spec import Level, Part, trades_needed
from optimizer.objective.trial_result import finite_or_none

Interval = tuple[float, float]
UNKNOWN: Interval = (math.nan, math.nan)


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """One criterion of a gate: a value and its target."""

    name: str
    """The metric's name for the gate's own targets; with its bound, such as `calmar >= 1.5`, for further constraints.
    """
    value: float
    """NaN if there is nothing to measure."""
    target: float
    is_ceiling: bool
    """Whether the target is an upper limit instead of a lower one."""
    low: float = math.nan
    """Lower limit of the 95 % interval around the value; NaN if there is none."""
    high: float = math.nan
    trades: int
    """Number of closed trades behind the value."""

    @property
    def met(self) -> bool:
        """Whether the value meets the target; False for NaN."""
        if math.isnan(self.value):
            return False
        return self.value <= self.target if self.is_ceiling else self.value >= self.target

    def as_json(self) -> dict[str, str | float | bool | None]:
        """Return the reading for a file or another program; non-finite values are null, `infinite` marks infinity."""
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
) -> list[Criterion]:
    """Return every criterion of the gate, including the minimum number of trades and further constraints.

    `intervals`: known 95 % intervals by metric.
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


def is_passed(readings: list[Criterion]) -> bool:
    """Return whether all criteria are met."""
    return all(reading.met for reading in readings)


def _reading(
    name: str,
    metric: str,
    target: float,
    metrics: Mapping[str, float],
    intervals: Mapping[str, Interval],
    *,
    is_ceiling: bool,
) -> Criterion:
    low, high = intervals.get(metric, UNKNOWN)
    trades = metrics["trades"]
    return Criterion(
        name=name,
        value=float(metrics[metric]),
        target=float(target),
        is_ceiling=is_ceiling,
        low=low,
        high=high,
        trades=0 if math.isnan(trades) else int(trades),
    )
