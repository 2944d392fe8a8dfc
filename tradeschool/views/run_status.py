"""Tables of a run: status, gate, recommendation and single trials."""

import math
from collections.abc import Mapping

from optuna.trial import FrozenTrial
from rich.table import Table

from optimizer.level.metric_names import COUNTS
from optimizer.level.spec import Part
from optimizer.runs.run_record import AttemptRow, RunRecord, Verdict
from optimizer.search.trial_table import named_values
from optimizer.validation.checks.check import Axis
from optimizer.validation.gate import Criterion
from optimizer.validation.labels import label
from optimizer.validation.recommendation import Recommendation
from tradeschool.views.backtest_result import size_line
from tradeschool.views.terminal import console
from workers.monitoring.run_status import AttemptStatus, RunStatus

RESULTS = {True: "met", False: "failed", None: "unknown"}
WARNING = "warning"
"""Result of a diagnostic that misses its bound: it decides nothing."""
MAX_FRONT = 20
"""Trials of a Pareto front that are printed at most."""


def show(status: RunStatus) -> None:
    """Print each attempt with its trials, best trial and gate, then the null tests and the recommendation."""
    for each in status.attempts:
        _show_attempt(status.record, each)
    if status.record.null_test:
        console().print(status.record.null_test.sentence)
    for forced in status.record.forced:
        console().print(
            f"resumed with --force after a change on {forced.time:%Y-%m-%d %H:%M} UTC: {forced.what} {forced.was} -> "
            f"{forced.now}"
        )
    console().print(status.reason)
    if status.recommendation:
        show_recommendation(status.recommendation)


def show_recommendation(found: Recommendation) -> None:
    """Print the checks of a run and the recommendation that follows from them."""
    table = Table("check", "answers", "finding", "result")
    for check in found.checks:
        table.add_row(label(check.name), check.axis, check.found, result_word(check.axis, check.met))
    console().print(table)
    console().print(f"recommendation: {found.action_words}: {found.rule}: {found.reason}")
    if found.would_change:
        console().print("what would change it:")
    for line in found.would_change:
        console().print(f"  {line}")


def show_trial(trial: FrozenTrial) -> None:
    """Print one trial: parameters, constraint violations and metrics on train."""
    value = f", {values_line(trial)} on train" if trial.values else ""
    console().print(f"trial {trial.number}: {trial.state.name.lower()}{value}")
    console().print(parameters_line(trial.params))
    for name in ("pruned", "failure", "repeats"):
        if name in trial.user_attrs:
            console().print(f"{name}: {trial.user_attrs[name]}")
    table = Table("constraint", "violation")
    for name, violation in trial.constraints.items():
        table.add_row(name, f"{violation:.4f}" if violation > 0 else "-")
    metrics = Table("metric", "train")
    for name, figure in trial.user_attrs.get("metrics", {}).items():
        metrics.add_row(name, "-" if figure is None else f"{figure:.6g}")
    console().print(table, metrics)


def result_word(answers: str, met: bool | None) -> str:
    """Return the result of a check in a word; `answers`: the question that it answers part of."""
    return WARNING if answers == Axis.DIAGNOSTIC and met is False else RESULTS[met]


def values_line(trial: FrozenTrial) -> str:
    """Return a trial's value, with several objectives by name, for example `sharpe 1.2, calmar 0.8`."""
    values = trial.values or []
    if len(values) == 1:
        return f"{values[0]:.6g}"
    return ", ".join(f"{name} {value:.6g}" for name, value in named_values(trial).items())


def parameters_line(parameters: Mapping[str, float]) -> str:
    """Return parameters in one line, for example `fast 20, slow 100`."""
    return ", ".join(f"{name} {value:g}" for name, value in parameters.items())


def _show_attempt(record: RunRecord, attempt: AttemptStatus) -> None:
    row, verdict, trial_counts = attempt.row, attempt.row.verdict, attempt.counts
    counts = f"{trial_counts.complete} complete, {trial_counts.pruned} pruned, {trial_counts.failed} failed"
    carried = f"; {attempt.reused} more from earlier attempts" if attempt.reused else ""
    left = _time_left(attempt.eta_seconds)
    console().print(
        f"level {row.level}, attempt {row.number}: {attempt.level.title}: "
        f"{trial_counts.finished} of {trial_counts.trials} trials ({counts}{carried}){left}"
    )
    console().print(attempt.level.search_methods)
    if row.retry:
        console().print(f"retry: {row.retry.reason}")
    _show_front(attempt)
    if trial_counts.best and trial_counts.best_value is not None and not trial_counts.front:
        console().print(f"best feasible on train: trial {trial_counts.best.number}, {trial_counts.best_value:.3f}")
    if verdict is None:
        return
    if verdict.trial is None or verdict.parameters is None:
        console().print(f"gate failed: {verdict.reason}")
        _show_closest(record, attempt)
        if row.windows:
            console().print(_window_table(row))
        return
    console().print(f"winner: trial {verdict.trial}: {parameters_line(verdict.parameters)}")
    if attempt.level.risk:
        console().print(f"{size_line(verdict.size, verdict.leverage)}; rule: {attempt.level.risk.sentence}")
    console().print(_gate_table(verdict))
    if row.windows:
        console().print(_window_table(row))
    console().print(verdict.reason)


def _show_front(attempt: AttemptStatus) -> None:
    """Print the Pareto front of a search with several objectives."""
    front, names = attempt.counts.front, attempt.level.objective
    if not front:
        return
    caption = "feasible on train; nearest to the best value of every objective first"
    table = Table("trial", *names, "parameters", title=f"Pareto front: {len(front)} trials", caption=caption)
    for trial in front[:MAX_FRONT]:
        values = [f"{trial.values.get(name, math.nan):.3f}" for name in names]
        line = parameters_line(
            {name: value for name, value in trial.parameters.items() if isinstance(value, int | float)}
        )
        table.add_row(str(trial.number), *values, line)
    console().print(table)


def _time_left(seconds: float | None) -> str:
    if seconds is None:
        return ", ETA unknown"
    return f", ETA {seconds:.0f} s" if seconds else ""


def _gate_table(verdict: Verdict) -> Table:
    """Return each criterion of the gate beside its figures; on test only if the level has this part."""
    has_test = Part.TEST in verdict.figures
    last = ["test (informative)"] if has_test else []
    table = Table("criterion", "train", "validation", "95 % CI", "trades", "required", "gate", *last)
    for reading in verdict.readings:
        table.add_row(
            reading.name,
            _figure(verdict, Part.TRAIN, reading),
            _number(reading.name, reading.value),
            ""
            if math.isnan(reading.low)
            else f"{_number(reading.name, reading.low)} .. {_number(reading.name, reading.high)}",
            f"{reading.trades:,}",
            _target(reading),
            RESULTS[reading.met],
            *([_figure(verdict, Part.TEST, reading)] if has_test else []),
        )
    return table


def _window_table(row: AttemptRow) -> Table:
    names = ("window", "trials", "choice", "size", "Sharpe on train", "Sharpe out of sample", "trades", "parameters")
    table = Table(*names, title="windows of the walk-forward, which validation joins")
    for each in row.windows:
        chosen = "cash" if each.trial is None else f"trial {each.trial}"
        figures = [each.train.get("sharpe"), each.validation.get("sharpe")]
        table.add_row(
            str(each.number),
            f"{each.finished:,}",
            chosen,
            "" if each.trial is None else f"{each.size:.1%}",
            *("" if value is None else f"{value:.3f}" for value in figures),
            f"{each.validation.get('trades') or 0:,.0f}",
            parameters_line(each.parameters or {}),
        )
    return table


def _figure(verdict: Verdict, part: Part, reading: Criterion) -> str:
    metric = reading.name.split(" ")[0]
    figures = verdict.figures.get(part, {})
    return _number(metric, figures[metric]) if metric in figures else ""


def _show_closest(record: RunRecord, attempt: AttemptStatus) -> None:
    """Print the constraint violations of the trial that came closest to feasibility on train."""
    verdict = attempt.row.verdict
    near = verdict.shortfall.get("closest_on_train") if verdict else None
    if not isinstance(near, dict):
        return
    table = Table("constraint", f"violation of the closest trial ({near['trial']}) on train")
    violations = near["violations"]
    for name, violation in violations.items() if isinstance(violations, dict) else ():
        missed = isinstance(violation, int | float) and violation > 0
        table.add_row(name, f"{violation:.3f}" if missed else "-")
    console().print(table)


def _target(reading: Criterion) -> str:
    return f"{'<=' if reading.is_ceiling else '>='} {reading.target:g}"


def _number(metric: str, value: float) -> str:
    return f"{value:,.0f}" if metric in COUNTS else f"{value:.3f}"
