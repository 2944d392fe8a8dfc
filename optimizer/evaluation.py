"""What became of one trial, and its form as JSON between the process that ran it and the one that asked."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, ValidationError

from optimizer.metric_names import METRICS
from tradeschool.errors import TradeschoolError

CONSTRAINTS = ("win_rate", "drawdown", "profit_factor", "min_trades")
"""Names of a trial's constraints, in the order in which a sampler gets them."""
SIGNIFICANT_DIGITS = 12
"""Digits that survive: below them, the mathematics libraries of two CPUs may disagree."""


class Outcome(StrEnum):
    """How a trial ended that did not crash."""

    COMPLETE = "complete"
    PRUNED = "pruned"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """One trial's figures, each rounded to 12 significant digits, so that other processors agree on them."""

    state: Outcome
    value: float | None
    """What the search maximises: always a finite number of a complete trial; of a pruned one its last
    intermediate value, None where that is no number."""
    intermediate: tuple[float, ...]
    """The portfolio's Sharpe ratio over the first n + 1 datasets at place n, NaN where it has none. Fewer
    than datasets where the trial was pruned; a dataset stopped at the drawdown limit reports none."""
    constraints: dict[str, float]
    """By the names of `CONSTRAINTS` and of the level's further ones, finite; zero or less is feasible."""
    metrics: dict[str, float]
    """By the names of `metric_names.METRICS`, over the datasets that were run; NaN or infinite where so defined."""
    pruned_reason: str | None
    """For people; None of a complete trial."""

    @property
    def is_feasible(self) -> bool:
        """Whether every constraint holds."""
        return all(violation <= 0 for violation in self.constraints.values())

    def to_json(self) -> str:
        """One JSON object, keys sorted. What is not a finite number is null; `infinite` names those metrics
        that are plus infinity, the other nulls are NaN."""
        wire = {
            "state": self.state.value,
            "value": self.value,
            "intermediate": [finite_or_none(value) for value in self.intermediate],
            "constraints": self.constraints,
            "metrics": {name: finite_or_none(value) for name, value in self.metrics.items()},
            "infinite": sorted(name for name, value in self.metrics.items() if value == math.inf),
            "pruned_reason": self.pruned_reason,
        }
        return json.dumps(wire, allow_nan=False, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | bytes) -> "Evaluation":
        """The evaluation that `to_json` wrote.

        Raises:
            TradeschoolError: where a key is missing, unknown, or of another type, or where keys contradict
                one another.
        """
        try:
            wire = _Wire.model_validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "the whole"
            raise TradeschoolError(f"a trial's result cannot be read: {where}: {first['msg']}") from error
        _check(wire)
        return cls(
            state=wire.state,
            value=wire.value,
            intermediate=tuple(_number(value) for value in wire.intermediate),
            constraints=_ordered(wire.constraints),
            metrics={name: _metric(wire, name) for name in METRICS},
            pruned_reason=wire.pruned_reason,
        )


class _Wire(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    state: Outcome
    value: float | None
    intermediate: list[float | None]
    constraints: dict[str, float]
    metrics: dict[str, float | None]
    infinite: list[str]
    pruned_reason: str | None


def rounded(value: float) -> float:
    """The value with as many digits as two CPUs agree on; NaN and infinity unchanged."""
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}")


def rounded_all(values: Mapping[str, float]) -> dict[str, float]:
    """Each value to 12 significant digits."""
    return {name: rounded(value) for name, value in values.items()}


def _check(wire: _Wire) -> None:
    is_complete = wire.state is Outcome.COMPLETE
    for holds, rule in (
        (wire.constraints.keys() >= set(CONSTRAINTS), f"constraints: expected {', '.join(CONSTRAINTS)}"),
        (wire.metrics.keys() == set(METRICS), f"metrics: expected {', '.join(METRICS)}"),
        (_nulls(wire).issuperset(wire.infinite), "infinite: names a metric that is not null"),
        (not is_complete or wire.value is not None, "value: a complete trial has one"),
        (is_complete == (wire.pruned_reason is None), "pruned_reason: a pruned trial has one, a complete one none"),
    ):
        if not holds:
            raise TradeschoolError(f"a trial's result cannot be read: {rule}")


def _ordered(constraints: Mapping[str, float]) -> dict[str, float]:
    further = sorted(constraints.keys() - set(CONSTRAINTS))
    return {name: constraints[name] for name in (*CONSTRAINTS, *further)}


def _nulls(wire: _Wire) -> set[str]:
    return {name for name, value in wire.metrics.items() if value is None}


def _metric(wire: _Wire, name: str) -> float:
    return math.inf if name in wire.infinite else _number(wire.metrics[name])


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def finite_or_none(value: float) -> float | None:
    """The value as JSON can say it: None for what is not a finite number."""
    return value if math.isfinite(value) else None
