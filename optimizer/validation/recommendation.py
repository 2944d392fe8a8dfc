"""Recommendation: decides whether to deploy, paper trade or not deploy. Pure.

Two questions are kept apart. The mandate: does the result meet every gate of the curriculum? The evidence: is there
skill, beyond what the same search finds in markets without any? Deployment needs the mandate, strong evidence and no
blocking check. Evidence alone is worth a paper trade. A mandate without evidence is luck.
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Protocol

from pydantic import JsonValue

from optimizer.curriculum.state_machine import RunOutcome
from optimizer.level.spec import Level
from optimizer.validation.checks.check import Axis, Check
from optimizer.validation.checks.diagnostics import blocking_checks, diagnostics
from optimizer.validation.checks.mandate import LevelVerdict, mandate_checks
from optimizer.validation.checks.skill import SkillEvidence, Strength, skill_checks, skill_evidence
from optimizer.validation.evidence import Evidence, NullTest, Skill
from optimizer.validation.labels import label
from optimizer.validation.stored_model import StoredModel


class RecommendedAction(StrEnum):
    """Recommended action."""

    DEPLOY = "deploy"
    PAPER_TRADE = "paper_trade"
    DO_NOT_DEPLOY = "do_not_deploy"


class Tier(StrEnum):
    """Progress of the run."""

    TARGET = "target"
    """Every level passed, and the last winner is stable under parameter changes."""
    MINIMUM = "minimum"
    """Every level but the last passed, or every level with a winner not known to be stable."""
    ESCALATED = "escalated"
    """A level before the last was not passed."""


class SkilledVerdict(LevelVerdict, Protocol):
    """Result of a level's last attempt with its skill."""

    @property
    def skill(self) -> Skill | None:
        """Skill of the winner on the days that selected nothing; None without a winner."""


class Recommendation(StoredModel):
    """Recommended action with its rule, reason and checks."""

    action: RecommendedAction
    rule: str
    """The deciding rule: mandate and evidence in words."""
    reason: str
    """Messages of the deciding checks."""
    mandate: bool
    """Whether every gate is passed with unchanged targets."""
    strength: Strength
    """Strength of the evidence of skill; none if a look-ahead was found."""
    tier: Tier
    level: str | None
    """Level of the winner; None if no level has one."""
    parameters: dict[str, int | float] | None
    checks: tuple[Check, ...]
    skill: SkillEvidence | None
    """The p-values behind the strength; None without a winner."""
    evidence: Evidence | None

    @property
    def action_words(self) -> str:
        """The action as words, such as `do not deploy`."""
        return self.action.replace("_", " ")

    @property
    def would_change(self) -> tuple[str, ...]:
        """What would change the recommendation: one line per missed check that decides."""
        return tuple(
            f"{label(check.name)}: {check.would_change}"
            for check in self.checks
            if check.axis is not Axis.DIAGNOSTIC and check.would_change
        )


def recommend(
    *,
    outcome: RunOutcome,
    levels: Sequence[Level],
    verdicts: Mapping[str, LevelVerdict],
    forced: Iterable[str],
    evidence: Evidence | None,
    null_test: NullTest | None,
    analyses: Mapping[str, Mapping[str, JsonValue]],
) -> Recommendation:
    """Make the recommendation of a finished run.

    `verdicts`: of each level's last attempt, by level; `forced`: names of changes that a user forced; `analyses`: by
    name, of the level of the evidence.
    """
    skill = skill_evidence(evidence, null_test) if evidence else None
    checks = [*mandate_checks(levels, verdicts), *skill_checks(skill), *blocking_checks(evidence, null_test, forced)]
    if evidence:
        level = next(level for level in levels if level.name == evidence.level)
        checks += diagnostics(level, evidence, null_test, analyses)
    mandate = all(check.met for check in checks if check.axis is Axis.MANDATE)
    strength = skill.strength if skill and evidence and evidence.looks_ahead is None else Strength.NONE
    action, rule, decisive = _decide(checks, strength, mandate=mandate)
    return Recommendation(
        action=action,
        rule=rule,
        reason="; ".join(check.found for check in decisive),
        mandate=mandate,
        strength=strength,
        tier=tier_of(outcome, levels, verdicts, analyses.get("stability")),
        level=evidence.level if evidence else None,
        parameters=dict(evidence.parameters) if evidence else None,
        checks=tuple(checks),
        skill=skill,
        evidence=evidence,
    )


def examined_level(levels: Sequence[Level], verdicts: Mapping[str, LevelVerdict], last: str) -> str:
    """Return the level whose winner is examined: the latest one with a winner, whether its gate passed or not.

    `last`: the level to name if none has a winner.
    """
    names = [level.name for level in levels if level.name in verdicts and verdicts[level.name].readings]
    return names[-1] if names else last


def may_open_holdout(levels: Sequence[Level], verdicts: Mapping[str, LevelVerdict]) -> bool:
    """Return whether a run came far enough to read the holdout period: its last level was judged."""
    return levels[-1].name in verdicts


def needs_null_test(levels: Sequence[Level], verdicts: Mapping[str, SkilledVerdict]) -> bool:
    """Return whether the null test can matter: the examined winner has a positive alpha out of sample.

    Without one no p-value is small, and the t distribution says so at no cost.
    """
    name = examined_level(levels, verdicts, levels[-1].name)
    found = verdicts[name].skill if name in verdicts else None
    return found is not None and found.t > 0


def tier_of(
    outcome: RunOutcome,
    levels: Sequence[Level],
    verdicts: Mapping[str, LevelVerdict],
    stability: Mapping[str, JsonValue] | None,
) -> Tier:
    """Return the tier of a run."""
    if outcome is RunOutcome.PASSED:
        return Tier.TARGET if stability and stability.get("stable") else Tier.MINIMUM
    before = levels[:-1]
    passed = before and all(level.name in verdicts and verdicts[level.name].passed for level in before)
    return Tier.MINIMUM if passed else Tier.ESCALATED


def _decide(
    checks: Sequence[Check], strength: Strength, *, mandate: bool
) -> tuple[RecommendedAction, str, list[Check]]:
    """Return action, rule and the checks that decided: the missed ones, or for deployment all that are needed."""
    rule = f"mandate {'met' if mandate else 'missed'}, {_words(strength)}"
    deciding = [check for check in checks if check.axis is not Axis.DIAGNOSTIC]
    missed = [check for check in deciding if not check.met]
    if strength is Strength.NONE:
        # Without evidence the gates and the inputs do not matter, except that a look-ahead explains it.
        against = [check for check in missed if check.axis is Axis.EVIDENCE or check.name == "no_look_ahead"]
        first = [check for check in against if check.name != "skill_strong"]
        return RecommendedAction.DO_NOT_DEPLOY, rule, [*first, *_missed_gates(missed)]
    if missed:
        blocked = any(check.axis is Axis.BLOCKING for check in missed)
        return RecommendedAction.PAPER_TRADE, f"{rule}, deployment blocked" if blocked else rule, missed
    return RecommendedAction.DEPLOY, rule, deciding


def _missed_gates(missed: Sequence[Check]) -> list[Check]:
    return [check for check in missed if check.axis is Axis.MANDATE]


def _words(strength: Strength) -> str:
    return "no evidence of skill" if strength is Strength.NONE else f"{strength} evidence of skill"
