"""Tables of the power bench: outcomes with exact intervals, targets, and what blocked how often."""

import statistics
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from scipy.stats import beta, kstest

from benchmarks.fetch.table import Row
from benchmarks.power.cells import Cell
from benchmarks.power.market import Kind
from benchmarks.power.runs import Finished
from optimizer.validation.checks.skill import SOME, STRONG
from optimizer.validation.recommendation import RecommendedAction
from optimizer.validation.statistics.p_values import fisher

DEPLOY, PAPER, NO = RecommendedAction.DEPLOY, RecommendedAction.PAPER_TRADE, RecommendedAction.DO_NOT_DEPLOY
Runs = Mapping[str, Sequence[Finished]]
"""Finished runs by cell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A wanted share of outcomes at one true Sharpe ratio."""

    sharpe: float
    actions: tuple[RecommendedAction, ...]
    share: float
    is_ceiling: bool

    @property
    def wanted(self) -> str:
        """Such as `>= 60 %`."""
        return f"{'<=' if self.is_ceiling else '>='} {self.share:.0%}"


TARGETS = (
    Target(sharpe=0.0, actions=(DEPLOY,), share=0.01, is_ceiling=True),
    Target(sharpe=0.0, actions=(PAPER,), share=0.10, is_ceiling=True),
    Target(sharpe=1.0, actions=(DEPLOY, PAPER), share=0.50, is_ceiling=False),
    Target(sharpe=2.0, actions=(DEPLOY,), share=0.60, is_ceiling=False),
    Target(sharpe=2.0, actions=(NO,), share=0.10, is_ceiling=True),
    Target(sharpe=3.0, actions=(DEPLOY,), share=0.90, is_ceiling=False),
)


UNIFORM, UNIFORM_SEEDS = 0.01, 300
"""Wanted p-value of the test of uniform p-values without skill, and the seeds that it is wanted over."""


def clopper_pearson(count: int, total: int) -> tuple[float, float]:
    """Return the exact 95 % interval of a share.

    Source: C. J. Clopper and E. S. Pearson, The Use of Confidence or Fiducial Limits Illustrated in the Case of the
    Binomial (1934), Biometrika 26:404-413: its limits are quantiles of beta distributions.
    """
    low = float(beta.ppf(0.025, count, total - count + 1)) if count else 0.0
    high = float(beta.ppf(0.975, count + 1, total - count)) if count < total else 1.0
    return low, high


def by_cell(finished: Sequence[Finished]) -> dict[str, list[Finished]]:
    """Return the runs by cell, each in the order of the seeds."""
    found: dict[str, list[Finished]] = defaultdict(list)
    for run in sorted(finished, key=lambda run: run.seed):
        found[run.cell].append(run)
    return dict(found)


def outcome_table(cells: Sequence[Cell], runs: Runs) -> str:
    """Return the share of each recommendation by kind and true Sharpe ratio."""
    lines = [
        "| kind | true Sharpe | seeds | deploy | paper trade | do not deploy | median seconds |",
        "|---|" + "---|" * 6,
    ]
    for cell in cells:
        found = runs.get(cell.name, ())
        if found:
            shares = " | ".join(_share(found, (action,)) for action in (DEPLOY, PAPER, NO))
            seconds = statistics.median(run.seconds for run in found)
            lines.append(f"| {cell.kind} | {cell.sharpe:g} | {len(found)} | {shares} | {seconds:.0f} |")
    return "\n".join(lines)


def target_rows(cells: Sequence[Cell], runs: Runs) -> list[Row]:
    """Return each target with what was reached, for every cell that it is about and that has runs."""
    rows = []
    for number, target in enumerate(TARGETS, 1):
        for cell in cells:
            found = runs.get(cell.name, ())
            if found and cell.sharpe == target.sharpe:
                reached = _count(found, target.actions) / len(found)
                rows.append(
                    Row(
                        target=number,
                        what=f"{' or '.join(action.replace('_', ' ') for action in target.actions)}: {cell.name}",
                        wanted=target.wanted,
                        reached=_share(found, target.actions),
                        met=reached <= target.share if target.is_ceiling else reached >= target.share,
                    )
                )
    return rows


def uniformity_rows(cells: Sequence[Cell], runs: Runs) -> list[Row]:
    """Return whether the p-values out of sample are uniform in each cell without skill; open with too few runs."""
    rows = []
    for cell in cells:
        known = _p_values(runs.get(cell.name, ()), "out of sample")
        if cell.sharpe or not known:
            continue
        found = float(kstest(known, "uniform").pvalue)
        enough = len(known) >= UNIFORM_SEEDS
        rows.append(
            Row(
                target=len(TARGETS) + 1,
                what=f"p-values out of sample uniform (Kolmogorov-Smirnov): {cell.name}",
                wanted=f"p > {UNIFORM} over {UNIFORM_SEEDS} runs",
                reached=f"p = {found:.2g} over {len(known)} runs",
                met=False if found <= UNIFORM else True if enough else None,
            )
        )
    return rows


def check_table(cells: Sequence[Cell], runs: Runs) -> str:
    """Return how often each check of the recommendation was not met, unknown ones included."""
    return _frequencies("check", cells, runs, lambda run: [name for name, met in run.checks.items() if met is not True])


def missed_table(cells: Sequence[Cell], runs: Runs) -> str:
    """Return how often the last attempt missed each criterion of its gate, or had no feasible trial."""
    return _frequencies("missed by the last attempt", cells, runs, lambda run: run.missed)


def p_value_table(cells: Sequence[Cell], runs: Runs) -> str:
    """Return how often the p-values are small, and whether they are uniform (Kolmogorov and Smirnov).

    Without skill, a share of 5 % is below 0.05. A run without a winner has no p-value and counts as not below.
    """
    lines = [
        "| cell | p-value | runs with one | <= 0.01 | <= 0.05 | <= 0.5 | uniform, p of the test |",
        "|---|" + "---|" * 6,
    ]
    for cell in cells:
        found = runs.get(cell.name, ())
        for name in dict.fromkeys(name for run in found for name in run.p_values):
            known = _p_values(found, name)
            if known:
                below = (_interval(sum(p <= bound for p in known), len(found)) for bound in (0.01, 0.05, 0.5))
                uniform = f"{kstest(known, 'uniform').pvalue:.2g}"
                lines.append(
                    f"| {cell.name} | {name} | {len(known)} of {len(found)} | {' | '.join(below)} | {uniform} |"
                )
    return "\n".join(lines)


def _p_values(found: Sequence[Finished], name: str) -> list[float]:
    return [p for run in found if (p := run.p_values.get(name)) is not None]


def floor_table(cells: Sequence[Cell], runs: Runs, surrogates: int) -> str:
    """Return the shares of recommendations at best if the p-values came from a null test of so many markets.

    Its smallest p-value is 1 / (surrogates + 1). A smaller one of the t distribution is raised to that.
    """
    return _frequencies(
        f"with {surrogates} surrogate markets at best",
        cells,
        runs,
        lambda run: [with_floor(run, 1 / (surrogates + 1)).replace("_", " ")],
        by_name=True,
    )


def with_floor(run: Finished, floor: float) -> str:
    """Return a run's recommendation if its p-value out of sample cannot be below `floor`."""
    seen, held = (run.p_values.get(name) for name in ("out of sample", "holdout"))
    if seen is None or run.action == NO:
        return run.action
    p = fisher([max(seen, floor), *([held] if held is not None else [])])
    return NO if p > SOME else PAPER if p > STRONG else run.action


def mandate_table(cells: Sequence[Cell], runs: Runs) -> str:
    """Return how often the mandate was met."""
    return _frequencies("mandate", cells, runs, lambda run: ["met" if run.mandate else "missed"], by_name=True)


def level_table(cells: Sequence[Cell], runs: Runs) -> str:
    """Return at which level runs ended."""
    return _frequencies("last level", cells, runs, lambda run: [f"level {run.last}"], by_name=True)


def reach_table(cells: Sequence[Cell], runs: Runs) -> str:
    """Return how often the rule that knows the edge meets each gate on validation, and all of them."""
    with_rule = [cell for cell in cells if cell.sharpe]
    return _frequencies("gate met by the rule", with_rule, runs, _gates_met, by_name=True)


def bound_table(cells: Sequence[Cell], reach: Mapping[str, Mapping[str, object]]) -> str:
    """Return in how many markets the rule meets each gate without a search, and what it misses most; see `reach.py`."""
    lines = ["| cell | seeds | gate met | share | missed |", "|---|---|---|---|---|"]
    for cell in cells:
        found = reach.get(cell.name)
        if found is None:
            continue
        seeds, met, missed = found["seeds"], found["met"], found["missed"]
        assert isinstance(seeds, int) and isinstance(met, Mapping) and isinstance(missed, Mapping)
        for gate, count in met.items():
            names = [f"{name.partition(': ')[2]} {times}" for name, times in missed.items() if name.startswith(gate)]
            lines.append(f"| {cell.name} | {seeds} | {gate} | {_interval(count, seeds)} | {', '.join(names)} |")
    return "\n".join(lines)


def _gates_met(run: Finished) -> list[str]:
    met = [f"level {name}" for name, missed in run.rule_missed.items() if not missed]
    return [*met, "all levels"] if len(met) == len(run.rule_missed) else met


def _frequencies(
    title: str,
    cells: Sequence[Cell],
    runs: Runs,
    names_of: Callable[[Finished], Sequence[str]],
    *,
    by_name: bool = False,
) -> str:
    measured = [cell for cell in cells if runs.get(cell.name)]
    counts = {cell.name: defaultdict(int) for cell in measured}
    for cell in measured:
        for run in runs[cell.name]:
            for name in dict.fromkeys(names_of(run)):
                counts[cell.name][name] += 1
    names = sorted({name for found in counts.values() for name in found})
    if not by_name:
        names.sort(key=lambda name: -sum(found[name] / len(runs[cell]) for cell, found in counts.items()))
    lines = [f"| {title} | " + " | ".join(cell.name for cell in measured) + " |", "|---|" + "---|" * len(measured)]
    for name in names:
        shares = " | ".join(f"{counts[cell.name][name] / len(runs[cell.name]):.0%}" for cell in measured)
        lines.append(f"| {name} | {shares} |")
    return "\n".join(lines)


def rule_table(kind: Kind, curve: Sequence[Mapping[str, float]]) -> str:
    """Return what the calibrated rule of a kind earns at each strength of the edge, at the size of the risk budget.

    Win rate, profit factor, drawdown and trades are means over markets of six and a half years.
    """
    lines = [
        "| kind | strength | Sharpe | standard error | win rate | profit factor | maximum intrabar drawdown | trades |",
        "|---|" + "---|" * 7,
    ]
    lines += [
        f"| {kind} | {at['strength']:g} | {at['sharpe']:.2f} | {at['standard_error']:.2f} | {at['win_rate']:.0%} "
        f"| {at['profit_factor']:.2f} | {at['max_drawdown_intrabar']:.0%} | {at['trades']:.0f} |"
        for at in curve
    ]
    return "\n".join(lines)


def _count(found: Sequence[Finished], actions: Sequence[RecommendedAction]) -> int:
    return sum(run.action in actions for run in found)


def _share(found: Sequence[Finished], actions: Sequence[RecommendedAction]) -> str:
    return _interval(_count(found, actions), len(found))


def _interval(count: int, total: int) -> str:
    low, high = clopper_pearson(count, total)
    return f"{count / total:.0%} ({low:.0%} to {high:.0%})"
