"""The search that a user asks for: the levels and what the options change in them."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from optimizer.curriculum.level_files import find_level, load_levels
from optimizer.level.constraints import Constraint
from optimizer.level.costs import costs_of
from optimizer.level.spec import Bounds, Level, MinTrades, Mode
from optimizer.runs.run_record import SURROGATES
from optimizer.strategies.parameter_ranges import kept_ranges, with_strategy
from tradeschool.errors import SettingsError
from tradeschool.settings.model import Settings

MAX_SEED = 2**32
LIMITS = {
    "trials": (1, None),
    "seed": (0, MAX_SEED - 1),
    "workers": (0, None),
    "early_stop": (1, None),
    "min_trades": (0, None),
    "surrogates": (0, 10_000),
}
"""Lowest and highest value of the whole numbers; None without a limit."""
VALIDATION_SHARE = 1 / 3
"""Minimum trades on validation relative to train, as in the built-in levels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchOptions:
    """Values of the search options; None or empty for options that were not given."""

    curriculum: Path | None = None
    level_name: str | None = None
    strategy: str | None = None
    trials: int | None = None
    seed: int | None = None
    workers: int | None = None
    mode: str | None = None
    objectives: Sequence[str] = ()
    sampler: str | None = None
    pruner: str | None = None
    early_stop: int | None = None
    min_trades: int | None = None
    constraints: Sequence[str] = ()
    surrogates: int = SURROGATES
    costs: str | None = None
    default_costs: str = ""
    """Cost presets of levels that set no costs."""

    def __post_init__(self) -> None:
        """Check the numbers and the mode; the command line has checked its own.

        Raises:
            SettingsError: If one is out of its limits.
        """
        for name, (lowest, highest) in LIMITS.items():
            value = getattr(self, name)
            if value is not None and not lowest <= value <= (value if highest is None else highest):
                limits = f"at least {lowest}" if highest is None else f"{lowest} to {highest}"
                raise SettingsError(f"{name}: expected {limits}, was {value}")
        if self.mode and self.mode not in set(Mode):
            raise SettingsError(f"mode: expected {' or '.join(Mode)}, was {self.mode!r}")

    @classmethod
    def of(cls, options: Mapping[str, Any], settings: Settings) -> "SearchOptions":
        """Return the options of a command, with the cost presets of the settings."""
        return cls(**options, default_costs=settings.costs)

    def levels(self) -> tuple[Level, ...]:
        """Return the levels to search, with the options' changes.

        Raises:
            SettingsError: If the file is invalid, the level does not exist, or an option cannot be parsed.
        """
        return tuple(self._changed(level.model_copy(update=self._changes(level))) for level in self._with_strategy())

    def written_levels(self) -> tuple[Level, ...]:
        """Return the chosen levels as written, without the changes of the options; no strategy is loaded.

        Raises:
            SettingsError: If the file is invalid, or the level does not exist.
        """
        levels = load_levels(self.curriculum)
        return (find_level(self.level_name, levels),) if self.level_name else levels

    def strategy_notes(self) -> dict[str, str]:
        """Return a sentence on ranges for each level that is searched with another strategy than its own, by level."""
        pairs = zip(self.written_levels(), self._with_strategy(), strict=True)
        return {level.name: _note(level, changed) for level, changed in pairs if changed.strategy != level.strategy}

    def _with_strategy(self) -> tuple[Level, ...]:
        levels = self.written_levels()
        return tuple(with_strategy(level, self.strategy) for level in levels) if self.strategy else levels

    def _changed(self, level: Level) -> Level:
        """Return the level with the given objective, sampler and pruner, validated like a level's file."""
        given = {"objective": self.objectives, "sampler": self.sampler, "pruner": self.pruner}
        changes = {name: value for name, value in given.items() if value}
        if not changes:
            return level
        try:
            return Level.model_validate({**level.model_dump(), **changes})
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            options = " ".join(f"--{name}" for name in changes if name in first["loc"]) or "--objective"
            raise SettingsError(f"{options}: {first['msg'].removeprefix('Value error, ')}") from None

    def _changes(self, level: Level) -> dict[str, object]:
        changes: dict[str, object] = {}
        if self.trials:
            changes["trials"] = self.trials
        if self.mode:
            changes["mode"] = Mode(self.mode)
        if self.early_stop:
            changes["early_stop"] = self.early_stop
        if self.min_trades is not None:
            validation = ceil(self.min_trades * VALIDATION_SHARE)
            changes["min_trades"] = MinTrades(train=self.min_trades, validation=validation)
        if presets := self.costs or (self.default_costs if "costs" not in level.model_fields_set else ""):
            changes["costs"] = costs_of(presets)
        if self.constraints:
            changes["constraints"] = (*level.constraints, *map(_constraint, self.constraints))
        return changes


def _note(level: Level, changed: Level) -> str:
    kept = kept_ranges(level, changed.strategy)
    own = {name: bounds for name, bounds in changed.ranges.items() if name not in kept}
    return (
        f"level {level.name}: {changed.strategy} instead of {level.strategy}; its own ranges: {_listed(own)}; "
        f"kept from the level: {_listed(kept) or 'no range'}"
    )


def _listed(ranges: Mapping[str, Bounds]) -> str:
    return ", ".join(f"{name} {low:g}..{high:g}" for name, (low, high) in ranges.items())


def draw_seed(seed: int | None) -> int:
    """Return the given seed, or a random one if it is None."""
    return secrets.randbelow(MAX_SEED) if seed is None else seed


def _constraint(text: str) -> Constraint:
    try:
        return Constraint.model_validate(text)
    except (ValidationError, ValueError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise SettingsError(f"--constraint {text!r}: {reason.removeprefix('Value error, ')}") from None
