"""Evidence on a winner: DSR, PBO, excess return, look-ahead check, robustness and holdout results."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from optuna.trial import FrozenTrial, TrialState

from optimizer.backtest.lookahead_check import CUTS, look_ahead, signals_of
from optimizer.backtest.result import BacktestRun
from optimizer.bars.lead_in import JudgedWindow
from optimizer.bars.preparation import Prepared
from optimizer.level.spec import Level, Part
from optimizer.objective import metrics
from optimizer.objective.choices import trade_choices
from optimizer.objective.objective import Read, backtest, prepare_windows
from optimizer.objective.portfolio import portfolio
from optimizer.objective.trial_result import finite_or_none
from optimizer.strategies.protocol import BarStrategy, load, repaired
from optimizer.validation.analyses.cross_validation import cross_validation
from optimizer.validation.analyses.deflated_sharpe import deflate, deflate_out_of_sample
from optimizer.validation.analyses.excess_return import (
    HeldSizes,
    benchmark_account,
    benchmark_of,
    excess,
    held_sizes,
)
from optimizer.validation.analyses.robustness import break_even_bps, robustness_cases
from optimizer.validation.analyses.skill import skill_of
from optimizer.validation.analyses.stress import StressCase
from optimizer.validation.confidence_intervals import intervals
from optimizer.validation.evaluated_winner import EvaluatedWinner, complete_trials
from optimizer.validation.evidence import (
    BacktestOverfitting,
    Evidence,
    HoldoutResult,
)
from optimizer.validation.gate import gate_readings
from optimizer.validation.holdout_log import HOLDOUT
from optimizer.validation.statistics.overfitting import PARTS, overfitting
from optimizer.validation.statistics.sharpe import (
    ReturnMoments,
    minimum_track_record,
    probabilistic_sharpe,
)
from tradeschool.markets.windows import Window

Floats = NDArray[np.float64]


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
    stress_case = _stress_case(subject, prepared, runs, read)
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


def _stress_case(
    subject: EvaluatedWinner,
    prepared: Mapping[Part, Sequence[Prepared]],
    runs: Mapping[str, Sequence[BacktestRun]],
    read: Read,
) -> StressCase:
    return StressCase(
        level=subject.level,
        choices=subject.choices,
        read=read,
        prepared=prepared,
        runs={part: runs[part] for part in prepared},
        seed=subject.seed,
    )


def trial_returns(subject: EvaluatedWinner, measure: Measure) -> Floats:
    """Return daily returns on train of each distinct complete trial, shape (n_days, n_trials), in number order.

    There is at least one trial, the winner.
    """
    distinct = {tuple(sorted(trial.params.items())): trial.params for trial in complete_trials(subject.trials)}
    return np.column_stack(measure(list(distinct.values())))


def daily_returns(level: Level, train: Sequence[Prepared], parameters: Mapping[str, float]) -> Floats:
    """Return the portfolio's daily returns at size 1, shape (n_days,); DSR and PBO do not depend on the size."""
    return portfolio([backtest(level, each, parameters) for each in train]).returns


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
    benchmark, passive = benchmark_of(subject.level, prepared, held)
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


def _short(values: Floats) -> tuple[float, ...]:
    return tuple(round(float(value), 6) for value in values)
