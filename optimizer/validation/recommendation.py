"""Recommendation: decides from checks whether to deploy, paper trade or not deploy. Pure.

Each check compares one figure with a bound. A failed check of `Step.PAPER` rules out any trading; a failed check of
`Step.DEPLOY` leaves paper trading. An unknown figure counts as failed for deployment and is ignored for paper trading.
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum

from pydantic import JsonValue

from optimizer.curriculum.state_machine import RunOutcome
from optimizer.level.spec import Level
from optimizer.validation.checks import Check, CheckStage, LevelVerdict, evidence_checks, run_checks
from optimizer.validation.evidence import Evidence, NullTest
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


class Recommendation(StoredModel):
    """Recommended action with its rule, reason and checks."""

    action: RecommendedAction
    rule: str
    """The deciding rule."""
    reason: str
    """Messages of the deciding checks."""
    tier: Tier
    level: str | None
    """Level of the winner; None if no level has one."""
    parameters: dict[str, int | float] | None
    checks: tuple[Check, ...]
    evidence: Evidence | None

    @property
    def action_words(self) -> str:
        """The action as words, such as `do not deploy`."""
        return self.action.replace("_", " ")


def recommend(
    *,
    outcome: RunOutcome,
    levels: Sequence[Level],
    verdicts: Mapping[str, LevelVerdict],
    forced: Iterable[str],
    evidence: Evidence | None,
    null_tests: Mapping[str, NullTest],
    analyses: Mapping[str, Mapping[str, JsonValue]],
) -> Recommendation:
    """Make the recommendation of a finished run.

    `verdicts`: of each level's last attempt, by level; `forced`: names of changes that a user forced; `analyses`: by
    name, of the level of the evidence.
    """
    checks = [*run_checks(levels, verdicts, forced), *evidence_checks(levels, evidence, null_tests, analyses)]
    action, rule, decisive = _decide(checks)
    return Recommendation(
        action=action,
        rule=rule,
        reason="; ".join(check.found for check in decisive),
        tier=tier_of(outcome, levels, verdicts, analyses.get("stability")),
        level=evidence.level if evidence else None,
        parameters=dict(evidence.parameters) if evidence else None,
        checks=tuple(checks),
        evidence=evidence,
    )


def examined_level(levels: Sequence[Level], verdicts: Mapping[str, LevelVerdict], decisive: str) -> str:
    """Return the level whose winner is examined: the last one, if it was tried.

    If only the last level failed, it is the one before. `decisive`: the level that ended the run.
    """
    names = [level.name for level in levels]
    place = names.index(decisive)
    only_last_failed = place == len(names) - 1 and not verdicts[decisive].passed
    if only_last_failed and place and verdicts[names[place - 1]].passed:
        return names[place - 1]
    return names[-1] if names[-1] in verdicts else decisive


def may_open_holdout(outcome: RunOutcome, levels: Sequence[Level], verdicts: Mapping[str, LevelVerdict]) -> bool:
    """Return whether a run came far enough to read the holdout period."""
    return tier_of(outcome, levels, verdicts, None) is not Tier.ESCALATED


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


def _decide(checks: Sequence[Check]) -> tuple[RecommendedAction, str, list[Check]]:
    against_paper = [check for check in checks if check.needed_for is CheckStage.PAPER and check.met is False]
    if against_paper:
        return RecommendedAction.DO_NOT_DEPLOY, "a check required for any trading failed", against_paper
    against_deploying = [check for check in checks if not check.met]
    if any(check.met is False for check in against_deploying):
        return (
            RecommendedAction.PAPER_TRADE,
            "all checks for paper trading passed, but a check for deployment failed",
            against_deploying,
        )
    if against_deploying:
        return (
            RecommendedAction.PAPER_TRADE,
            "no check failed, but a check for deployment has no result",
            against_deploying,
        )
    return RecommendedAction.DEPLOY, "all checks passed", list(checks)
