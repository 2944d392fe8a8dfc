"""A finished trial as a reader of the study sees it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialView:
    """A finished trial as shown by monitoring."""

    number: int
    state: str
    """State: complete, pruned or failed."""
    value: float | None
    """Value on train, of the first objective if there are several; None without one."""
    values: Mapping[str, float] = field(default_factory=dict)
    """Values of several objectives by name; empty with one objective."""
    is_feasible: bool
    """Complete, with all constraints met."""
    parameters: Mapping[str, JsonValue]
    metrics: Mapping[str, float | None]
    worker: str
    ended: float | None
    """Unix time in seconds."""
    seconds: float
    """Duration of the evaluation."""
    reason: str
    """Reason of pruning or failure."""
