"""Checks of the mandate: every gate of the curriculum is passed with unchanged targets."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from optimizer.level.spec import Level
from optimizer.validation.checks.check import Axis, Check, months_of
from optimizer.validation.gate import Criterion
from optimizer.validation.labels import GATE


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

    @property
    def readings(self) -> Sequence[Criterion]:
        """The gate on validation; empty without a winner."""

    @property
    def validation_days(self) -> float:
        """Number of days behind the readings; NaN without a winner."""

    @property
    def nearest(self) -> Mapping[str, float]:
        """Without a winner: what the nearest trial misses on train, by constraint."""


def mandate_checks(levels: Sequence[Level], verdicts: Mapping[str, LevelVerdict]) -> Iterable[Check]:
    """Yield one check per gate, and whether targets were relaxed."""
    for level in levels:
        verdict = verdicts.get(level.name)
        yield Check(
            name=f"{GATE}{level.name}",
            axis=Axis.MANDATE,
            met=verdict.passed if verdict else False,
            found=f"gate of level {level.name}: {verdict.reason if verdict else 'not reached'}",
            would_change=_what_would_change(verdict) if verdict and not verdict.passed else "",
        )
    relaxed = [name for name, verdict in verdicts.items() if verdict.passed and verdict.relaxed]
    yield Check(
        name="targets_unchanged",
        axis=Axis.MANDATE,
        met=not relaxed,
        found=f"gate targets relaxed at level {', '.join(relaxed)}" if relaxed else "no gate target relaxed",
        would_change="a run whose gates pass with their original targets" if relaxed else "",
    )


def _what_would_change(verdict: LevelVerdict) -> str:
    missed = [reading for reading in verdict.readings if not reading.met]
    if missed:
        return "; ".join(_distance(reading, verdict.validation_days) for reading in missed)
    near = ", ".join(f"{name} by {violation:.3g}" for name, violation in verdict.nearest.items() if violation > 0)
    return f"the nearest trial misses {near} on train" if near else ""


def _distance(reading: Criterion, days: float) -> str:
    if math.isnan(reading.value):
        return f"{reading.name} is undefined"
    far = f"{reading.name} {reading.value:.3g} misses {reading.target:g} by {abs(reading.value - reading.target):.3g}"
    if reading.name == "trades":
        return f"{far}: {_months_of_trades(reading, days)}"
    if reading.low <= reading.target <= reading.high:
        return f"{far}: no further days at this level would change it, but its 95 % interval includes the target"
    return f"{far}: no further days at this level would change it"


def _months_of_trades(reading: Criterion, days: float) -> str:
    if reading.value <= 0 or math.isnan(days):
        return "no number of further days at this level is enough"
    return f"{months_of(days * (reading.target / reading.value - 1.0))} at this level"
