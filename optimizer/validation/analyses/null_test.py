"""Null test: repeats a level's search, gate and retries on surrogate markets without skill.

The share of surrogates that pass is the false-positive rate of the gate.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from optimizer.bars.preparation import Prepared
from optimizer.curriculum.attempts import RetryPlan, at_attempt, plan_retry
from optimizer.curriculum.earlier_choices import window_before
from optimizer.curriculum.inheritance import starting_points
from optimizer.curriculum.warm_start import copied_trial
from optimizer.level.spec import Gate, Level, Part
from optimizer.level.walk_forward import chosen_until, last_search, window_level
from optimizer.objective.choices import Choice, evaluate_choices, trade_choices
from optimizer.objective.metrics import wilson_interval
from optimizer.objective.objective import Read, prepare_level
from optimizer.objective.trial_result import Evaluation, finite_or_none
from optimizer.search.in_process import search_in_process
from optimizer.search.methods.optuna_setup import trial_seed
from optimizer.search.space import search_space
from optimizer.validation.analyses.stress import StressCase, stress_readings
from optimizer.validation.analyses.surrogate_markets import BLOCK_DAYS, surrogate
from optimizer.validation.evidence import NullRun, NullTest
from optimizer.validation.gate import Criterion, gate_readings, is_passed
from optimizer.validation.selection import attempt_facts, choose
from optimizer.validation.walk_forward import SearchedWindow

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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chosen:
    """The winner of an attempt, what trades validation, and the metrics of that."""

    winner: Choice
    validation: Evaluation
    choices: Sequence[Choice]


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
    searches: list[SearchedWindow] = []
    retries: list[RetryPlan] = []
    gate = spec.level.gate
    for attempt in range(1, spec.attempts + 1):
        level = at_attempt(spec.level, attempt, spec.inherited, retries)
        searches = _search_attempt(spec, level, number, market, searches, gate)
        found = _chosen(level, searches, prepared)
        readings = _gate(level, found, prepared, market, spec.seed)
        passed = bool(readings) and is_passed(readings)  # empty without a winner
        if passed:
            break
        winner = found.winner.parameters if found else None
        retries.append(plan_retry(level, attempt + 1, attempt_facts(searches[-1].trials, winner, readings)))
        gate = level.gate
    return NullRun(
        surrogate=number,
        attempts_allowed=spec.attempts,
        attempts=attempt,
        passed=passed,
        values={reading.name: finite_or_none(reading.value) for reading in readings},
        met=tuple(reading.name for reading in readings if reading.met),
    )


def _search_attempt(
    spec: NullTestSpec, level: Level, number: int, market: Read, earlier: Sequence[SearchedWindow], was: Gate
) -> list[SearchedWindow]:
    """Run the searches of an attempt: those of the windows of a walk-forward, then the last one.

    `earlier`: the searches of the attempt before, under the gate `was`.
    """
    seed, found = trial_seed(spec.seed, number), list[SearchedWindow]()
    attempt = 2 if earlier else 1  # a retry has no first points
    for place, window in enumerate(range(1, last_search(level) + 1)):
        searched, before = window_level(level, window), window_before(found, window)
        inherited = spec.inherited if window == last_search(level) else None
        choices = [before.parameters if before else None, inherited]
        space = search_space(searched, seed, starting_points(searched, attempt, choices, seed))
        carried = earlier[place].trials if earlier else ()
        reused = [copied_trial(trial, space.distributions, was=was, now=level.gate) for trial in carried]
        trials = search_in_process(searched, space, prepare_level(searched, Part.TRAIN, market), reused)
        until = chosen_until(level, window)
        found.append(SearchedWindow(number=window, level=searched, trials=trials, reused=len(reused), until=until))
    return found


def _gate(
    level: Level, found: _Chosen | None, prepared: Mapping[Part, Sequence[Prepared]], read: Read, seed: int
) -> list[Criterion]:
    """Return the gate of the attempt's winner; empty without a winner."""
    if found is None:
        return []
    readings, choices = gate_readings(level, found.validation.metrics, Part.VALIDATION), found.choices
    if level.stress is None or not is_passed(readings):  # a failed gate needs no stress tests
        return readings
    runs = {
        Part.TRAIN: trade_choices(level, prepared[Part.TRAIN], [found.winner]),
        Part.VALIDATION: trade_choices(level, prepared[Part.VALIDATION], choices),
    }
    stress_case = StressCase(level=level, choices=choices, read=read, prepared=prepared, runs=runs, seed=seed)
    return [*readings, *stress_readings(stress_case, level.stress)]


def _chosen(
    level: Level, searches: Sequence[SearchedWindow], prepared: Mapping[Part, Sequence[Prepared]]
) -> _Chosen | None:
    """Return the winner of an attempt; None without a winner."""
    *windows, last = searches
    if windows and last.chosen:
        choices = [each.choice for each in windows]
        validation = evaluate_choices(level, prepared[Part.VALIDATION], choices, Part.VALIDATION)
        return _Chosen(winner=last.choice, validation=validation, choices=choices)
    if windows or (winner := choose(level, last.trials, prepared[Part.TRAIN], prepared[Part.VALIDATION])) is None:
        return None
    return _Chosen(winner=winner.choice, validation=winner.validation, choices=[winner.choice])


def _quantiles(values: Sequence[float | None]) -> tuple[float | None, ...]:
    known = [value for value in values if value is not None]
    return tuple(float(each) for each in np.quantile(known, QUANTILES)) if known else (None,) * len(QUANTILES)
