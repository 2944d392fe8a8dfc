"""What a run comes to: deploy, trade on paper, or do not deploy, and which rule decided it. Pure.

Each check is one question with its figure and its bound. A check that is not met forbids what it stands for: those of
`Step.PAPER` forbid everything, those of `Step.DEPLOY` leave trading on paper. What is not known counts as not met for
deploying, and is no reason against paper.
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum

from pydantic import JsonValue

from optimizer.checks import Check, Judged, Step, evidence_checks, run_checks
from optimizer.curriculum import Outcome
from optimizer.evidence import Evidence, Null
from optimizer.kept import Kept
from optimizer.level import Level


class Action(StrEnum):
    """What is recommended."""

    DEPLOY = "deploy"
    PAPER_TRADE = "paper_trade"
    DO_NOT_DEPLOY = "do_not_deploy"


class Tier(StrEnum):
    """How far the run came."""

    TARGET = "target"
    """Every level passed, and the last winner's neighbours hold out, too."""
    MINIMUM = "minimum"
    """Every level but the last passed, or all with a winner that is not known to be stable."""
    ESCALATED = "escalated"
    """A level before the last was given up."""


class Recommendation(Kept):
    """What to do, and why."""

    action: Action
    rule: str
    """The rule that decided, in words."""
    reason: str
    """What it found."""
    tier: Tier
    level: str | None
    """Whose winner is recommended or not; None where no level has one."""
    parameters: dict[str, int | float] | None
    checks: tuple[Check, ...]
    evidence: Evidence | None

    @property
    def action_words(self) -> str:
        """Such as `do not deploy`."""
        return self.action.replace("_", " ")


def recommend(
    *,
    outcome: Outcome,
    levels: Sequence[Level],
    verdicts: Mapping[str, Judged],
    forced: Iterable[str],
    evidence: Evidence | None,
    nulls: Mapping[str, Null],
    analyses: Mapping[str, Mapping[str, JsonValue]],
) -> Recommendation:
    """The recommendation on a run that is over.

    `verdicts` are by level, of the last attempt each; `forced` names what a user has mixed; `analyses` are those of the
    level whose winner the evidence is on, by name, as far as they are there.
    """
    checks = [*run_checks(levels, verdicts, forced), *evidence_checks(levels, evidence, nulls, analyses)]
    action, rule, decisive = _decide(checks)
    return Recommendation(
        action=action,
        rule=rule,
        reason="; ".join(check.said for check in decisive),
        tier=tier_of(outcome, levels, verdicts, analyses.get("stability")),
        level=evidence.level if evidence else None,
        parameters=dict(evidence.parameters) if evidence else None,
        checks=tuple(checks),
        evidence=evidence,
    )


def tier_of(
    outcome: Outcome,
    levels: Sequence[Level],
    verdicts: Mapping[str, Judged],
    stability: Mapping[str, JsonValue] | None,
) -> Tier:
    """How far a run came."""
    if outcome is Outcome.PASSED:
        return Tier.TARGET if stability and stability.get("stable") else Tier.MINIMUM
    before = levels[:-1]
    passed = before and all(level.name in verdicts and verdicts[level.name].passed for level in before)
    return Tier.MINIMUM if passed else Tier.ESCALATED


def _decide(checks: Sequence[Check]) -> tuple[Action, str, list[Check]]:
    against_paper = [check for check in checks if check.needed_for is Step.PAPER and check.met is False]
    if against_paper:
        return Action.DO_NOT_DEPLOY, "a check that trading of any kind needs is not met", against_paper
    against_deploying = [check for check in checks if not check.met]
    if any(check.met is False for check in against_deploying):
        return (
            Action.PAPER_TRADE,
            "every check that paper trading needs is met, but not every one that deploying needs",
            against_deploying,
        )
    if against_deploying:
        return (
            Action.PAPER_TRADE,
            "nothing speaks against it, but not all that deploying needs is known",
            against_deploying,
        )
    return Action.DEPLOY, "every check is met", list(checks)
