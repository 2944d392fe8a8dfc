"""Objective: backtests a level's datasets in order, prunes hopeless trials, and returns the evaluation.

An evaluation either raises, which fails the trial, or has a finite value and finite constraints. A missed target is a
constraint, never a score. This module does not use Optuna, so workers do not load it.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest

from optimizer.backtest.engine import atr_periods, built_in_engine, engine_of, warm_up_bars
from optimizer.backtest.result import BacktestRun, TradingRules
from optimizer.bars.held_bars import HeldBars
from optimizer.bars.lead_in import JudgedWindow, prepare_judged
from optimizer.bars.preparation import Prepared
from optimizer.level.level_dataset import LevelDataset
from optimizer.level.search_methods import DEFAULT_PRUNER
from optimizer.level.spec import Level, Part
from optimizer.level.walk_forward import out_of_sample, window_numbers
from optimizer.objective import metrics
from optimizer.objective.measures import are_sizes_read, measured
from optimizer.objective.portfolio import PortfolioTracker, portfolio
from optimizer.objective.sizing import WHOLE, risk_metrics, sized, solve_size
from optimizer.objective.trial_result import Evaluation, TrialOutcome, rounded_all
from optimizer.objective.violations import violations_of
from optimizer.strategies.fixed_environment import surroundings
from optimizer.strategies.parameter_ranges import widest
from optimizer.strategies.protocol import check_names, load, repaired
from optimizer.strategies.time_limit import bounded
from optimizer.strategies.trade_management import TradeManagement
from tradeschool.log import about
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.timeframes import Timeframe
from tradeschool.markets.windows import Window
from tradeschool.ohlcv.arrays import CandleArrays

UNDEFINED_VALUE = 0.0
"""Value of a complete trial whose objective is undefined, for example a Sharpe ratio without a trade. Such a trial is
never feasible, and samplers rank infeasible trials by their constraints alone.
"""
HYPERBAND = "hyperband"
BELOW: Mapping[str, str] = {
    "median": "the median",
    "percentile": "the percentile",
    HYPERBAND: "the best of its Hyperband bracket",
}
"""Phrase of the threshold by pruner, for the reason of a pruned trial."""

Read = Callable[[Dataset, Window], CandleArrays]
"""Function that reads the candles of a dataset whose open lies in a window; `HeldBars` also keep what is prepared."""


def repair(level: Level, parameters: Mapping[str, float]) -> dict[str, float]:
    """Return the parameters as the strategy repairs them, restricted to the given names.

    Raises:
        SettingsError: a parameter is not the strategy's, or exceeds its hard bounds.
    """
    whole = repaired(load(level.strategy), parameters)
    return {name: whole[name] for name in parameters}


def prepare_level(level: Level, part: Part, read: Read) -> tuple[Prepared, ...]:
    """Prepare one part of each of a level's datasets, in the level's order, for any number of trials.

    Validation and test warm up on the bars before them, inside the dataset's range; train warms up inside itself.
    With `walk_forward` validation has one entry per window and dataset, ordered by window.

    All trials of all attempts are judged over the same bars: the warm-up covers the widest ranges of the level's
    retries.

    Raises:
        SettingsError: a range is missing or unknown, or a part of a dataset is empty.
        DataError: candles are missing, invalid, or not more than the warm-up.
    """
    return plan_level(level)(part, read)


def plan_level(level: Level) -> Callable[[Part, Read], tuple[Prepared, ...]]:
    """Ask a level's strategy what it needs, and return `prepare_level` without its strategy: it runs none of its code.

    Raises:
        SettingsError: a range is missing or unknown, or the strategy's `warm_up` does not return a number of bars.
    """
    prepare_them = _planned(level, [dataset.source for dataset in level.datasets])
    return lambda part, read: prepare_them(judged_windows(level, part), read)


def judged_windows(level: Level, part: Part) -> list[JudgedWindow]:
    """Return the days of a part of each dataset; with `walk_forward` those of validation window by window."""
    days = [judged_days(level, dataset, part) for dataset in level.datasets]
    return [judged for window in zip(*days, strict=True) for judged in window]


def judged_days(level: Level, dataset: LevelDataset, part: Part) -> list[JudgedWindow]:
    """Return the days of a part, whose indicators may read the dataset's range from its start on.

    With `walk_forward` validation has those of each window, in order.
    """
    if part is Part.VALIDATION and level.split.is_walk_forward:
        days = [out_of_sample(level, dataset, number) for number in window_numbers(level)]
    else:
        days = [level.window(dataset, part)]
    earliest = dataset.window.start
    return [JudgedWindow(source=dataset.source, window=window, earliest=earliest) for window in days]


def prepare_windows(level: Level, windows: Sequence[JudgedWindow], read: Read) -> tuple[Prepared, ...]:
    """Prepare any windows of datasets for a level's trials; raises the same errors as `prepare_level`."""
    return _planned(level, [each.source for each in windows])(windows, read)


def _planned(
    level: Level, sources: Sequence[Dataset]
) -> Callable[[Sequence[JudgedWindow], Read], tuple[Prepared, ...]]:
    """Ask a level's strategy what it needs of these datasets, and return the function that prepares windows of them."""
    strategy = load(level.strategy)
    bounds = widest(level)
    check_names(strategy, bounds)
    periods = atr_periods(strategy, bounds)
    warm_ups = {timeframe: warm_up_of(level, timeframe) for timeframe in {each.timeframe for each in sources}}

    def one(judged: JudgedWindow, read: Read) -> Prepared:
        warm_up = warm_ups[judged.source.timeframe]
        with about(dataset=judged.source.name):
            if isinstance(read, HeldBars):
                return read.prepared(judged, warm_up, periods)
            return prepare_judged(judged, warm_up, periods, read)

    return lambda windows, read: tuple(one(judged, read) for judged in windows)


def warm_up_of(level: Level, timeframe: Timeframe) -> int:
    """Return the warm-up in bars: enough for the widest ranges of the level's retries."""
    return warm_up_bars(load(level.strategy), widest(level), timeframe)


def evaluate(
    level: Level, prepared: Sequence[Prepared], parameters: Mapping[str, float], thresholds: Sequence[float | None]
) -> Evaluation:
    """Evaluate a trial on train, one step per dataset; prunes at the pruner's threshold or the drawdown limit.

    `thresholds`: for each step the pruner's threshold; None, or the end of the sequence, disables pruning. With several
    objectives nothing is pruned: the drawdown limit is a part of the drawdown constraint.

    Raises:
        SettingsError: a parameter is not the strategy's.
    """
    if level.is_multi_objective:
        return evaluate_part(level, prepared, parameters, Part.TRAIN)
    whole = repaired(load(level.strategy), parameters)
    trade, managed = _trader(level, whole), TradeManagement.of(whole)
    account = PortfolioTracker([(dataset.first_day, dataset.day_count) for dataset in prepared])
    runs: list[BacktestRun] = []
    intermediate: list[float] = []
    pruner, reads_sizes = level.used_pruner.name, are_sizes_read(level.objective)
    for dataset, threshold in zip_longest(prepared, thresholds[: len(prepared)]):
        runs.append(trade(dataset))
        account.join(runs[-1])
        unsized = account.so_far()
        size = solve_size(level, managed, unsized, runs)
        drawdown = account.with_others_flat().max_drawdown_at(size)
        intermediate += measured(level.objective, sized(runs, size) if reads_sizes else runs, unsized.sized(size))
        if drawdown > level.drawdown_limit:
            reason = f"drawdown limit of {level.drawdown_limit:g} exceeded after {dataset.dataset}"
            return _pruned(level, managed, sized(runs, size), drawdown, intermediate, reason)
        if is_pruned(intermediate, threshold, pruner):
            reason = f"below {BELOW[pruner]} after {dataset.dataset}"
            return _pruned(level, managed, sized(runs, size), drawdown, intermediate, reason)
    return _complete(level, managed, Part.TRAIN, sized(runs, size), intermediate, (intermediate[-1],))


def evaluate_part(
    level: Level,
    prepared: Sequence[Prepared],
    parameters: Mapping[str, float],
    part: Part,
    size: float | None = None,
) -> Evaluation:
    """Evaluate a parameter set on any part without pruning; the gate reads this.

    `size`: size of the account, fixed on train; None solves it on train.

    Raises:
        ValueError: a part other than train of a level with a risk budget, without a size.
    """
    if size is None and level.risk and part is not Part.TRAIN:
        raise ValueError(f"{part} of level {level.name}: the size of the account is fixed on train")
    whole = repaired(load(level.strategy), parameters)
    trade, managed = _trader(level, whole), TradeManagement.of(whole)
    account = PortfolioTracker([(dataset.first_day, dataset.day_count) for dataset in prepared])
    runs: list[BacktestRun] = []
    intermediate: list[float] = []
    for dataset in prepared:
        runs.append(trade(dataset))
        account.join(runs[-1])
        unsized = account.so_far()
        chosen = solve_size(level, managed, unsized, runs) if size is None else size
        if not level.is_multi_objective:
            intermediate += measured(level.objective, sized(runs, chosen), unsized.sized(chosen))
    traded = sized(runs, chosen)
    values = (intermediate[-1],) if intermediate else measured(level.objective, traded, unsized.sized(chosen))
    return _complete(level, managed, part, traded, intermediate, values)


def evaluate_runs(level: Level, runs: Sequence[BacktestRun], part: Part) -> Evaluation:
    """Evaluate runs that were made before, each at its own size; the whole has neither size nor leverage."""
    values = measured(level.objective, runs, portfolio(runs))
    intermediate = () if level.is_multi_objective else values
    unsized = level.model_copy(update={"risk": None})
    return _complete(unsized, TradeManagement(), part, runs, intermediate, values)


def backtest(level: Level, prepared: Prepared, parameters: Mapping[str, float], size: float = WHOLE) -> BacktestRun:
    """Backtest one dataset with a level's rules, as a part of an account of this size."""
    return sized([_trader(level, repaired(load(level.strategy), parameters))(prepared)], size)[0]


def _trader(level: Level, whole: Mapping[str, float]) -> Callable[[Prepared], BacktestRun]:
    """Return a function that backtests a dataset with complete, repaired parameters."""
    name = level.strategy
    managed, trade = TradeManagement.of(whole), engine_of(load(name)) if ":" in name else built_in_engine(name)

    def one(prepared: Prepared) -> BacktestRun:
        rules = TradingRules.of(level.direction, level.costs, level.position_fraction, prepared.dataset, managed)
        with about(dataset=prepared.dataset.name), surroundings(level.strategy), bounded():
            return trade(prepared, whole, rules)

    return one


def is_pruned(intermediate: Sequence[float], threshold: float | None, pruner: str = DEFAULT_PRUNER) -> bool:
    """Return what Optuna's pruner decides after the last value, given the threshold of its step.

    Source: optuna 5.0, for a study that maximises: pruners/_percentile.py compares the best value so far,
    pruners/_successive_halving.py (Hyperband) the last one.
    """
    if threshold is None:
        return False
    if pruner == HYPERBAND:
        return math.isnan(intermediate[-1]) or intermediate[-1] < threshold
    numbers = [value for value in intermediate if not math.isnan(value)]
    return not numbers or max(numbers) < threshold


def _complete(
    level: Level,
    managed: TradeManagement,
    part: Part,
    runs: Sequence[BacktestRun],
    intermediate: Sequence[float],
    values: Sequence[float],
) -> Evaluation:
    figures = metrics.summarise(runs)
    known = tuple(UNDEFINED_VALUE if math.isnan(value) else value for value in values)
    return Evaluation(
        state=TrialOutcome.COMPLETE,
        value=None if level.is_multi_objective else known[0],
        values=dict(zip(level.objective, known, strict=True)) if level.is_multi_objective else {},
        intermediate=tuple(intermediate),
        constraints=violations_of(level, part, runs, figures, figures["max_drawdown_intrabar"], values),
        metrics=rounded_all(figures) | risk_metrics(level, managed, runs),
        pruned_reason=None,
    )


def _pruned(
    level: Level,
    managed: TradeManagement,
    runs: Sequence[BacktestRun],
    drawdown: float,
    intermediate: Sequence[float],
    reason: str,
) -> Evaluation:
    figures = metrics.summarise(runs)
    return Evaluation(
        state=TrialOutcome.PRUNED,
        value=None if math.isnan(intermediate[-1]) else intermediate[-1],
        intermediate=tuple(intermediate),
        constraints=violations_of(level, Part.TRAIN, runs, figures, drawdown, intermediate[-1:]),
        metrics=rounded_all(figures) | risk_metrics(level, managed, runs),
        pruned_reason=reason,
    )


def stored_metrics(level: Level, parameters: Mapping[str, float], runs: Sequence[BacktestRun]) -> dict[str, float]:
    """Return the metrics of runs as a trial stores them: with size and leverage if the level has a risk budget."""
    managed = TradeManagement.of(repaired(load(level.strategy), parameters))
    return metrics.figures(runs) | risk_metrics(level, managed, runs)
