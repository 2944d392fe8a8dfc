"""Evidence on a winner: DSR, PBO, excess return, look-ahead check, robustness and holdout results."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from optuna.trial import FrozenTrial, TrialState

from optimizer.backtest.buy_and_hold import buy_and_hold
from optimizer.backtest.costs import CostRates
from optimizer.backtest.lookahead_check import CUTS, look_ahead, signals_of
from optimizer.backtest.result import BacktestRun
from optimizer.bars.lead_in import JudgedWindow
from optimizer.bars.preparation import Prepared
from optimizer.level.spec import Direction, Level, Part
from optimizer.objective import metrics
from optimizer.objective.choices import Choice, trade_choices
from optimizer.objective.metrics import DAYS_A_YEAR
from optimizer.objective.objective import Read, backtest, prepare_windows
from optimizer.objective.portfolio import Portfolio, portfolio
from optimizer.objective.sizing import WHOLE, held_size
from optimizer.objective.trial_result import finite_or_none, rounded
from optimizer.strategies.protocol import BarStrategy, load, repaired
from optimizer.validation.analyses.cross_validation import cross_validation
from optimizer.validation.analyses.robustness import break_even_bps, robustness_cases
from optimizer.validation.analyses.skill import skill_of
from optimizer.validation.analyses.stress import StressCase
from optimizer.validation.confidence_intervals import intervals
from optimizer.validation.evidence import (
    BacktestOverfitting,
    Benchmark,
    DeflatedSharpe,
    Evidence,
    ExcessReturn,
    HoldoutResult,
    Skill,
)
from optimizer.validation.gate import gate_readings
from optimizer.validation.holdout_log import HOLDOUT
from optimizer.validation.statistics.bootstrap import interval
from optimizer.validation.statistics.overfitting import PARTS, overfitting
from optimizer.validation.statistics.sharpe import (
    ReturnMoments,
    deflated_benchmark,
    effective_trials,
    minimum_track_record,
    per_period,
    probabilistic_sharpe,
)
from tradeschool.markets.windows import Window

Floats = NDArray[np.float64]
HeldPosition = tuple[Benchmark, int]
HeldSizes = Mapping[Benchmark, float]
"""Size of each benchmark's account: that of the same risk on train."""
LONG: HeldPosition = (Benchmark.HOLD_LONG, 1)
SHORT: HeldPosition = (Benchmark.HOLD_SHORT, -1)
HELD_POSITIONS: Mapping[Direction, tuple[HeldPosition, ...]] = {
    Direction.LONG: (LONG,),
    Direction.SHORT: (SHORT,),
    Direction.BOTH: (LONG, SHORT),
}
"""Benchmarks of each direction, with the side of their position."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatedWinner:
    """The winner under examination, with the trials of its search."""

    level: Level
    """The level as the attempt searched it."""
    attempt: int
    trial: int
    parameters: Mapping[str, int | float]
    size: float = WHOLE
    """Size of its account, solved on train; 1 without a risk budget."""
    trials: Sequence[FrozenTrial]
    """All trials of the attempt's study, including those carried over."""
    out_of_sample: Skill | None = None
    """Skill of the attempt's account on the days that selected nothing."""
    looks: Sequence[Skill] = ()
    """Skills of all attempts of the run, which may have read the same days."""
    trials_of_run: int
    """Number of completed and pruned trials of every level and attempt, those of windows included."""
    seed: int
    windows: Sequence[Choice] = ()
    """The choice of each window of a walk-forward; empty otherwise."""

    @property
    def choices(self) -> Sequence[Choice]:
        """What traded validation: the choice of each window, else the winner."""
        return self.windows or [Choice(parameters=self.parameters, size=self.size)]


Measure = Callable[[Sequence[Mapping[str, float]]], Sequence[Floats]]
"""Function that returns daily returns on train of each parameter set, each of shape (n_days,)."""


NOT_REACHED = "a run that ended before its last level does not read the holdout period"
"""Reason why the holdout period was not opened."""


def counted_trials(attempts: Iterable[Sequence[FrozenTrial]]) -> int:
    """Return the number of completed and pruned trials; `attempts`: each attempt's own trials, none carried over."""
    return sum(trial.state is not TrialState.FAIL for own in attempts for trial in own)


def holdout_bars(level: Level, read: Read) -> tuple[Prepared, ...]:
    """Prepare the holdout period of each of a level's datasets once.

    Raises:
        DataError: candles are missing or invalid.
    """
    sources = dict.fromkeys(dataset.source for dataset in level.datasets)
    windows = [JudgedWindow(source=source, window=level.holdout.window) for source in sources]
    return prepare_windows(level, windows, read)


def gather_evidence(
    subject: EvaluatedWinner,
    prepared: Mapping[Part, Sequence[Prepared]],
    read: Read,
    measure: Measure,
    holdout: Sequence[Prepared] | None,
    holdout_missing: str | None,
) -> Evidence:
    """Return all evidence on a winner; `prepared`: train, validation and test, opened before.

    `read`: candles of validation, for the robustness tests that change them.
    """
    returns = trial_returns(subject, measure)
    bars: dict[str, Sequence[Prepared]] = dict(prepared.items())
    if holdout:
        bars[HOLDOUT] = holdout
    runs = {part: _trade(subject, part, found) for part, found in bars.items()}
    held = held_sizes(subject.level, prepared[Part.TRAIN])
    stress_case = StressCase(
        level=subject.level,
        choices=subject.choices,
        read=read,
        prepared=prepared,
        runs={part: runs[part] for part in prepared},
        seed=subject.seed,
    )
    return Evidence(
        level=subject.level.name,
        attempt=subject.attempt,
        trial=subject.trial,
        parameters=dict(subject.parameters),
        out_of_sample=subject.out_of_sample,
        deflation=deflate(subject, portfolio(runs[Part.TRAIN]).returns, returns),
        out_of_sample_deflation=deflate_out_of_sample(subject.out_of_sample, subject.looks),
        overfit=_overfit(subject, returns),
        cross_validation=cross_validation(
            returns, prepared[Part.TRAIN], runs[Part.TRAIN], subject.level.split.embargo_days
        ),
        excess=tuple(excess(subject, part, portfolio(runs[part]), found, held) for part, found in bars.items()),
        looks_ahead=_looks_ahead(subject, prepared[Part.VALIDATION]),
        robustness=robustness_cases(stress_case),
        break_even_bps=break_even_bps(stress_case),
        holdout=_holdout(subject, holdout, runs[HOLDOUT], held) if holdout else None,
        holdout_missing=holdout_missing,
    )


def trial_returns(subject: EvaluatedWinner, measure: Measure) -> Floats:
    """Return daily returns on train of each distinct complete trial, shape (n_days, n_trials), in number order.

    There is at least one trial, the winner.
    """
    distinct = {tuple(sorted(trial.params.items())): trial.params for trial in _complete(subject.trials)}
    return np.column_stack(measure(list(distinct.values())))


def deflate(subject: EvaluatedWinner, winner: Floats, returns: Floats) -> DeflatedSharpe:
    """Return the deflated Sharpe ratio; the variance is that of the Sharpe ratios of the level's complete trials.

    It is defined for Sharpe ratios, so it reads them whatever the search's objective is.
    """
    moments = ReturnMoments.of(winner)
    ratios = [per_period(_sharpe_of(subject.level, trial), DAYS_A_YEAR) for trial in _complete(subject.trials)]
    variance = float(np.var(ratios, ddof=1)) if len(ratios) > 1 else math.nan
    effective = max(1.0, subject.trials_of_run * effective_trials(returns) / returns.shape[1])
    luck, less_luck = (deflated_benchmark(variance, count) for count in (subject.trials_of_run, effective))
    return DeflatedSharpe(
        sharpe=_a_year(moments.sharpe),
        days=moments.periods,
        trials=subject.trials_of_run,
        expected_maximum=_a_year(luck),
        probability=finite_or_none(probabilistic_sharpe(moments, luck)),
        effective_trials=effective,
        effective_probability=finite_or_none(probabilistic_sharpe(moments, less_luck)),
    )


def deflate_out_of_sample(found: Skill | None, looks: Sequence[Skill]) -> DeflatedSharpe | None:
    """Return the DSR of an account out of sample; the trials are the attempts that read any of its days.

    Its variance is that of their Sharpe ratios; the first attempt has no rival and is not deflated.
    """
    if found is None or found.sharpe is None:
        return None
    rivals = [look for look in looks if look.first_day <= found.last_day and look.last_day >= found.first_day]
    ratios = [per_period(look.sharpe or 0.0, DAYS_A_YEAR) for look in rivals]
    count = max(1, len(ratios))
    luck = deflated_benchmark(float(np.var(ratios, ddof=1)) if count > 1 else 0.0, count)
    moments = ReturnMoments(
        sharpe=per_period(found.sharpe, DAYS_A_YEAR),
        periods=found.days,
        skewness=found.skewness or 0.0,
        kurtosis=3.0 if found.kurtosis is None else found.kurtosis,
    )
    probability = finite_or_none(probabilistic_sharpe(moments, luck))
    return DeflatedSharpe(
        sharpe=found.sharpe,
        days=found.days,
        trials=count,
        expected_maximum=_a_year(luck),
        probability=probability,
        effective_trials=float(count),
        effective_probability=probability,
    )


def held_sizes(level: Level, train: Sequence[Prepared]) -> HeldSizes:
    """Return the size of each benchmark's account by the level's risk budget; 1 without one."""
    return {
        benchmark: held_size(level, benchmark_account(level, train, side))
        for benchmark, side in HELD_POSITIONS[level.direction]
    }


def excess(
    subject: EvaluatedWinner, part: str, account: Portfolio, prepared: Sequence[Prepared], held: HeldSizes
) -> ExcessReturn:
    """Return the winner's daily returns minus those of buy-and-hold at the same risk."""
    benchmark, passive = _benchmark_of(subject.level, prepared, held)
    difference = account.returns - passive.returns

    def mean_a_year(resampled: Floats) -> Floats:
        means: Floats = resampled.mean(axis=0) * DAYS_A_YEAR
        return means

    low, high = interval(difference, mean_a_year, subject.seed, resamples=2_000)
    return ExcessReturn(
        part=part,
        benchmark=benchmark,
        a_year=float(difference.mean()) * DAYS_A_YEAR if len(difference) else None,
        low=finite_or_none(low),
        high=finite_or_none(high),
        sharpe=finite_or_none(rounded(metrics.sharpe(account.returns))),
        benchmark_sharpe=finite_or_none(rounded(metrics.sharpe(passive.returns))),
    )


def daily_returns(level: Level, train: Sequence[Prepared], parameters: Mapping[str, float]) -> Floats:
    """Return the portfolio's daily returns at size 1, shape (n_days,); DSR and PBO do not depend on the size."""
    return portfolio([backtest(level, each, parameters) for each in train]).returns


def _benchmark_of(level: Level, prepared: Sequence[Prepared], held: HeldSizes) -> tuple[Benchmark, Portfolio]:
    found = [
        (benchmark, benchmark_account(level, prepared, side).sized(held[benchmark]))
        for benchmark, side in HELD_POSITIONS[level.direction]
    ]
    return max(found, key=lambda pair: float(pair[1].returns.mean()))


def benchmark_account(level: Level, prepared: Sequence[Prepared], side: int) -> Portfolio:
    """Return the account that holds every dataset from its first bar, long (1) or short (-1)."""
    return portfolio(
        [buy_and_hold(each, side, CostRates.of(level.costs, each.dataset.instrument.market)) for each in prepared]
    )


def _overfit(subject: EvaluatedWinner, returns: Floats) -> BacktestOverfitting:
    enough = len(returns) >= 2 * PARTS
    found = overfitting(returns) if enough else None
    return BacktestOverfitting(
        probability=finite_or_none(found.probability) if found else None,
        trials=found.trials if found else 0,
        left_out=sum(trial.state is not TrialState.COMPLETE for trial in subject.trials),
        parts=PARTS,
    )


def _looks_ahead(subject: EvaluatedWinner, prepared: Sequence[Prepared]) -> str | None:
    strategy = load(subject.level.strategy)
    whole = repaired(strategy, subject.parameters)
    signals, cuts = signals_of(strategy, whole, subject.level.direction), math.ceil(CUTS / len(prepared))
    for each in prepared:
        leak = look_ahead(signals, each, subject.seed, cuts=cuts, is_asked=isinstance(strategy, BarStrategy))
        if leak:
            columns = f" ({', '.join(leak.columns)})" if leak.columns else ""
            return f"{each.dataset}: the signal of bar {leak.bar} changes when later bars are removed{columns}"
    return None


def _holdout(
    subject: EvaluatedWinner, prepared: Sequence[Prepared], runs: Sequence[BacktestRun], held: HeldSizes
) -> HoldoutResult:
    account, figures = portfolio(runs), metrics.figures(runs)
    benchmark, passive = _benchmark_of(subject.level, prepared, held)
    known = intervals(runs, figures, subject.seed)
    moments = ReturnMoments.of(account.returns)
    window: Window = prepared[0].window
    return HoldoutResult(
        window=str(window),
        datasets=tuple(each.dataset.name for each in prepared),
        readings=tuple(gate_readings(subject.level, figures, Part.TEST, known)),
        metrics={name: finite_or_none(value) for name, value in figures.items()},
        psr=finite_or_none(probabilistic_sharpe(moments)),
        days_needed=finite_or_none(minimum_track_record(moments)),
        benchmark=benchmark,
        days=tuple(account.days.tolist()),
        equity=_short(account.equity),
        drawdown=_short(account.drawdowns),
        buy_and_hold=_short(passive.equity),
        skill=skill_of(HOLDOUT, account, benchmark_account(subject.level, prepared, 1), subject.seed),
    )


def _trade(subject: EvaluatedWinner, part: str, prepared: Sequence[Prepared]) -> list[BacktestRun]:
    """Trade a part with what traded validation, any other part with the winner."""
    if part == Part.VALIDATION:
        return trade_choices(subject.level, prepared, subject.choices)
    return [backtest(subject.level, each, subject.parameters, subject.size) for each in prepared]


def _sharpe_of(level: Level, trial: FrozenTrial) -> float:
    """Return a complete trial's Sharpe ratio on train; 0 if undefined."""
    if level.objective == ("sharpe",):
        return trial.value or 0.0
    return trial.user_attrs["metrics"]["sharpe"] or 0.0


def _complete(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    return [trial for trial in trials if trial.state is TrialState.COMPLETE]


def _short(values: Floats) -> tuple[float, ...]:
    return tuple(round(float(value), 6) for value in values)


def _a_year(ratio: float) -> float | None:
    return finite_or_none(rounded(ratio * math.sqrt(DAYS_A_YEAR)))
