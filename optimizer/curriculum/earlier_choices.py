"""Which choice of an earlier search a search may start from: one that depends on no day that judges this search.

Otherwise the search would be judged on days that its first points were chosen on. A choice depends on the days of its
own search, and on those of every choice that its search started from.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Protocol

from optimizer.level.spec import Level
from optimizer.level.walk_forward import chosen_until, first_judged


class ChosenWindow(Protocol):
    """A window of a walk-forward with its choice."""

    @property
    def number(self) -> int:
        """Counted from 1."""

    @property
    def parameters(self) -> Mapping[str, float] | None:
        """The choice; None if no trial met every constraint, or before it is made."""

    @property
    def until(self) -> date:
        """First day after all days that the choice depends on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierChoice:
    """The parameters that a search chose, and the days that they depend on."""

    name: str
    """Such as `level 3, window 2`."""
    parameters: Mapping[str, float]
    until: date
    """First day after all days that the choice depends on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inheritance:
    """What a search inherits from an earlier level."""

    choice: EarlierChoice | None
    reason: str
    """A sentence on the choice, or on why there is none."""

    @property
    def parameters(self) -> dict[str, float] | None:
        """The inherited parameters."""
        return dict(self.choice.parameters) if self.choice else None


def choices_of(
    level: str, windows: Sequence[ChosenWindow], winner: Mapping[str, float] | None, until: date | None
) -> list[EarlierChoice]:
    """Return the choices of an attempt in the order they were made: those of its windows, then its winner.

    `until`: first day after all days that the winner depends on.
    """
    found = [
        EarlierChoice(name=f"level {level}, window {each.number}", parameters=each.parameters, until=each.until)
        for each in windows
        if each.parameters is not None
    ]
    if winner is not None and until is not None:
        found.append(EarlierChoice(name=f"the winner of level {level}", parameters=winner, until=until))
    return found


def inherit(level: Level, number: int, choices: Sequence[EarlierChoice]) -> Inheritance:
    """Return what search `number` of a level inherits: the latest choice that depends on no day that judges it.

    `choices`: those of the nearest earlier level whose gate passed, in the order they were made.
    """
    if not choices:
        return Inheritance(choice=None, reason="nothing inherited: no earlier level has passed its gate")
    judged = first_judged(level, number)
    known = sorted((each for each in choices if each.until <= judged), key=lambda each: each.until)
    if known:
        found = known[-1]
        said = f"inherited: {found.name}, which depends on days before {found.until}; judged from {judged} on"
        return Inheritance(choice=found, reason=said)
    earliest = min(each.until for each in choices)
    said = f"nothing inherited: every earlier choice depends on days up to {earliest}, and {judged} is judged here"
    return Inheritance(choice=None, reason=said)


def window_before(windows: Sequence[ChosenWindow], number: int) -> ChosenWindow | None:
    """Return the nearest window before search `number` that has a choice, from which the search starts."""
    found = [each for each in windows if each.number < number and each.parameters is not None]
    return max(found, key=lambda each: each.number, default=None)


def depends_until(level: Level, number: int, inherited: Inheritance, windows: Sequence[ChosenWindow]) -> date:
    """Return the first day after all days that the choice of search `number` depends on."""
    before = window_before(windows, number)
    through = [inherited.choice.until] if inherited.choice else []
    return max([chosen_until(level, number), *through, *([before.until] if before else [])])
