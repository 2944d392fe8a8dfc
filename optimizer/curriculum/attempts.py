"""Attempts: the ranges, trial budget and gate of a level on each attempt.

The first attempt uses the level as written, or ranges around the inherited winner if the level is narrow. Retries use
wider ranges and more trials.
"""

import math
from collections.abc import Mapping

from optimizer.level.spec import Gate, Level
from optimizer.strategies.parameter_ranges import WIDENING, around, widened


def at_attempt(level: Level, attempt: int, inherited: Mapping[str, float] | None = None) -> Level:
    """Return the level as attempt `attempt` (from 1) searches it, with the number of retries that remain.

    `inherited`: the winning parameters of the previous level.
    """
    if level.narrow and inherited is not None:
        level = level.model_copy(update={"ranges": around(level, inherited)})
    target = level.gate
    for retry in range(1, attempt):
        level = level.model_copy(
            update={
                "trials": math.ceil(WIDENING * level.trials),
                "ranges": widened(level),
                "retries": level.retries - 1,
                "gate": _relaxed(target, level.relax * retry),
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


MIN_PROFIT_FACTOR = 1e-9
"""Lower bound of the profit factor target, which must be above zero."""
