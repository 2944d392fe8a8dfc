"""Checks behind a recommendation: each compares one figure of the run or its evidence with a bound. Pure."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Protocol

from pydantic import JsonValue

from optimizer.level.spec import Level, Part, trades_needed
from optimizer.validation.evidence import Deflation, Evidence, Excess, Null, Overfit, SealedLook
from optimizer.validation.holdout_log import SEALED
from optimizer.validation.stored_model import Kept

EVEN = 0.5
"""Bound of DSR, PBO and the null test's false-positive rate beyond which selection bias is the likelier explanation."""
LIKELY_SKILL = 0.95
"""DSR from which a Sharpe ratio counts as significant after correction for the number of trials."""
SMALL = 0.2
"""Upper bound of PBO, and of the upper confidence limit of the false-positive rate, for deployment."""


class Step(StrEnum):
    """Purpose that a check is required for."""

    PAPER = "paper"
    DEPLOY = "deploy"


class Check(Kept):
    """One check with its result."""

    name: str
    needed_for: Step
    met: bool | None
    """None if unknown."""
    said: str
    """Message: the statistic, its value and the required bound."""
    value: float | None = None
    bound: float | None = None


class Judged(Protocol):
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


def run_checks(levels: Sequence[Level], verdicts: Mapping[str, Judged], forced: Iterable[str]) -> Iterable[Check]:
    """Yield the checks of the run itself: its gates, relaxed targets, and forced changes."""
    first = levels[:-1] or levels
    for level in levels:
        verdict = verdicts.get(level.name)
        said = verdict.reason if verdict else "not reached"
        yield Check(
            name=f"gate_{level.name}",
            needed_for=Step.PAPER if level in first else Step.DEPLOY,
            met=verdict.passed if verdict else False,
            said=f"gate of level {level.name}: {said}",
        )
    relaxed = [name for name, verdict in verdicts.items() if verdict.passed and verdict.relaxed]
    yield Check(
        name="targets_kept",
        needed_for=Step.DEPLOY,
        met=not relaxed,
        said=f"gate targets relaxed at level {', '.join(relaxed)}" if relaxed else "no gate target relaxed",
    )
    mixed = sorted(set(forced))
    yield Check(
        name="nothing_mixed",
        needed_for=Step.DEPLOY,
        met=not mixed,
        said=f"resumed with --force after a change: {', '.join(mixed)}"
        if mixed
        else "code, settings and candles unchanged",
    )


def evidence_checks(
    levels: Sequence[Level],
    evidence: Evidence | None,
    nulls: Mapping[str, Null],
    analyses: Mapping[str, Mapping[str, JsonValue]],
) -> Iterable[Check]:
    """Yield the checks of the evidence; none without evidence."""
    if evidence is None:
        return
    level = next(level for level in levels if level.name == evidence.level)
    leak = evidence.looks_ahead
    yield Check(
        name="no_look_ahead",
        needed_for=Step.PAPER,
        met=leak is None,
        said=f"look-ahead found: {leak}" if leak else "no look-ahead: no signal changes when later bars are removed",
    )
    yield from _luck_checks(evidence.deflation, evidence.overfit, nulls.get(evidence.level))
    yield from _stability_check(analyses.get("stability"))
    yield from _regime_check(analyses.get("regimes"))
    yield from _sealed_checks(level, evidence)


def _luck_checks(deflation: Deflation, overfit: Overfit, null: Null | None) -> Iterable[Check]:
    what = f"deflated Sharpe ratio (DSR, {deflation.trials:,} trials)"
    yield _at_least("deflated_sharpe", deflation.probability, EVEN, what, Step.PAPER)
    yield _at_least("deflated_sharpe_95", deflation.probability, LIKELY_SKILL, what)
    what = "probability of backtest overfitting (PBO, CSCV)"
    yield _at_most("overfitting", overfit.probability, EVEN, what, Step.PAPER)
    yield _at_most("overfitting_20", overfit.probability, SMALL, what)
    what = "false-positive rate of the gate (null test on surrogate markets)"
    yield _at_most("null", null.pass_rate if null else None, EVEN, what, Step.PAPER)
    yield _at_most("null_20", null.high if null else None, SMALL, f"{what}, upper limit of its 95 % interval")


def _stability_check(found: Mapping[str, JsonValue] | None) -> Iterable[Check]:
    kept = found.get("median_kept") if found else None
    share = f"{kept:.0%}" if isinstance(kept, int | float) else "an unknown share"
    yield Check(
        name="stable",
        needed_for=Step.DEPLOY,
        met=bool(found.get("stable")) if found else None,
        said=f"parameter sensitivity: the median neighbour retains {share} of the winner's Sharpe ratio"
        if found
        else "parameter sensitivity: not computed",
        value=kept if isinstance(kept, int | float) else None,
    )


def _regime_check(found: Mapping[str, JsonValue] | None) -> Iterable[Check]:
    part = found.get(Part.VALIDATION) if found else None
    carries = part.get("one_cell_carries") if isinstance(part, dict) else None
    if isinstance(carries, bool):
        said = "one market regime dominates the profit" if carries else "no single market regime dominates the profit"
        yield Check(name="more_than_one_regime", needed_for=Step.DEPLOY, met=not carries, said=said)


def _sealed_checks(level: Level, evidence: Evidence) -> Iterable[Check]:
    look = evidence.sealed
    if look is None:
        yield Check(
            name="sealed",
            needed_for=Step.DEPLOY,
            met=None,
            said=f"holdout period not opened: {evidence.sealed_missing}",
        )
        return
    yield from _sealed_look_checks(level, look)
    found: Excess | None = next((each for each in evidence.excess if each.part == SEALED), None)
    what = f"annual excess return over {found.benchmark if found else 'buy and hold'} on the holdout period"
    yield _above("sealed_excess", found.a_year if found else None, 0.0, what)


def _sealed_look_checks(level: Level, look: SealedLook) -> Iterable[Check]:
    readings = {reading.name: reading for reading in look.readings}
    fall_limit, needed = level.gate.max_drawdown_intrabar, trades_needed(level, Part.TEST)
    sharpe, fall, trades = readings["sharpe"], readings["max_drawdown_intrabar"], readings["trades"]
    yield _above("sealed_sharpe", _known(sharpe.value), 0.0, "Sharpe ratio on the holdout period", Step.PAPER)
    yield _above(
        "sealed_sharpe_low",
        _known(sharpe.low),
        0.0,
        "Sharpe ratio on the holdout period, lower limit of its 95 % interval",
    )
    yield _at_most("sealed_drawdown", _known(fall.value), fall_limit, "maximum intrabar drawdown on the holdout period")
    yield _at_least("sealed_trades", trades.value, needed, "trades on the holdout period")


def _at_least(name: str, value: float | None, bound: float, what: str, step: Step = Step.DEPLOY) -> Check:
    return _held(name, value, bound, f"{what}: {{}}, required >= {bound:g}", step, lambda found: found >= bound)


def _above(name: str, value: float | None, bound: float, what: str, step: Step = Step.DEPLOY) -> Check:
    return _held(name, value, bound, f"{what}: {{}}, required > {bound:g}", step, lambda found: found > bound)


def _at_most(name: str, value: float | None, bound: float, what: str, step: Step = Step.DEPLOY) -> Check:
    return _held(name, value, bound, f"{what}: {{}}, required <= {bound:g}", step, lambda found: found <= bound)


def _held(
    name: str, value: float | None, bound: float, said: str, step: Step, is_met: Callable[[float], bool]
) -> Check:
    return Check(
        name=name,
        needed_for=step,
        met=None if value is None else is_met(value),
        said=said.format(_figure(value)),
        value=value,
        bound=bound,
    )


def _figure(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3g}"


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
