"""Attempts: the ranges, trial budget and gate of a level on each attempt.

The first attempt uses the level as written, or ranges around the inherited winner if the level is narrow. Each retry
changes it by its plan; see `optimizer.curriculum.retry_plan`.
"""

from collections.abc import Mapping, Sequence

from optimizer.curriculum.retry_plan import RetryPlan, next_trials
from optimizer.level.spec import Gate, Level
from optimizer.strategies.parameter_ranges import around, widened, widest

MIN_PROFIT_FACTOR = 1e-9
"""Lower bound of the profit factor target, which must be above zero."""


def at_attempt(
    level: Level, attempt: int, inherited: Mapping[str, float] | None = None, retries: Sequence[RetryPlan] = ()
) -> Level:
    """Return the level as attempt `attempt` (from 1) searches it, with the number of retries that remain.

    `inherited`: the winning parameters of the previous level; `retries`: the plans of all retries up to this attempt.

    Raises:
        ValueError: the number of plans is not that of the retries.
    """
    if len(retries) != attempt - 1:
        raise ValueError(f"level {level.name}: attempt {attempt} has {attempt - 1} retries, but {len(retries)} plans")
    if level.narrow and inherited is not None:
        level = level.model_copy(update={"ranges": around(level, inherited)})
    target, reachable = level.gate, widest(level) if retries else {}
    for number, plan in enumerate(retries, start=1):
        level = level.model_copy(
            update={
                "trials": next_trials(level),
                "ranges": widened(level, plan.ends),
                "retries": level.retries - 1,
                "gate": _relaxed(target, level.relax * number),
                "reachable": reachable,
            }
        )
    return level


def relaxed_by(level: Level, attempt: int) -> float:
    """Return the share by which an attempt's gate targets are relaxed from the level's targets."""
    return min(1.0, level.relax * (attempt - 1))


def _relaxed(gate: Gate, share: float) -> Gate:
    """Relax each target by a share of itself; fractions stay within [0, 1]."""
    easier = 1 - min(1.0, share)
    return Gate(
        win_rate=gate.win_rate * easier,
        sharpe=gate.sharpe - abs(gate.sharpe) * (1 - easier),
        max_drawdown_intrabar=min(1.0, gate.max_drawdown_intrabar * (2 - easier)),
        profit_factor=max(gate.profit_factor * easier, MIN_PROFIT_FACTOR),
    )
