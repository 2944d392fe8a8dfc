"""Runs of the power bench: one whole curriculum per cell and seed, each a line of a file, so that none is run twice."""

import hashlib
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from benchmarks.power.cells import CALIBRATION, WINDOW, Cell, levels_of, rule_of
from benchmarks.power.market import MadeMarket, make
from optimizer.level.metric_names import SIZE
from optimizer.level.spec import Level, Part
from optimizer.level.walk_forward import window_numbers
from optimizer.objective.choices import Choice, evaluate_choices
from optimizer.objective.objective import evaluate_part, prepare_level
from optimizer.objective.sizing import WHOLE
from optimizer.runs.fingerprint import LENGTH, of_code
from optimizer.validation.checks.check import Axis
from optimizer.validation.checks.diagnostics import NULL_TEST
from optimizer.validation.gate import gate_readings
from optimizer.validation.in_process.curriculum_in_process import InProcessRun, run_in_process
from optimizer.validation.recommendation import Recommendation, RecommendedAction
from optimizer.validation.selection import closest
from tradeschool.atomic_files import append_line
from workers.processes.process_group import process_group

INPUTS = ("market.py", "cells.py", "runs.py", CALIBRATION.name)
"""Files of the bench that a result depends on."""
INFEASIBLE = "no feasible trial"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One run to make."""

    cell: Cell
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """What one run came to."""

    cell: str
    seed: int
    code: str
    """Fingerprint of the optimizer and of this bench."""
    action: str
    last: str
    """The last level tried."""
    attempts: Mapping[str, int]
    """Attempts by level."""
    missed: Sequence[str]
    """Gate criteria that the last attempt missed, or the constraints that kept every trial from being feasible."""
    mandate: bool
    """Whether every gate is met with unchanged targets."""
    p_values: Mapping[str, float | None]
    """P-value of no skill out of sample, on the holdout period, and of both; empty without a winner."""
    surrogates: int
    """Surrogate markets behind the p-value out of sample; 0 if it is that of the t distribution."""
    checks: Mapping[str, bool | None]
    """Whether each check of the recommendation is met; null if unknown."""
    sharpes: Mapping[str, float | None]
    """Sharpe ratio of the examined winner by part."""
    rule_missed: Mapping[str, Sequence[str]]
    """Gate criteria on validation that the rule that knows the edge misses on the same market, by level; empty without
    such a rule. No recommendation can be expected to meet a mandate that its rule misses.
    """
    seconds: float


def fingerprint(surrogates: int = 0) -> str:
    """Return the digest of everything that a result depends on."""
    total = hashlib.sha256(f"{of_code()} {surrogates}".encode())
    for name in INPUTS:
        total.update(Path(__file__).with_name(name).read_bytes())
    return total.hexdigest()[:LENGTH]


def jobs_of(cells: Sequence[Cell], seeds: int | None) -> list[Job]:
    """Return the runs in the order in which they are made: of each seed all cells, so that an early end leaves as many
    runs of each cell.

    `seeds`: of each cell; None for the number of the whole bench.
    """
    wanted = {cell.name: seeds if seeds is not None else cell.whole_seeds for cell in cells}
    return [
        Job(cell=cell, seed=seed)
        for seed in range(max(wanted.values(), default=0))
        for cell in cells
        if seed < wanted[cell.name]
    ]


def read_finished(path: Path, code: str) -> dict[tuple[str, int], Finished]:
    """Return the runs of a file that this code made, by cell and seed; a line that a kill has cut is left out."""
    found: dict[tuple[str, int], Finished] = {}
    for line in path.read_bytes().splitlines() if path.exists() else ():
        with suppress(ValueError, TypeError):
            run = Finished(**json.loads(line))
            if run.code == code:
                found[run.cell, run.seed] = run
    return found


def make_runs(path: Path, code: str, jobs: Sequence[Job], processes: int, surrogates: int = 0) -> Iterable[Finished]:
    """Make the runs that the file lacks, and yield each once it is in the file."""
    known = read_finished(path, code)
    missing = [job for job in jobs if (job.cell.name, job.seed) not in known]
    with process_group(processes, serial_seconds=0.0) as group:
        yield from group.share(partial(make_run, path, code, surrogates), missing)


def make_run(path: Path, code: str, surrogates: int, job: Job) -> Finished:
    """Make one run and append it to the file."""
    began = time.monotonic()
    market = make(job.cell.kind, job.cell.strength, WINDOW, job.seed)
    levels = levels_of(job.cell.kind)
    run = run_in_process(levels, job.seed, market.read, market.read, surrogates=surrogates)
    seconds = time.monotonic() - began
    found = finished(run, job, code, rule_missed(levels, job.cell, market), seconds, surrogates)
    append_line(path, json.dumps(asdict(found)))
    return found


def rule_missed(levels: Sequence[Level], cell: Cell, market: MadeMarket) -> dict[str, list[str]]:
    """Return the gate criteria on validation that the cell's rule misses, by level; stress tests are left out.

    Its size is solved on train, as that of a trial.
    """
    if not cell.sharpe:
        return {}
    parameters = rule_of(cell.kind).parameters
    found = {}
    for level in levels:
        train, validation = (prepare_level(level, part, market.read) for part in (Part.TRAIN, Part.VALIDATION))
        size = evaluate_part(level, train, parameters, Part.TRAIN).metrics.get(SIZE, WHOLE)
        choices = [Choice(parameters=parameters, size=size)] * max(1, len(window_numbers(level)))
        evaluation = evaluate_choices(level, validation, choices, Part.VALIDATION)
        readings = gate_readings(level, evaluation.metrics, Part.VALIDATION)
        found[level.name] = [reading.name for reading in readings if not reading.met]
    return found


def finished(
    run: InProcessRun,
    job: Job,
    code: str,
    missed_by_rule: Mapping[str, Sequence[str]],
    seconds: float,
    surrogates: int,
) -> Finished:
    """Return the line of a run; `surrogates`: markets of the null test that was asked for."""
    attempts: dict[str, int] = {}
    for each in run.attempts:
        attempts[each.level.name] = each.number
    return Finished(
        cell=job.cell.name,
        seed=job.seed,
        code=code,
        action=action_of(run.recommendation, surrogates).value,
        last=run.last,
        attempts=attempts,
        missed=_missed(run),
        mandate=run.recommendation.mandate,
        p_values=_p_values(run),
        surrogates=run.recommendation.skill.surrogates if run.recommendation.skill else 0,
        checks={check.name: check.met for check in run.recommendation.checks},
        sharpes=_sharpes(run),
        rule_missed=missed_by_rule,
        seconds=round(seconds, 2),
    )


def action_of(found: Recommendation, surrogates: int) -> RecommendedAction:
    """Return the recommended action. In a bench without null tests the missing one does not block a deployment.

    The bench's markets and candles hold no error that only a null test would notice, and its tables show whether the
    p-values of the t distribution are uniform without skill.
    """
    missed = [check.name for check in found.checks if check.axis is not Axis.DIAGNOSTIC and not check.met]
    return RecommendedAction.DEPLOY if not surrogates and missed == [NULL_TEST] else found.action


def _p_values(run: InProcessRun) -> dict[str, float | None]:
    skill = run.recommendation.skill
    if skill is None:
        return {}
    return {"out of sample": skill.p_out_of_sample, "holdout": skill.p_holdout, "both": skill.p}


def _missed(run: InProcessRun) -> list[str]:
    last = run.attempts[-1]
    if last.findings is not None and last.findings.winner is not None:
        return [reading.name for reading in last.findings.readings if not reading.met]
    near = closest(last.trials)
    violated = [name for name, value in near.constraints.items() if value > 0] if near else []
    return [INFEASIBLE, *(f"{name} on train" for name in violated)]


def _sharpes(run: InProcessRun) -> dict[str, float | None]:
    evidence = run.recommendation.evidence
    return {each.part: each.sharpe for each in evidence.excess} if evidence else {}
