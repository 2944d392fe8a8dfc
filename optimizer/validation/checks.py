"""Checks behind a recommendation: each compares one figure of the run or its evidence with a bound. Pure."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Protocol

from pydantic import JsonValue

from optimizer.level.spec import Level, Part, trades_needed
from optimizer.validation.evidence import (
    BacktestOverfitting,
    DeflatedSharpe,
    Evidence,
    ExcessReturn,
    HoldoutResult,
    NullTest,
)
from optimizer.validation.holdout_log import HOLDOUT
from optimizer.validation.stored_model import StoredModel

EVEN_CHANCE = 0.5
"""Bound of DSR, PBO and the null test's false-positive rate beyond which selection bias is the likelier explanation."""
CONFIDENT = 0.95
"""DSR from which a Sharpe ratio counts as significant after correction for the number of trials."""
LOW_CHANCE = 0.2
"""Upper bound of PBO, and of the upper confidence limit of the false-positive rate, for deployment."""


class CheckStage(StrEnum):
    """Purpose that a check is required for."""

    PAPER = "paper"
    DEPLOY = "deploy"


class Check(StoredModel):
    """One check with its result."""

    name: str
    needed_for: CheckStage
    met: bool | None
    """None if unknown."""
    found: str
    """Message: the statistic, its value and the required bound."""
    value: float | None = None
    bound: float | None = None


class LevelVerdict(Protocol):
    """Result of a level's last attempt, as checks read it."""

    @property
    def passed(self) -> bool:
        """Whether the gate passed."""

    @property
    def relaxed(self) -> float:
        """Share by which the gate's targets were relaxed."""

    @property
    def reason(self) -> str:
        """Reason why the gate passed or failed."""


def run_checks(levels: Sequence[Level], verdicts: Mapping[str, LevelVerdict], forced: Iterable[str]) -> Iterable[Check]:
    """Yield the checks of the run itself: its gates, relaxed targets, and forced changes."""
    first = levels[:-1] or levels
    for level in levels:
        verdict = verdicts.get(level.name)
        said = verdict.reason if verdict else "not reached"
        yield Check(
            name=f"gate_{level.name}",
            needed_for=CheckStage.PAPER if level in first else CheckStage.DEPLOY,
            met=verdict.passed if verdict else False,
            found=f"gate of level {level.name}: {said}",
        )
    relaxed = [name for name, verdict in verdicts.items() if verdict.passed and verdict.relaxed]
    yield Check(
        name="targets_unchanged",
        needed_for=CheckStage.DEPLOY,
        met=not relaxed,
        found=f"gate targets relaxed at level {', '.join(relaxed)}" if relaxed else "no gate target relaxed",
    )
    mixed = sorted(set(forced))
    yield Check(
        name="nothing_mixed",
        needed_for=CheckStage.DEPLOY,
        met=not mixed,
        found=f"resumed with --force after a change: {', '.join(mixed)}"
        if mixed
        else "code, settings and candles unchanged",
    )


def evidence_checks(
    levels: Sequence[Level],
    evidence: Evidence | None,
    null_tests: Mapping[str, NullTest],
    analyses: Mapping[str, Mapping[str, JsonValue]],
) -> Iterable[Check]:
    """Yield the checks of the evidence; none without evidence."""
    if evidence is None:
        return
    level = next(level for level in levels if level.name == evidence.level)
    leak = evidence.looks_ahead
    yield Check(
        name="no_look_ahead",
        needed_for=CheckStage.PAPER,
        met=leak is None,
        found=f"look-ahead found: {leak}" if leak else "no look-ahead: no signal changes when later bars are removed",
    )
    yield from _overfitting_checks(evidence.deflation, evidence.overfit, null_tests.get(evidence.level))
    yield from _stability_check(analyses.get("stability"))
    yield from _regime_check(analyses.get("regimes"))
    yield from _holdout_checks(level, evidence)


def _overfitting_checks(
    deflation: DeflatedSharpe, overfit: BacktestOverfitting, null: NullTest | None
) -> Iterable[Check]:
    what = f"deflated Sharpe ratio (DSR, {deflation.trials:,} trials)"
    yield _at_least("deflated_sharpe", deflation.probability, EVEN_CHANCE, what, CheckStage.PAPER)
    yield _at_least("deflated_sharpe_95", deflation.probability, CONFIDENT, what)
    what = "probability of backtest overfitting (PBO, CSCV)"
    yield _at_most("overfitting", overfit.probability, EVEN_CHANCE, what, CheckStage.PAPER)
    yield _at_most("overfitting_20", overfit.probability, LOW_CHANCE, what)
    what = "false-positive rate of the gate (null test on surrogate markets)"
    yield _at_most("null", null.pass_rate if null else None, EVEN_CHANCE, what, CheckStage.PAPER)
    yield _at_most("null_20", null.high if null else None, LOW_CHANCE, f"{what}, upper limit of its 95 % interval")


def _stability_check(found: Mapping[str, JsonValue] | None) -> Iterable[Check]:
    kept = found.get("median_kept") if found else None
    share = f"{kept:.0%}" if isinstance(kept, int | float) else "an unknown share"
    yield Check(
        name="stable",
        needed_for=CheckStage.DEPLOY,
        met=bool(found.get("stable")) if found else None,
        found=f"parameter sensitivity: the median neighbour retains {share} of the winner's Sharpe ratio"
        if found
        else "parameter sensitivity: not computed",
        value=kept if isinstance(kept, int | float) else None,
    )


def _regime_check(found: Mapping[str, JsonValue] | None) -> Iterable[Check]:
    part = found.get(Part.VALIDATION) if found else None
    carries = part.get("one_cell_carries") if isinstance(part, dict) else None
    if isinstance(carries, bool):
        said = "one market regime dominates the profit" if carries else "no single market regime dominates the profit"
        yield Check(name="more_than_one_regime", needed_for=CheckStage.DEPLOY, met=not carries, found=said)


def _holdout_checks(level: Level, evidence: Evidence) -> Iterable[Check]:
    look = evidence.holdout
    if look is None:
        yield Check(
            name="holdout",
            needed_for=CheckStage.DEPLOY,
            met=None,
            found=f"holdout period not opened: {evidence.holdout_missing}",
        )
        return
    yield from _holdout_result_checks(level, look)
    found: ExcessReturn | None = next((each for each in evidence.excess if each.part == HOLDOUT), None)
    what = f"annual excess return over {found.benchmark if found else 'buy and hold'} on the holdout period"
    yield _above("holdout_excess", found.a_year if found else None, 0.0, what)


def _holdout_result_checks(level: Level, look: HoldoutResult) -> Iterable[Check]:
    readings = {reading.name: reading for reading in look.readings}
    fall_limit, needed = level.gate.max_drawdown_intrabar, trades_needed(level, Part.TEST)
    sharpe, fall, trades = readings["sharpe"], readings["max_drawdown_intrabar"], readings["trades"]
    yield _above("holdout_sharpe", _known(sharpe.value), 0.0, "Sharpe ratio on the holdout period", CheckStage.PAPER)
    yield _above(
        "holdout_sharpe_low",
        _known(sharpe.low),
        0.0,
        "Sharpe ratio on the holdout period, lower limit of its 95 % interval",
    )
    yield _at_most(
        "holdout_drawdown", _known(fall.value), fall_limit, "maximum intrabar drawdown on the holdout period"
    )
    yield _at_least("holdout_trades", trades.value, needed, "trades on the holdout period")


def _at_least(name: str, value: float | None, bound: float, what: str, step: CheckStage = CheckStage.DEPLOY) -> Check:
    return _checked(name, value, bound, f"{what}: {{}}, required >= {bound:g}", step, lambda found: found >= bound)


def _above(name: str, value: float | None, bound: float, what: str, step: CheckStage = CheckStage.DEPLOY) -> Check:
    return _checked(name, value, bound, f"{what}: {{}}, required > {bound:g}", step, lambda found: found > bound)


def _at_most(name: str, value: float | None, bound: float, what: str, step: CheckStage = CheckStage.DEPLOY) -> Check:
    return _checked(name, value, bound, f"{what}: {{}}, required <= {bound:g}", step, lambda found: found <= bound)


def _checked(
    name: str, value: float | None, bound: float, said: str, step: CheckStage, is_met: Callable[[float], bool]
) -> Check:
    return Check(
        name=name,
        needed_for=step,
        met=None if value is None else is_met(value),
        found=said.format(_figure(value)),
        value=value,
        bound=bound,
    )


def _figure(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3g}"


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
