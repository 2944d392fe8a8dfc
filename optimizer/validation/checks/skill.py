"""Evidence of skill: the p-value out of sample, that of the holdout period, and both combined."""

import math
from collections.abc import Iterable
from enum import StrEnum

from optimizer.validation.checks.check import Axis, Check, months_of
from optimizer.validation.evidence import Evidence, NullTest, Skill
from optimizer.validation.statistics.p_values import fisher, further_days, monte_carlo_p, needed_p
from optimizer.validation.stored_model import StoredModel

SOME, STRONG = 0.05, 0.01
"""Bounds of the combined p-value for some and for strong evidence."""


class Strength(StrEnum):
    """Strength of the evidence of skill."""

    NONE = "none"
    SOME = "some"
    """Combined p-value at most 0.05."""
    STRONG = "strong"
    """Combined p-value at most 0.01."""


class SkillEvidence(StoredModel):
    """The p-values of a run: of no skill, one-sided."""

    out_of_sample: Skill
    surrogates: int
    """Surrogate markets of the null test; 0 if it was not run."""
    at_least: int
    """Surrogate markets whose statistic is at least that of the run."""
    p_out_of_sample: float
    """From the null test; without one, from Student's t distribution."""
    p_holdout: float | None
    """None if the holdout period was not opened."""
    p: float
    """Both, combined by Fisher's method."""
    further_days: dict[Strength, float | None]
    """Further days like those seen until the combined p-value reaches some and strong evidence; None if none are
    enough.
    """

    @property
    def strength(self) -> Strength:
        """Strength of the combined p-value."""
        return Strength.STRONG if self.p <= STRONG else Strength.SOME if self.p <= SOME else Strength.NONE

    @property
    def sentence(self) -> str:
        """The p-values with their sources, in words."""
        source = (
            f"null test of {self.surrogates} surrogate market{'' if self.surrogates == 1 else 's'}"
            if self.surrogates
            else "Student's t distribution, because no null test was run"
            if self.out_of_sample.t > 0
            else "Student's t distribution; no null test without a positive alpha"
        )
        first = f"out of sample t = {self.out_of_sample.t:z.2f}, p = {self.p_out_of_sample:.3g} ({source})"
        if self.p_holdout is None:
            return f"{first}; holdout period not opened"
        return f"{first}; holdout period p = {self.p_holdout:.3g}; combined by Fisher's method"


def skill_evidence(evidence: Evidence, null: NullTest | None) -> SkillEvidence | None:
    """Return the p-values of a winner; None if its attempt has no account out of sample."""
    seen, held = evidence.out_of_sample, evidence.holdout.skill if evidence.holdout else None
    if seen is None:
        return None
    p_seen = monte_carlo_p(seen.t, null.t) if null else seen.p
    p_values = (p_seen, held.p) if held else (p_seen,)
    return SkillEvidence(
        out_of_sample=seen,
        surrogates=null.surrogates if null else 0,
        at_least=sum(t >= seen.t for t in null.t) if null else 0,
        p_out_of_sample=p_seen,
        p_holdout=held.p if held else None,
        p=fisher(p_values),
        further_days={
            strength: _further(seen, held, p_seen, bound)
            for strength, bound in ((Strength.SOME, SOME), (Strength.STRONG, STRONG))
        },
    )


def skill_checks(found: SkillEvidence | None) -> Iterable[Check]:
    """Yield the two checks of the combined p-value."""
    for name, strength, bound in (("skill", Strength.SOME, SOME), ("skill_strong", Strength.STRONG, STRONG)):
        said = f"p-value of no skill: {f'{found.p:.3g}' if found else 'unknown, no winner out of sample'}"
        yield Check(
            name=name,
            axis=Axis.EVIDENCE,
            met=found.p <= bound if found else False,
            found=f"{said}, required <= {bound:g}" + (f" ({found.sentence})" if found else ""),
            value=found.p if found else None,
            bound=bound,
            would_change=_what_would_change(found, strength) if found and found.p > bound else "",
        )


def _further(seen: Skill, held: Skill | None, p_seen: float, bound: float) -> float | None:
    """Return the further days at the pace of all days seen; they extend the holdout period, or what there is of it."""
    days = seen.days + (held.days if held else 0)
    if not days:
        return None
    pace = (seen.t * math.sqrt(seen.days) + (held.t * math.sqrt(held.days) if held else 0.0)) / days
    t, known = (held.t, held.days) if held else (0.0, 0)
    found = further_days(t, known, pace, needed_p([p_seen], bound))
    return found if math.isfinite(found) else None


def _what_would_change(found: SkillEvidence, strength: Strength) -> str:
    days = found.further_days[strength]
    said = (
        "no further days at the level seen so far would change it: alpha is not positive"
        if days is None
        else f"{months_of(days)} at the level seen so far"
    )
    if found.surrogates and not found.at_least:
        least = 1 / (1 + found.surrogates)
        said += f"; {found.surrogates} surrogate markets give no p-value below {least:.3g}, more of them may"
    return said
