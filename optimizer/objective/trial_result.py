"""Evaluation: the result of one trial, and its JSON form for transport between processes."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, ValidationError

from optimizer.level.metric_names import METRICS, RISK_METRICS
from tradeschool.errors import TradeschoolError

CONSTRAINTS = ("win_rate", "drawdown", "profit_factor", "min_trades")
"""Names of a trial's constraints, in the order in which the sampler receives them."""
SIGNIFICANT_DIGITS = 12
"""Significant digits kept; beyond them, the mathematics libraries of two CPUs may differ."""


class TrialOutcome(StrEnum):
    """Final state of a trial that did not fail."""

    COMPLETE = "complete"
    PRUNED = "pruned"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Results of one trial, each rounded to 12 significant digits so that all processors agree."""

    state: TrialOutcome
    value: float | None
    """Objective value, maximised: always finite for a complete trial; for a pruned trial its last intermediate value,
    None if that is NaN. None with several objectives.
    """
    values: Mapping[str, float] = field(default_factory=dict)
    """Values of several objectives by name, finite, in the level's order; empty with one objective."""
    intermediate: tuple[float, ...]
    """Objective value over the first n + 1 datasets at index n, NaN if undefined. Shorter than the number of datasets
    if the trial was pruned; empty with several objectives.
    """
    constraints: dict[str, float]
    """Violations by the names of `CONSTRAINTS` and of the level's further constraints, finite; zero or less is
    feasible.
    """
    metrics: dict[str, float]
    """Values by the names of `metric_names.METRICS`, over the datasets that were run; NaN or infinite where so defined.
    With a risk budget also those of `metric_names.RISK_METRICS`.
    """
    pruned_reason: str | None
    """Human-readable; None for a complete trial."""

    @property
    def objectives(self) -> tuple[float, ...]:
        """Values of all objectives; empty for a pruned trial without one."""
        return tuple(self.values.values()) or (() if self.value is None else (self.value,))

    @property
    def is_feasible(self) -> bool:
        """Whether all constraints are met."""
        return all(violation <= 0 for violation in self.constraints.values())

    def to_json(self) -> str:
        """Serialise to one JSON object with sorted keys. Non-finite numbers are null; `infinite` lists the metrics that
        are plus infinity, the other nulls are NaN.
        """
        wire: dict[str, object] = {
            "state": self.state.value,
            "value": self.value,
            "intermediate": [finite_or_none(value) for value in self.intermediate],
            "constraints": self.constraints,
            "metrics": {name: finite_or_none(value) for name, value in self.metrics.items()},
            "infinite": sorted(name for name, value in self.metrics.items() if value == math.inf),
            "pruned_reason": self.pruned_reason,
        }
        if self.values:
            wire["values"] = [*self.values.items()]
        return json.dumps(wire, allow_nan=False, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | bytes) -> "Evaluation":
        """Parse the JSON of `to_json`.

        Raises:
            TradeschoolError: a key is missing, unknown or of another type, or keys contradict each other.
        """
        try:
            wire = _EvaluationMessage.model_validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "the whole"
            raise TradeschoolError(f"a trial's result cannot be read: {where}: {first['msg']}") from error
        _check(wire)
        return cls(
            state=wire.state,
            value=wire.value,
            values=dict(wire.values),
            intermediate=tuple(_number(value) for value in wire.intermediate),
            constraints=_ordered(wire.constraints),
            metrics={name: _metric(wire, name) for name in (*METRICS, *RISK_METRICS) if name in wire.metrics},
            pruned_reason=wire.pruned_reason,
        )


class _EvaluationMessage(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    state: TrialOutcome
    value: float | None
    values: list[tuple[str, float]] = []
    intermediate: list[float | None]
    constraints: dict[str, float]
    metrics: dict[str, float | None]
    infinite: list[str]
    pruned_reason: str | None


def rounded(value: float) -> float:
    """Round to the significant digits on which all CPUs agree; NaN and infinity are unchanged."""
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}")


def rounded_all(values: Mapping[str, float]) -> dict[str, float]:
    """Round each value to 12 significant digits."""
    return {name: rounded(value) for name, value in values.items()}


def _check(wire: _EvaluationMessage) -> None:
    is_complete = wire.state is TrialOutcome.COMPLETE
    for holds, rule in (
        (wire.constraints.keys() >= set(CONSTRAINTS), f"constraints: expected {', '.join(CONSTRAINTS)}"),
        (wire.metrics.keys() - {*RISK_METRICS} == set(METRICS), f"metrics: expected {', '.join(METRICS)}"),
        (_nulls(wire).issuperset(wire.infinite), "infinite: names a metric that is not null"),
        (
            (wire.value is None) == (len(wire.values) > 1) if is_complete else not wire.values,
            "value: a complete trial has one, or several values",
        ),
        (is_complete == (wire.pruned_reason is None), "pruned_reason: a pruned trial has one, a complete one none"),
    ):
        if not holds:
            raise TradeschoolError(f"a trial's result cannot be read: {rule}")


def _ordered(constraints: Mapping[str, float]) -> dict[str, float]:
    further = sorted(constraints.keys() - set(CONSTRAINTS))
    return {name: constraints[name] for name in (*CONSTRAINTS, *further)}


def _nulls(wire: _EvaluationMessage) -> set[str]:
    return {name for name, value in wire.metrics.items() if value is None}


def _metric(wire: _EvaluationMessage, name: str) -> float:
    return math.inf if name in wire.infinite else _number(wire.metrics[name])


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def finite_or_none(value: float) -> float | None:
    """Return the value, or None if it is not finite; for JSON."""
    return value if math.isfinite(value) else None
