"""Verdict: winner selection, gate, stress tests, analyses and the test evaluation of a finished search.

Validation is opened for the candidates, or with `walk_forward` window by window for the choice of each; test is opened
once after the gate is evaluated. Each opening is logged before the read.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from optimizer.backtest.result import BacktestRun
from optimizer.backtest.trade_totals import trade_returns
from optimizer.bars.preparation import Prepared
from optimizer.level.constraints import Analysis
from optimizer.level.metric_names import LEVERAGE
from optimizer.level.spec import Level, Part
from optimizer.objective.break_even import TradingCosts, trading_costs
from optimizer.objective.choices import Choice, evaluate_choices, trade_choices
from optimizer.objective.objective import Read, evaluate_part, prepare_level
from optimizer.objective.portfolio import Portfolio, portfolio
from optimizer.objective.sizing import held_size
from optimizer.strategies.parameter_ranges import at_the_edge
from optimizer.strategies.protocol import load, repaired
from optimizer.strategies.trade_management import TradeManagement
from optimizer.validation.analyses.excess_return import benchmark_account
from optimizer.validation.analyses.regime_choice import RegimeSearch
from optimizer.validation.analyses.regime_sets import regime_sets
from optimizer.validation.analyses.regimes import label, regime_table
from optimizer.validation.analyses.sensitivity import stability
from optimizer.validation.analyses.similarity import similarity
from optimizer.validation.analyses.skill import out_of_sample_skill
from optimizer.validation.analyses.stress import StressCase, stress_readings, stress_table
from optimizer.validation.attempt_findings import AttemptCase, AttemptFindings
from optimizer.validation.confidence_intervals import intervals
from optimizer.validation.gate import Criterion, gate_readings
from optimizer.validation.selection import Winner, candidates, choose, closest, size_of
from optimizer.validation.walk_forward import chosen_trial, metrics_by_window

LogAccess = Callable[[Part, Sequence[int], int | None], None]
"""Callback before a part is read, with the part, the trials whose parameters are evaluated, and their window."""
CheckRepeat = Callable[[int, Sequence[Prepared], int | None], None]
"""Callback that raises if a trial of the search, or of a window's, evaluated again on these bars, differs from its
record."""
Runs = Mapping[Part, Sequence[BacktestRun]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opened:
    """The winner of an attempt with the bars that it was opened on and what trades them, by part."""

    winner: Winner
    prepared: dict[Part, Sequence[Prepared]]
    choices: dict[Part, Sequence[Choice]]


def judge_attempt(case: AttemptCase, read: Read, on_access: LogAccess, repeat: CheckRepeat) -> AttemptFindings:
    """Judge an attempt and return its findings.

    Raises:
        TradeschoolError: `repeat` failed: the winner cannot be reproduced and is not reported.
        DataError: candles are missing or invalid.
    """
    level = case.level
    opened = (_open_windows if level.split.is_walk_forward else _open_validation)(case, read, on_access, repeat)
    if opened is None:
        return AttemptFindings(case=case, winner=None)
    winner, prepared, choices = opened.winner, opened.prepared, opened.choices
    runs = {part: trade_choices(level, bars, choices[part]) for part, bars in prepared.items()}
    stress_case = StressCase(
        level=level, choices=choices[Part.VALIDATION], read=read, prepared=prepared, runs=runs, seed=case.seed
    )
    readings, stressed = _readings(case, winner, stress_case)

    if Part.TEST in level.parts:
        on_access(Part.TEST, [winner.number], None)
        prepared[Part.TEST], choices[Part.TEST] = prepare_level(level, Part.TEST, read), [winner.choice]
        runs[Part.TEST] = trade_choices(level, prepared[Part.TEST], choices[Part.TEST])
    accounts = {part: portfolio(found) for part, found in runs.items()}
    benchmark = _benchmark(level, prepared)
    return AttemptFindings(
        case=case,
        winner=winner,
        readings=tuple(readings),
        test=evaluate_part(level, prepared[Part.TEST], winner.parameters, Part.TEST, winner.size)
        if Part.TEST in prepared
        else None,
        accounts=accounts,
        benchmark=benchmark,
        skill=out_of_sample_skill(accounts, benchmark, case.seed),
        costs=_costs(level, winner.parameters, runs),
        trade_returns={part: trade_returns(found) for part, found in runs.items()},
        analyses={**stressed, **_analyses(case, winner, stress_case)},
        window_metrics=metrics_by_window(level, runs[Part.VALIDATION]) if case.windows else (),
    )


def _open_validation(case: AttemptCase, read: Read, on_access: LogAccess, repeat: CheckRepeat) -> _Opened | None:
    """Select the winner among the best trials of a single search on validation; None without a feasible trial."""
    level, promising = case.level, candidates(case.trials)
    if not promising:
        return None
    on_access(Part.VALIDATION, [trial.number for trial in promising], None)
    prepared: dict[Part, Sequence[Prepared]] = {
        part: prepare_level(level, part, read) for part in (Part.TRAIN, Part.VALIDATION)
    }
    winner = choose(level, case.trials, prepared[Part.TRAIN], prepared[Part.VALIDATION])
    if winner is None:
        return None
    repeat(winner.number, prepared[Part.TRAIN], None)
    return _Opened(winner=winner, prepared=prepared, choices={part: [winner.choice] for part in prepared})


def _open_windows(case: AttemptCase, read: Read, on_access: LogAccess, repeat: CheckRepeat) -> _Opened | None:
    """Trade each window's choice out of sample; the winner is the choice of the last search, on the whole range.

    None if the last search has no feasible trial: there is nothing to trade next.
    """
    level, final = case.level, chosen_trial(case.trials)
    if final is None:
        return None
    for window in case.windows:
        chosen = window.chosen
        on_access(Part.VALIDATION, [] if chosen is None else [chosen.number], window.number)
        if chosen is not None:
            repeat(chosen.number, prepare_level(window.level, Part.TRAIN, read), window.number)
    prepared: dict[Part, Sequence[Prepared]] = {part: prepare_level(level, part, read) for part in level.parts}
    repeat(final.number, prepared[Part.TRAIN], None)
    choices = [window.choice for window in case.windows]
    train = evaluate_part(level, prepared[Part.TRAIN], final.params, Part.TRAIN)
    winner = Winner(
        number=final.number,
        parameters=dict(final.params),
        size=size_of(final),
        leverage=train.metrics.get(LEVERAGE),
        train=train,
        validation=evaluate_choices(level, prepared[Part.VALIDATION], choices, Part.VALIDATION),
    )
    return _Opened(winner=winner, prepared=prepared, choices={Part.TRAIN: [winner.choice], Part.VALIDATION: choices})


def shortfall(findings: AttemptFindings) -> dict[str, object]:
    """Return the missed criteria of an attempt and details that help to explain them."""
    near = closest(findings.case.trials) if findings.winner is None else None
    return {
        "attempt": findings.case.attempt,
        "finished": len(findings.trials),
        "reason": findings.reason,
        "missed": [reading.as_json() for reading in findings.readings if not reading.met],
        "at_the_edge": [*at_the_edge(findings.level, findings.winner.parameters)] if findings.winner else [],
        "closest_on_train": {"trial": near.number, "violations": dict(near.constraints)} if near else None,
    }


def _readings(
    case: AttemptCase, winner: Winner, stress_case: StressCase
) -> tuple[list[Criterion], dict[str, Mapping[str, object]]]:
    level, figures = case.level, winner.validation.metrics
    known = intervals(stress_case.runs[Part.VALIDATION], figures, case.seed)
    readings = gate_readings(level, figures, Part.VALIDATION, known)
    if level.stress is None:
        return readings, {}
    stressed = stress_readings(stress_case, level.stress)
    return [*readings, *stressed], {"stress": stress_table(stress_case, level.stress, stressed)}


def _analyses(case: AttemptCase, winner: Winner, stress_case: StressCase) -> dict[str, Mapping[str, object]]:
    found: dict[str, Mapping[str, object]] = {}
    level, before, runs, prepared = case.level, case.predecessor, stress_case.runs, stress_case.prepared
    if Analysis.SIMILARITY in level.analyses and before:
        found[Analysis.SIMILARITY] = similarity(
            level, winner.parameters, case.trials, before.level, before.winner, before.trials
        )
    if {Analysis.REGIMES, Analysis.REGIME_SETS} & set(level.analyses):
        labels = {each.dataset: label(stress_case.read(each.source, each.window)) for each in level.datasets}
    if Analysis.REGIMES in level.analyses:
        traded = {part: list(zip(prepared[part], runs[part], strict=True)) for part in level.parts}
        found[Analysis.REGIMES] = regime_table(traded, labels)
    if Analysis.REGIME_SETS in level.analyses:
        searches = _regime_searches(case, winner, stress_case)
        found[Analysis.REGIME_SETS] = regime_sets(level, searches, labels, case.seed)
    if Analysis.STABILITY in level.analyses:
        found[Analysis.STABILITY] = stability(level, prepared[Part.VALIDATION], winner.parameters, stress_case.choices)
    return found


def _regime_searches(case: AttemptCase, winner: Winner, stress_case: StressCase) -> list[RegimeSearch]:
    """Return the searches whose trials the regimes choose from: those of the windows, and last the level's own."""
    count, prepared = len(case.level.datasets), stress_case.prepared
    windows = [
        RegimeSearch(
            number=window.number,
            trials=window.trials,
            train=prepare_level(window.level, Part.TRAIN, stress_case.read),
            single=window.choice,
            judged={Part.VALIDATION: prepared[Part.VALIDATION][place * count : (place + 1) * count]},
        )
        for place, window in enumerate(case.windows)
    ]
    own: dict[Part, Sequence[Prepared]] = (
        {} if windows else {part: bars for part, bars in prepared.items() if part is not Part.TRAIN}
    )
    last = RegimeSearch(
        number=len(windows) + 1, trials=case.trials, train=prepared[Part.TRAIN], single=winner.choice, judged=own
    )
    return [*windows, last]


def _costs(level: Level, parameters: Mapping[str, float], runs: Runs) -> dict[Part, TradingCosts]:
    managed = TradeManagement.of(repaired(load(level.strategy), parameters))
    return {part: trading_costs(found, fixed_size=managed.position_units > 0) for part, found in runs.items()}


def _benchmark(level: Level, prepared: Mapping[Part, Sequence[Prepared]]) -> dict[Part, Portfolio]:
    held = {part: benchmark_account(level, bars, 1) for part, bars in prepared.items()}
    size = held_size(level, held[Part.TRAIN])
    return {part: account.sized(size) for part, account in held.items()}
