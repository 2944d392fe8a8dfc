"""Violations of a level's constraints by the runs of a trial."""

import math
from collections.abc import Mapping, Sequence

from optimizer.backtest.result import BacktestRun
from optimizer.backtest.trade_totals import trade_totals
from optimizer.level.spec import Level, Part, trades_needed
from optimizer.objective.trial_result import rounded_all

WHOLLY_MISSED = 1.0
"""Violation of a constraint without a measured value; the largest fraction."""


def violations_of(
    level: Level,
    part: Part,
    runs: Sequence[BacktestRun],
    figures: Mapping[str, float],
    drawdown: float,
    values: Sequence[float],
) -> dict[str, float]:
    """Return each constraint's violation as a fraction, so that all share one scale; zero or less is feasible.

    `values`: those of the objectives, NaN where undefined.
    """
    gate, win_rate = level.gate, figures["win_rate"]
    violations = {
        "win_rate": WHOLLY_MISSED if math.isnan(win_rate) else gate.win_rate - win_rate,
        "drawdown": drawdown - gate.max_drawdown_intrabar,
        "profit_factor": _profit_factor_violation(runs, gate.profit_factor),
        "min_trades": _trades_violation(figures, trades_needed(level, part), values),
    }
    if level.is_multi_objective and part is Part.TRAIN:
        violations["drawdown_limit"] = drawdown - level.drawdown_limit
    further = {each.name: each.violation(figures[each.metric]) for each in level.constraints}
    return rounded_all(violations | further)


def _profit_factor_violation(runs: Sequence[BacktestRun], target: float) -> float:
    """Return the violation `target * loss - profit <= 0` over the turnover `profit + loss`, which avoids division by
    zero.
    """
    total = trade_totals(runs)
    turnover = total.profit + total.loss
    return (target * total.loss - total.profit) / turnover if turnover > 0 else WHOLLY_MISSED


def _trades_violation(figures: Mapping[str, float], needed: int, values: Sequence[float]) -> float:
    """Return the missing share of the required trades; the largest violation without a Sharpe ratio or an objective."""
    if math.isnan(figures["sharpe"]) or any(map(math.isnan, values)):
        return WHOLLY_MISSED
    return (needed - figures["trades"]) / max(needed, 1)
