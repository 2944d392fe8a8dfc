"""Null test: repeats a level's search, gate and retries on surrogate markets without skill.

The share of surrogates that pass is the false-positive rate of the gate.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from optuna.trial import FrozenTrial

from optimizer.bars.preparation import Prepared
from optimizer.curriculum.attempts import RetryPlan, at_attempt, plan_retry
from optimizer.curriculum.inheritance import first_points
from optimizer.curriculum.warm_start import copied_trial
from optimizer.level.spec import Gate, Level, Part
from optimizer.objective.metrics import wilson_interval
from optimizer.objective.objective import Read, backtest, prepare_level
from optimizer.objective.trial_result import finite_or_none
from optimizer.search.in_process import search_in_process
from optimizer.search.methods.optuna_setup import trial_seed
from optimizer.search.space import search_space
from optimizer.validation.analyses.stress import StressCase, stress_readings
from optimizer.validation.analyses.surrogate_markets import BLOCK_DAYS, surrogate
from optimizer.validation.evidence import NullRun, NullTest
from optimizer.validation.gate import Criterion, gate_readings, is_passed
from optimizer.validation.selection import Winner, attempt_facts, choose

QUANTILES = (0.05, 0.5, 0.95)


@dataclass(frozen=True, slots=True, kw_only=True)
class NullTestSpec:
    """Inputs of a null test: the level and the conditions of its real search."""

    level: Level
    """The level as written."""
    attempts: int
    """Number of attempts of the real search, and the maximum per surrogate."""
    inherited: Mapping[str, float] | None
    seed: int


def null_test_of(spec: NullTestSpec, null_runs: Sequence[NullRun]) -> NullTest:
    """Aggregate at least one draw."""
    passed = sum(null_run.passed for null_run in null_runs)
    low, high = wilson_interval(passed, len(null_runs))
    names = list(dict.fromkeys(name for null_run in null_runs for name in null_run.values))
    return NullTest(
        surrogates=len(null_runs),
        passed=passed,
        pass_rate=passed / len(null_runs),
        low=low,
        high=high,
        attempts=spec.attempts,
        block_days=BLOCK_DAYS,
        met={name: sum(name in null_run.met for null_run in null_runs) / len(null_runs) for name in names},
        quantiles={name: _quantiles([null_run.values.get(name) for null_run in null_runs]) for name in names},
    )


def run_null_test(spec: NullTestSpec, read: Read, number: int) -> NullRun:
    """Run the search in surrogate market `number`; reproducible by seed.

    Raises:
        DataError: candles are missing or invalid.
    """
    market = surrogate(spec.level, read, [spec.seed, number])
    prepared = {part: prepare_level(spec.level, part, market) for part in (Part.TRAIN, Part.VALIDATION)}
    trials: list[FrozenTrial] = []
    retries: list[RetryPlan] = []
    gate = spec.level.gate
    for attempt in range(1, spec.attempts + 1):
        level = at_attempt(spec.level, attempt, spec.inherited, retries)
        trials = _search(spec, level, number, prepared[Part.TRAIN], trials, gate)
        winner = choose(level, trials, prepared[Part.TRAIN], prepared[Part.VALIDATION])
        readings = _gate(level, winner, prepared, market, spec.seed)
        passed = bool(readings) and is_passed(readings)  # empty without a winner
        if passed:
            break
        retries.append(plan_retry(level, attempt + 1, attempt_facts(trials, winner, readings)))
        gate = level.gate
    return NullRun(
        surrogate=number,
        attempts_allowed=spec.attempts,
        attempts=attempt,
        passed=passed,
        values={reading.name: finite_or_none(reading.value) for reading in readings},
        met=tuple(reading.name for reading in readings if reading.met),
    )


def _search(
    spec: NullTestSpec,
    level: Level,
    number: int,
    train: Sequence[Prepared],
    earlier: Sequence[FrozenTrial],
    was: Gate,
) -> list[FrozenTrial]:
    """Return the trials of an attempt; `was`: the gate of the attempt before, whose trials are `earlier`."""
    seed = trial_seed(spec.seed, number)
    points = first_points(level, spec.inherited, seed) if spec.inherited and not earlier else ()
    space = search_space(level, seed, points)
    reused = [copied_trial(trial, space.distributions, was=was, now=level.gate) for trial in earlier]
    return search_in_process(level, space, train, reused)


def _gate(
    level: Level, winner: Winner | None, prepared: Mapping[Part, Sequence[Prepared]], read: Read, seed: int
) -> list[Criterion]:
    """Return the gate of the search's winner; empty without a winner."""
    if winner is None:
        return []
    readings = gate_readings(level, winner.validation.metrics, Part.VALIDATION)
    if level.stress is None or not is_passed(readings):  # a failed gate needs no stress tests
        return readings
    runs = {part: [backtest(level, each, winner.parameters) for each in bars] for part, bars in prepared.items()}
    stress_case = StressCase(
        level=level, parameters=winner.parameters, read=read, prepared=prepared, runs=runs, seed=seed
    )
    return [*readings, *stress_readings(stress_case, level.stress)]


def _quantiles(values: Sequence[float | None]) -> tuple[float | None, ...]:
    known = [value for value in values if value is not None]
    return tuple(float(each) for each in np.quantile(known, QUANTILES)) if known else (None,) * len(QUANTILES)
