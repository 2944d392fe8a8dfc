"""Choices: the parameters and sizes that trade the bars of a part, one choice for all of them or one per window.

Bars of several windows are ordered by window, then by dataset, as `prepare_level` returns them. Each window starts flat
and ends flat, so the account of all windows is the portfolio of all runs.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from optimizer.backtest.result import INITIAL_EQUITY, BacktestRun, trade_type
from optimizer.bars.preparation import Prepared
from optimizer.level.spec import Level, Part
from optimizer.objective.objective import backtest, evaluate_runs
from optimizer.objective.sizing import WHOLE
from optimizer.objective.trial_result import Evaluation


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What trades the bars of a window."""

    parameters: Mapping[str, float] | None
    """None: the window holds cash, because no trial of its search met every constraint."""
    size: float = WHOLE
    """Size of the account, solved on the train that the parameters were chosen on."""


def traded_bars(
    level: Level, prepared: Sequence[Prepared], choices: Sequence[Choice]
) -> Iterator[tuple[Prepared, Choice]]:
    """Yield the bars of each dataset with the choice that trades them."""
    for place, bars in enumerate(prepared):
        yield bars, choices[place // len(level.datasets)]


def trade_choices(level: Level, prepared: Sequence[Prepared], choices: Sequence[Choice]) -> list[BacktestRun]:
    """Backtest the bars of each dataset with the choice that trades them."""
    return [trade(level, bars, choice) for bars, choice in traded_bars(level, prepared, choices)]


def trade(level: Level, bars: Prepared, choice: Choice) -> BacktestRun:
    """Backtest the bars of one dataset with a choice."""
    return cash(bars) if choice.parameters is None else backtest(level, bars, choice.parameters, choice.size)


def evaluate_choices(level: Level, prepared: Sequence[Prepared], choices: Sequence[Choice], part: Part) -> Evaluation:
    """Evaluate the account that the choices make together, at the size of each; the gate reads this."""
    return evaluate_runs(level, trade_choices(level, prepared, choices), part)


def cash(bars: Prepared) -> BacktestRun:
    """Return the run of an account that never trades."""
    equity = np.full(bars.day_count, INITIAL_EQUITY)
    return BacktestRun(
        dataset=bars.dataset,
        trades=np.empty(0, dtype=trade_type(bars.prices.dtype)),
        initial_equity=INITIAL_EQUITY,
        first_day=bars.first_day,
        equity=equity,
        lows=equity.copy(),
        max_intrabar_drawdown=0.0,
        evaluated_bars=bars.evaluated_bars,
        stopped=False,
    )
