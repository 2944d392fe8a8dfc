"""A level as one attempt searches it: as written at first, around the winner where it is narrow, wider on a retry."""

import math
from collections.abc import Mapping

from optimizer.level import Gate, Level
from optimizer.ranges import WIDENING, around, widened


def at_attempt(level: Level, attempt: int, inherited: Mapping[str, float] | None = None) -> Level:
    """The level that attempt number `attempt` searches, counted from 1, with as many retries as are left after it.

    `inherited` are the parameters of the level before's winner.
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
    """The share of itself by which an attempt's gate falls short of what the level asks for."""
    return min(1.0, level.relax * (attempt - 1))


def _relaxed(gate: Gate, share: float) -> Gate:
    """Each target easier by a share of itself; a fraction stays one."""
    easier = 1 - min(1.0, share)
    return Gate(
        win_rate=gate.win_rate * easier,
        sharpe=gate.sharpe - abs(gate.sharpe) * (1 - easier),
        max_drawdown_intrabar=min(1.0, gate.max_drawdown_intrabar * (2 - easier)),
        profit_factor=max(gate.profit_factor * easier, LEAST_PROFIT_FACTOR),
    )


LEAST_PROFIT_FACTOR = 1e-9
"""A target has to be above zero."""
