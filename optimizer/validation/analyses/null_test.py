"""Null test: repeats a level's search, gate and retries on surrogate markets without skill.

The share of surrogates that pass is the false-positive rate of the gate.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from optuna.trial import FrozenTrial

from optimizer.bars.preparation import Prepared
from optimizer.curriculum.attempts import at_attempt
from optimizer.curriculum.inheritance import first_points
from optimizer.curriculum.warm_start import moved
from optimizer.level.spec import Level, Part
from optimizer.objective.metrics import wilson_interval
from optimizer.objective.objective import Read, backtest, prepare_level, repair
from optimizer.objective.trial_result import finite_or_none
from optimizer.search.in_process import search_alone
from optimizer.search.sampler import Space, trial_seed
from optimizer.search.space import distributions
from optimizer.validation.analyses.stress import Patient, stress_readings
from optimizer.validation.analyses.surrogate_markets import BLOCK_DAYS, surrogate
from optimizer.validation.evidence import Draw, Null
from optimizer.validation.gate import Reading, gate_readings, is_passed
from optimizer.validation.selection import choose

QUANTILES = (0.05, 0.5, 0.95)


@dataclass(frozen=True, slots=True, kw_only=True)
class Luck:
    """Inputs of a null test: the level and the conditions of its real search."""

    level: Level
    """The level as written."""
    attempts: int
    """Number of attempts of the real search, and the maximum per surrogate."""
    inherited: Mapping[str, float] | None
    seed: int


def null_of(luck: Luck, draws: Sequence[Draw]) -> Null:
    """Aggregate at least one draw."""
    passed = sum(draw.passed for draw in draws)
    low, high = wilson_interval(passed, len(draws))
    names = list(dict.fromkeys(name for draw in draws for name in draw.values))
    return Null(
        surrogates=len(draws),
        passed=passed,
        pass_rate=passed / len(draws),
        low=low,
        high=high,
        attempts=luck.attempts,
        block_days=BLOCK_DAYS,
        met={name: sum(name in draw.met for draw in draws) / len(draws) for name in names},
        quantiles={name: _quantiles([draw.values.get(name) for draw in draws]) for name in names},
    )


def try_luck(luck: Luck, read: Read, number: int) -> Draw:
    """Run the search in surrogate market `number`; reproducible by seed.

    Raises:
        DataError: candles are missing or invalid.
    """
    market = surrogate(luck.level, read, [luck.seed, number])
    prepared = {part: prepare_level(luck.level, part, market) for part in (Part.TRAIN, Part.VALIDATION)}
    trials: list[FrozenTrial] = []
    for attempt in range(1, luck.attempts + 1):
        level = at_attempt(luck.level, attempt, luck.inherited)
        trials = _search(luck, level, attempt, number, prepared[Part.TRAIN], trials)
        readings = _gate(level, trials, prepared, market, luck.seed)
        passed = bool(readings) and is_passed(readings)  # empty without a winner
        if passed:
            break
    return Draw(
        surrogate=number,
        attempts_allowed=luck.attempts,
        attempts=attempt,
        passed=passed,
        values={reading.name: finite_or_none(reading.value) for reading in readings},
        met=tuple(reading.name for reading in readings if reading.met),
    )


def _search(
    luck: Luck, level: Level, attempt: int, number: int, train: Sequence[Prepared], earlier: Sequence[FrozenTrial]
) -> list[FrozenTrial]:
    seed, searched = trial_seed(luck.seed, number), distributions(level)
    space = Space(
        seed=seed,
        lag=level.lag,
        distributions=searched,
        repair=lambda parameters: repair(level, parameters),
        first_points=first_points(level, luck.inherited, seed) if luck.inherited and attempt == 1 else (),
    )
    was = at_attempt(luck.level, attempt - 1, luck.inherited).gate
    carried = [moved(trial, searched, was=was, now=level.gate) for trial in earlier]
    return search_alone(level, space, train, carried)


def _gate(
    level: Level, trials: Sequence[FrozenTrial], prepared: Mapping[Part, Sequence[Prepared]], read: Read, seed: int
) -> list[Reading]:
    """Return the gate of the search's winner; empty without a winner."""
    winner = choose(level, trials, prepared[Part.TRAIN], prepared[Part.VALIDATION])
    if winner is None:
        return []
    readings = gate_readings(level, winner.validation.metrics, Part.VALIDATION)
    if level.stress is None or not is_passed(readings):  # a failed gate needs no stress tests
        return readings
    runs = {part: [backtest(level, each, winner.parameters) for each in bars] for part, bars in prepared.items()}
    patient = Patient(level=level, parameters=winner.parameters, read=read, prepared=prepared, runs=runs, seed=seed)
    return [*readings, *stress_readings(patient, level.stress)]


def _quantiles(values: Sequence[float | None]) -> tuple[float | None, ...]:
    known = [value for value in values if value is not None]
    return tuple(float(each) for each in np.quantile(known, QUANTILES)) if known else (None,) * len(QUANTILES)
