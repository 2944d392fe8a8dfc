"""Verdict: winner selection, gate, stress tests, analyses and the test evaluation of a finished search.

Validation is opened for the candidates, test once after the gate is evaluated; each opening is logged before the read.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from optuna.trial import FrozenTrial

from optimizer.backtest.buy_and_hold import buy_and_hold
from optimizer.backtest.costs import CostRates
from optimizer.backtest.result import BacktestRun
from optimizer.bars.preparation import Prepared
from optimizer.curriculum.attempts import AttemptFacts
from optimizer.level.constraints import Analysis
from optimizer.level.spec import Level, Part
from optimizer.objective.break_even import TradingCosts, trading_costs
from optimizer.objective.objective import Read, backtest, evaluate_part, prepare_level
from optimizer.objective.portfolio import Portfolio, portfolio
from optimizer.objective.trial_result import Evaluation
from optimizer.strategies.parameter_ranges import at_the_edge
from optimizer.strategies.protocol import load, repaired
from optimizer.strategies.trade_management import TradeManagement
from optimizer.validation.analyses.regimes import label, regime_table
from optimizer.validation.analyses.sensitivity import stability
from optimizer.validation.analyses.similarity import similarity
from optimizer.validation.analyses.stress import StressCase, stress_readings, stress_table
from optimizer.validation.confidence_intervals import intervals
from optimizer.validation.gate import Criterion, gate_readings, is_passed
from optimizer.validation.selection import Winner, attempt_facts, candidates, choose, closest

LogAccess = Callable[[Part, Sequence[int]], None]
"""Callback before a part is read, with the part and the trial numbers whose parameters are evaluated."""
CheckRepeat = Callable[[int, Sequence[Prepared]], None]
"""Callback that raises if a trial, evaluated again on these bars, differs from its record."""
Runs = Mapping[Part, Sequence[BacktestRun]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviousLevel:
    """The previous level, for comparison."""

    level: Level
    winner: Mapping[str, float]
    trials: Sequence[FrozenTrial]


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptCase:
    """An attempt to be judged."""

    level: Level
    """The level as this attempt searched it."""
    attempt: int
    relaxed: float
    """Share by which the gate's targets were relaxed; usually 0."""
    trials: Sequence[FrozenTrial]
    """All trials of its study, including those carried over."""
    reused: int
    predecessor: PreviousLevel | None
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptFindings:
    """All results of one attempt at a level."""

    case: AttemptCase
    winner: Winner | None
    """None if no trial was feasible on train."""
    readings: tuple[Criterion, ...] = ()
    """The gate on validation, including stress tests if the level has limits."""
    test: Evaluation | None = None
    """The winner on test; reported, decides nothing."""
    accounts: Mapping[Part, Portfolio] = field(default_factory=dict)
    """The winner's portfolio by part."""
    benchmark: Mapping[Part, Portfolio] = field(default_factory=dict)
    """The buy-and-hold portfolio by part."""
    costs: Mapping[Part, TradingCosts] = field(default_factory=dict)
    """Charged and break-even costs of the winner by part."""
    analyses: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    """Analyses by file name."""

    @property
    def level(self) -> Level:
        """The level as this attempt searched it."""
        return self.case.level

    @property
    def trials(self) -> Sequence[FrozenTrial]:
        """The attempt's own trials, without those carried over."""
        return self.case.trials[self.case.reused :]

    @property
    def passed(self) -> bool:
        """Whether the gate passed."""
        return self.winner is not None and is_passed(list(self.readings))

    @property
    def facts(self) -> AttemptFacts:
        """What the plan of a retry depends on."""
        return attempt_facts(self.case.trials, self.winner, self.readings)

    @property
    def reason(self) -> str:
        """Human-readable reason why the gate passed or failed; mentions relaxed targets."""
        if self.winner is None:
            return "no trial met all constraints on train"
        missed = [reading.name for reading in self.readings if not reading.met]
        said = f"missed on validation: {', '.join(missed)}" if missed else "all criteria met on validation"
        return f"{said} (targets relaxed by {self.case.relaxed:g})" if self.case.relaxed else said


def judge_attempt(case: AttemptCase, read: Read, on_access: LogAccess, repeat: CheckRepeat) -> AttemptFindings:
    """Judge an attempt and return its findings.

    Raises:
        TradeschoolError: `repeat` failed: the winner cannot be reproduced and is not reported.
        DataError: candles are missing or invalid.
    """
    level, promising = case.level, candidates(case.trials)
    if not promising:
        return AttemptFindings(case=case, winner=None)
    on_access(Part.VALIDATION, [trial.number for trial in promising])
    prepared = {part: prepare_level(level, part, read) for part in (Part.TRAIN, Part.VALIDATION)}
    winner = choose(level, case.trials, prepared[Part.TRAIN], prepared[Part.VALIDATION])
    if winner is None:
        return AttemptFindings(case=case, winner=None)
    repeat(winner.number, prepared[Part.TRAIN])
    runs = {part: _trade(level, bars, winner.parameters) for part, bars in prepared.items()}
    stress_case = StressCase(
        level=level, parameters=winner.parameters, read=read, prepared=prepared, runs=runs, seed=case.seed
    )
    readings, stressed = _readings(case, winner, stress_case)

    on_access(Part.TEST, [winner.number])
    prepared[Part.TEST] = prepare_level(level, Part.TEST, read)
    runs[Part.TEST] = _trade(level, prepared[Part.TEST], winner.parameters)
    return AttemptFindings(
        case=case,
        winner=winner,
        readings=tuple(readings),
        test=evaluate_part(level, prepared[Part.TEST], winner.parameters, Part.TEST),
        accounts={part: portfolio(found) for part, found in runs.items()},
        costs=_costs(level, winner.parameters, runs),
        benchmark={part: _buy_and_hold(level, bars) for part, bars in prepared.items()},
        analyses={**stressed, **_analyses(case, winner, prepared, runs, read)},
    )


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


def _analyses(
    case: AttemptCase, winner: Winner, prepared: Mapping[Part, Sequence[Prepared]], runs: Runs, read: Read
) -> dict[str, Mapping[str, object]]:
    found: dict[str, Mapping[str, object]] = {}
    level, before = case.level, case.predecessor
    if Analysis.SIMILARITY in level.analyses and before:
        found[Analysis.SIMILARITY] = similarity(
            level, winner.parameters, case.trials, before.level, before.winner, before.trials
        )
    if Analysis.REGIMES in level.analyses:
        labels = {each.dataset: label(read(each.source, each.window)) for each in level.datasets}
        traded = {part: list(zip(prepared[part], runs[part], strict=True)) for part in Part}
        found[Analysis.REGIMES] = regime_table(traded, labels)
    if Analysis.STABILITY in level.analyses:
        found[Analysis.STABILITY] = stability(level, prepared[Part.VALIDATION], winner.parameters)
    return found


def _costs(level: Level, parameters: Mapping[str, float], runs: Runs) -> dict[Part, TradingCosts]:
    managed = TradeManagement.of(repaired(load(level.strategy), parameters))
    return {part: trading_costs(found, fixed_size=managed.position_units > 0) for part, found in runs.items()}


def _buy_and_hold(level: Level, prepared: Sequence[Prepared]) -> Portfolio:
    return portfolio(
        [buy_and_hold(each, 1, CostRates.of(level.costs, each.dataset.instrument.market)) for each in prepared]
    )


def _trade(level: Level, prepared: Sequence[Prepared], parameters: Mapping[str, float]) -> list[BacktestRun]:
    return [backtest(level, dataset, parameters) for dataset in prepared]
