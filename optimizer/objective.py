"""One trial: backtest a level's datasets in order, give up early where it is hopeless, say what came of it.

A crash is never a score, and a missed rule is a constraint: an evaluation either raises, which fails the
trial, or has a finite value and finite constraints. Nothing of Optuna is needed here, so no worker loads it.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest

from optimizer import metrics
from optimizer.backtest.engine import atr_periods, engine_of, warm_up_bars
from optimizer.backtest.prepare import Prepared, prepare
from optimizer.backtest.run import Rules, Run
from optimizer.backtest.tally import tally
from optimizer.bounds import bounded
from optimizer.evaluation import Evaluation, Outcome, rounded, rounded_all
from optimizer.gate import trades_needed
from optimizer.level import Level, Part
from optimizer.management import Management
from optimizer.portfolio import Account
from optimizer.ranges import widest
from optimizer.strategy import check_names, load, repaired
from tradeschool.columns import CandleArrays
from tradeschool.log import about
from tradeschool.market import Dataset, Timeframe, Window

VALUE_WITHOUT_SHARPE = 0.0
"""Value of a complete trial whose daily returns do not vary, as without a trade: nothing risked, nothing
earned. Such a trial is never feasible, and samplers rank infeasible trials by their constraints alone."""
WHOLLY_MISSED = 1.0
"""Constraint where there is nothing to measure: as far off as a fraction can be."""

Read = Callable[[Dataset, Window], CandleArrays]
"""The candles of a dataset whose open lies in a window."""


def repair(level: Level, parameters: Mapping[str, float]) -> dict[str, float]:
    """The parameters that a trial is run with: those asked for, made to fit together by the strategy.

    Raises:
        SettingsError: where they are not the strategy's, or leave its hard bounds.
    """
    whole = repaired(load(level.strategy), parameters)
    return {name: whole[name] for name in parameters}


def prepare_level(level: Level, part: Part, read: Read) -> tuple[Prepared, ...]:
    """One part of each of a level's datasets, in the level's order, ready for any number of trials.

    All trials of all attempts are judged over the same bars: the warm-up is that of the widest ranges that the
    level's retries may reach.

    Raises:
        SettingsError: where a range is missing or unknown, or a dataset is left without a day.
        DataError: where candles are missing, unsound, or not more than the warm-up.
    """
    return prepare_windows(level, [(dataset.source, level.window(dataset, part)) for dataset in level.datasets], read)


def prepare_windows(level: Level, windows: Sequence[tuple[Dataset, Window]], read: Read) -> tuple[Prepared, ...]:
    """Any windows of datasets, ready for a level's trials; raises what `prepare_level` does."""
    strategy = load(level.strategy)
    bounds = widest(level)
    check_names(strategy, bounds)
    periods = atr_periods(strategy, bounds)

    def one(source: Dataset, window: Window) -> Prepared:
        with about(dataset=source.name):
            return prepare(read(source, window), window, warm_up_of(level, source.timeframe), periods)

    return tuple(one(source, window) for source, window in windows)


def warm_up_of(level: Level, timeframe: Timeframe) -> int:
    """Bars of each part that are not judged: enough for the widest ranges that the level's retries may reach."""
    return warm_up_bars(load(level.strategy), widest(level), timeframe)


def evaluate(
    level: Level, prepared: Sequence[Prepared], parameters: Mapping[str, float], thresholds: Sequence[float | None]
) -> Evaluation:
    """A trial on train: a step a dataset, pruned after a step that misses its threshold or the drawdown limit.

    `thresholds`: for each step the median of what complete trials reported there, None, or the end of the
    sequence, where the pruner is not to act.

    Raises:
        SettingsError: where parameters are not the strategy's.
    """
    trade = _trader(level, parameters)
    account = Account([(dataset.first_day, dataset.day_count) for dataset in prepared])
    runs: list[Run] = []
    intermediate: list[float] = []
    for dataset, threshold in zip_longest(prepared, thresholds[: len(prepared)]):
        runs.append(trade(dataset))
        account.join(runs[-1])
        intermediate.append(rounded(metrics.sharpe(account.so_far().returns)))
        if account.drawdown() > level.drawdown_limit:
            reason = f"past the drawdown limit of {level.drawdown_limit:g} after {dataset.dataset}"
            return _pruned(level, runs, account.drawdown(), intermediate, reason)
        if is_pruned(intermediate, threshold):
            return _pruned(level, runs, account.drawdown(), intermediate, f"below the median after {dataset.dataset}")
    return _complete(level, Part.TRAIN, runs, intermediate)


def judge(level: Level, prepared: Sequence[Prepared], parameters: Mapping[str, float], part: Part) -> Evaluation:
    """A parameter set on any part, run to its end whatever it loses: what a gate reads."""
    trade = _trader(level, parameters)
    account = Account([(dataset.first_day, dataset.day_count) for dataset in prepared])
    runs: list[Run] = []
    intermediate: list[float] = []
    for dataset in prepared:
        runs.append(trade(dataset))
        account.join(runs[-1])
        intermediate.append(rounded(metrics.sharpe(account.so_far().returns)))
    return _complete(level, part, runs, intermediate)


def backtest(level: Level, prepared: Prepared, parameters: Mapping[str, float]) -> Run:
    """One dataset traded by a level's rules."""
    return _trader(level, parameters)(prepared)


def _trader(level: Level, parameters: Mapping[str, float]) -> Callable[[Prepared], Run]:
    """What trades a dataset by a level's rules; strategy and parameters are looked up and checked once."""
    strategy = load(level.strategy)
    whole = repaired(strategy, parameters)
    managed, trade = Management.of(whole), engine_of(strategy)

    def one(prepared: Prepared) -> Run:
        rules = Rules.of(level.direction, level.costs, level.position_fraction, prepared.dataset, managed)
        with about(dataset=prepared.dataset.name), bounded():
            return trade(prepared, whole, rules)

    return one


def is_pruned(intermediate: Sequence[float], threshold: float | None) -> bool:
    """What optuna's MedianPruner says after the last of these values, given the median of its step.

    Source: optuna 5.0, pruners/_percentile.py, `PercentilePruner.prune`, for a study that maximises.
    """
    if threshold is None:
        return False
    numbers = [value for value in intermediate if not math.isnan(value)]
    return not numbers or max(numbers) < threshold


def _complete(level: Level, part: Part, runs: Sequence[Run], intermediate: Sequence[float]) -> Evaluation:
    value = intermediate[-1]
    figures = metrics.summarise(runs)
    return Evaluation(
        state=Outcome.COMPLETE,
        value=VALUE_WITHOUT_SHARPE if math.isnan(value) else value,
        intermediate=tuple(intermediate),
        constraints=_constraints(level, part, runs, figures, figures["max_drawdown_intrabar"]),
        metrics=rounded_all(figures),
        pruned_reason=None,
    )


def _pruned(
    level: Level, runs: Sequence[Run], drawdown: float, intermediate: Sequence[float], reason: str
) -> Evaluation:
    figures = metrics.summarise(runs)
    return Evaluation(
        state=Outcome.PRUNED,
        value=None if math.isnan(intermediate[-1]) else intermediate[-1],
        intermediate=tuple(intermediate),
        constraints=_constraints(level, Part.TRAIN, runs, figures, drawdown),
        metrics=rounded_all(figures),
        pruned_reason=reason,
    )


def _constraints(
    level: Level, part: Part, runs: Sequence[Run], figures: Mapping[str, float], drawdown: float
) -> dict[str, float]:
    """How far each rule is missed, as a fraction, so that no rule outweighs another; zero or less is feasible."""
    gate, win_rate = level.gate, figures["win_rate"]
    violations = {
        "win_rate": WHOLLY_MISSED if math.isnan(win_rate) else gate.win_rate - win_rate,
        "drawdown": drawdown - gate.max_drawdown_intrabar,
        "profit_factor": _profit_factor_violation(runs, gate.profit_factor),
        "min_trades": _trades_violation(figures, trades_needed(level, part)),
    }
    further = {each.name: each.violation(figures[each.metric]) for each in level.constraints}
    return rounded_all(violations | further)


def _profit_factor_violation(runs: Sequence[Run], target: float) -> float:
    """`target * loss - profit <= 0` over the turnover `profit + loss`: no division by a loss of zero."""
    total = tally(runs)
    turnover = total.profit + total.loss
    return (target * total.loss - total.profit) / turnover if turnover > 0 else WHOLLY_MISSED


def _trades_violation(figures: Mapping[str, float], needed: int) -> float:
    """Share of the needed trades that is missing; wholly missed where there is no Sharpe ratio to rank."""
    if math.isnan(figures["sharpe"]):
        return WHOLLY_MISSED
    return (needed - figures["trades"]) / max(needed, 1)
