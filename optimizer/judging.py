"""From an attempt's finished search to its verdict: winner, gate, stress, analyses, and one look at test.

Validation is opened for the candidates, test once after the gate was read; both are logged before they are read.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from optuna.trial import FrozenTrial

from optimizer.backtest.costs import Rates
from optimizer.backtest.hold import hold
from optimizer.backtest.prepare import Prepared
from optimizer.backtest.run import Run
from optimizer.evaluation import Evaluation
from optimizer.gate import Reading, gate_readings, is_passed
from optimizer.intervals import intervals
from optimizer.level import Level, Part
from optimizer.limits import Analysis
from optimizer.objective import Read, backtest, judge, prepare_level
from optimizer.portfolio import Portfolio, portfolio
from optimizer.regimes import label, regime_table
from optimizer.selection import Winner, candidates, choose, closest
from optimizer.similarity import similarity
from optimizer.stability import at_the_edge, stability
from optimizer.stress import Patient, stress_readings, stress_table

Opening = Callable[[Part, Sequence[int]], None]
"""Told which part is about to be read, and with which trials' parameters."""
Repeat = Callable[[int, Sequence[Prepared]], None]
"""Raises where a trial, run again on these bars, does not come out as it was recorded."""
Runs = Mapping[Part, Sequence[Run]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Predecessor:
    """The level before, for what is compared with it."""

    level: Level
    winner: Mapping[str, float]
    trials: Sequence[FrozenTrial]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """An attempt that is to be judged."""

    level: Level
    """As the attempt searched it."""
    attempt: int
    relaxed: float
    """By which share the gate's targets were lowered; 0 as a rule."""
    trials: Sequence[FrozenTrial]
    """All of its study, those that were carried over included."""
    carried: int
    predecessor: Predecessor | None
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """All that one attempt at a level came to."""

    case: Case
    winner: Winner | None
    """None where no trial was feasible on train."""
    readings: tuple[Reading, ...] = ()
    """The gate on validation, stress included where the level has limits."""
    test: Evaluation | None = None
    """Of the winner; opened once, decides nothing."""
    accounts: Mapping[Part, Portfolio] = field(default_factory=dict)
    """The winner's, by part."""
    held: Mapping[Part, Portfolio] = field(default_factory=dict)
    """Of who only bought and held, by part."""
    analyses: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    """By the name of their file."""

    @property
    def level(self) -> Level:
        """As the attempt searched it."""
        return self.case.level

    @property
    def trials(self) -> Sequence[FrozenTrial]:
        """The attempt's own trials, those that were carried over left out."""
        return self.case.trials[self.case.carried :]

    @property
    def passed(self) -> bool:
        """Whether the gate is met."""
        return self.winner is not None and is_passed(list(self.readings))

    @property
    def reason(self) -> str:
        """Why the gate is met or not, for people; says where targets were lowered."""
        if self.winner is None:
            return "no trial met every constraint on train"
        missed = [reading.name for reading in self.readings if not reading.met]
        said = f"missed on validation: {', '.join(missed)}" if missed else "every criterion is met on validation"
        return f"{said} (targets relaxed by {self.case.relaxed:g})" if self.case.relaxed else said


def judge_attempt(case: Case, read: Read, opening: Opening, repeat: Repeat) -> Findings:
    """The verdict on an attempt.

    Raises:
        TradeschoolError: what `repeat` raises: the winner is not to be reported then.
        DataError: where candles are missing or unsound.
    """
    level, promising = case.level, candidates(case.trials)
    if not promising:
        return Findings(case=case, winner=None)
    opening(Part.VALIDATION, [trial.number for trial in promising])
    prepared = {part: prepare_level(level, part, read) for part in (Part.TRAIN, Part.VALIDATION)}
    winner = choose(level, case.trials, prepared[Part.TRAIN], prepared[Part.VALIDATION])
    if winner is None:
        return Findings(case=case, winner=None)
    repeat(winner.number, prepared[Part.TRAIN])
    runs = {part: _trade(level, bars, winner.parameters) for part, bars in prepared.items()}
    patient = Patient(
        level=level, parameters=winner.parameters, read=read, prepared=prepared, runs=runs, seed=case.seed
    )
    readings, stressed = _readings(case, winner, patient)

    opening(Part.TEST, [winner.number])
    prepared[Part.TEST] = prepare_level(level, Part.TEST, read)
    runs[Part.TEST] = _trade(level, prepared[Part.TEST], winner.parameters)
    return Findings(
        case=case,
        winner=winner,
        readings=tuple(readings),
        test=judge(level, prepared[Part.TEST], winner.parameters, Part.TEST),
        accounts={part: portfolio(found) for part, found in runs.items()},
        held={part: _hold(level, bars) for part, bars in prepared.items()},
        analyses={**stressed, **_analyses(case, winner, prepared, runs, read)},
    )


def shortfall(findings: Findings) -> dict[str, object]:
    """What an attempt fell short by, and what may help to see why."""
    near = closest(findings.case.trials) if findings.winner is None else None
    return {
        "attempt": findings.case.attempt,
        "finished": len(findings.trials),
        "reason": findings.reason,
        "missed": [reading.as_json() for reading in findings.readings if not reading.met],
        "at_the_edge": at_the_edge(findings.level, findings.winner.parameters) if findings.winner else [],
        "closest_on_train": {"trial": near.number, "violations": dict(near.constraints)} if near else None,
    }


def _readings(case: Case, winner: Winner, patient: Patient) -> tuple[list[Reading], dict[str, Mapping[str, object]]]:
    level, figures = case.level, winner.validation.metrics
    known = intervals(patient.runs[Part.VALIDATION], figures, case.seed)
    readings = gate_readings(level, figures, Part.VALIDATION, known)
    if level.stress is None:
        return readings, {}
    stressed = stress_readings(patient, level.stress)
    return [*readings, *stressed], {"stress": stress_table(patient, level.stress, stressed)}


def _analyses(
    case: Case, winner: Winner, prepared: Mapping[Part, Sequence[Prepared]], runs: Runs, read: Read
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


def _hold(level: Level, prepared: Sequence[Prepared]) -> Portfolio:
    return portfolio([hold(each, 1, Rates.of(level.costs, each.dataset.instrument.market)) for each in prepared])


def _trade(level: Level, prepared: Sequence[Prepared], parameters: Mapping[str, float]) -> list[Run]:
    return [backtest(level, dataset, parameters) for dataset in prepared]
