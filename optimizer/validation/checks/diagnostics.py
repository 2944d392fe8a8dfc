"""Blocking checks, which rule out deployment, and diagnostics, which warn and decide nothing."""

from collections.abc import Iterable, Mapping

from pydantic import JsonValue

from optimizer.level.spec import Level, Part, trades_needed
from optimizer.validation.checks.check import Axis, Check, above, at_least, at_most, known
from optimizer.validation.evidence import DeflatedSharpe, Evidence, HoldoutResult, NullTest
from optimizer.validation.holdout_log import HOLDOUT

NULL_TEST = "null_test"
"""Name of the check that the null test was run."""
CONFIDENT = 0.95
"""DSR from which a Sharpe ratio counts as significant after correction for the number of trials."""
LOW_CHANCE = 0.2
"""Upper bound of PBO, and of the upper confidence limit of the mandate's false-positive rate."""


def blocking_checks(evidence: Evidence | None, null: NullTest | None, forced: Iterable[str]) -> Iterable[Check]:
    """Yield the checks that rule out deployment; those of a winner only with evidence."""
    mixed = sorted(set(forced))
    yield Check(
        name="nothing_mixed",
        axis=Axis.BLOCKING,
        met=not mixed,
        found=f"resumed with --force after a change: {', '.join(mixed)}"
        if mixed
        else "code, settings and candles unchanged",
        would_change="a new run of the same curriculum" if mixed else "",
    )
    if evidence is None:
        return
    leak = evidence.looks_ahead
    yield Check(
        name="no_look_ahead",
        axis=Axis.BLOCKING,
        met=leak is None,
        found=f"look-ahead found: {leak}" if leak else "no look-ahead: no signal changes when later bars are removed",
        would_change="a strategy that reads no later bar; until then no figure of this run counts" if leak else "",
    )
    yield _null_test_check(evidence, null)
    yield Check(
        name="holdout",
        axis=Axis.BLOCKING,
        met=True if evidence.holdout else None,
        found=f"holdout period opened: {evidence.holdout.window}"
        if evidence.holdout
        else f"holdout period not opened: {evidence.holdout_missing}",
        would_change="" if evidence.holdout else "fetch its candles, then: tradeschool optimize report",
    )


def _null_test_check(evidence: Evidence, null: NullTest | None) -> Check:
    seen = evidence.out_of_sample
    if null:
        found = f"null test run: {null.surrogates:,} surrogate market{'' if null.surrogates == 1 else 's'}"
    elif seen and seen.t > 0:
        found = "null test not run: Student's t distribution alone does not notice an error in candles or backtest"
    else:
        found = "null test not run: alpha out of sample is not positive"
    return Check(
        name=NULL_TEST,
        axis=Axis.BLOCKING,
        met=True if null else None,
        found=found,
        would_change="" if null or not seen or seen.t <= 0 else "tradeschool optimize null",
    )


def diagnostics(
    level: Level, evidence: Evidence, null: NullTest | None, analyses: Mapping[str, Mapping[str, JsonValue]]
) -> Iterable[Check]:
    """Yield the diagnostics of a winner; `level`: that of the evidence."""
    yield _deflation_check("deflated_sharpe", evidence.deflation, "trial{}", "on train")
    if evidence.out_of_sample_deflation:
        found = evidence.out_of_sample_deflation
        yield _deflation_check("deflated_sharpe_out_of_sample", found, "attempt{} on its days", "out of sample")
    what = "probability of backtest overfitting (PBO, CSCV)"
    yield at_most("overfitting", evidence.overfit.probability, LOW_CHANCE, what)
    what = "false-positive rate of the mandate (null test), upper limit of its 95 % interval"
    yield at_most("null", null.high if null else None, LOW_CHANCE, what)
    yield _stability_check(analyses.get("stability"))
    yield from _regime_check(analyses.get("regimes"))
    if evidence.holdout:
        yield from _holdout_checks(level, evidence, evidence.holdout)


def _deflation_check(name: str, found: DeflatedSharpe, counted: str, where: str) -> Check:
    number = f"{found.trials:,} {counted.format('' if found.trials == 1 else 's')}"
    what = f"deflated Sharpe ratio {where} (DSR, {number})"
    return at_least(name, found.probability, CONFIDENT, what)


def _stability_check(found: Mapping[str, JsonValue] | None) -> Check:
    kept = found.get("median_kept") if found else None
    share = f"{kept:.0%}" if isinstance(kept, int | float) else "an unknown share"
    return Check(
        name="stable",
        axis=Axis.DIAGNOSTIC,
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
        yield Check(name="more_than_one_regime", axis=Axis.DIAGNOSTIC, met=not carries, found=said)


def _holdout_checks(level: Level, evidence: Evidence, look: HoldoutResult) -> Iterable[Check]:
    readings = {reading.name: reading for reading in look.readings}
    fall_limit, needed = level.gate.max_drawdown_intrabar, trades_needed(level, Part.TEST)
    sharpe, fall, trades = readings["sharpe"], readings["max_drawdown_intrabar"], readings["trades"]
    what = "Sharpe ratio on the holdout period"
    yield above("holdout_sharpe", known(sharpe.value), 0.0, what)
    yield above("holdout_sharpe_low", known(sharpe.low), 0.0, f"{what}, lower limit of its 95 % interval")
    what = "maximum intrabar drawdown on the holdout period"
    yield at_most("holdout_drawdown", known(fall.value), fall_limit, what)
    yield at_least("holdout_trades", trades.value, needed, "trades on the holdout period")
    excess = next((each for each in evidence.excess if each.part == HOLDOUT), None)
    what = f"annual excess return over {excess.benchmark if excess else 'buy and hold'} on the holdout period"
    yield above("holdout_excess", excess.a_year if excess else None, 0.0, what)
