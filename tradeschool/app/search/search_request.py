"""The search that a user asks for: the levels and what the options change in them."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from pydantic import ValidationError

from optimizer.curriculum.level_files import find_level, load_levels
from optimizer.level.constraints import Constraint
from optimizer.level.spec import Level, MinTrades, Mode
from optimizer.runs.run_store import SURROGATES
from tradeschool.errors import SettingsError

MAX_SEED = 2**32
VALIDATION_SHARE = 1 / 3
"""Minimum trades on validation relative to train, as in the built-in levels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchOptions:
    """Values of the search options; None or empty for options that were not given."""

    curriculum: Path | None = None
    level_name: str | None = None
    trials: int | None = None
    seed: int | None = None
    workers: int | None = None
    mode: str | None = None
    early_stop: int | None = None
    min_trades: int | None = None
    constraints: Sequence[str] = ()
    surrogates: int = SURROGATES

    def levels(self) -> tuple[Level, ...]:
        """Return the levels to search, with the options' changes.

        Raises:
            SettingsError: If the file is invalid, the level does not exist, or a constraint cannot be parsed.
        """
        levels = load_levels(self.curriculum)
        named = (find_level(self.level_name, levels),) if self.level_name else levels
        return tuple(level.model_copy(update=self._changes(level)) for level in named)

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
        if self.constraints:
            changes["constraints"] = (*level.constraints, *map(_constraint, self.constraints))
        return changes


def draw_seed(seed: int | None) -> int:
    """Return the given seed, or a random one if it is None."""
    return secrets.randbelow(MAX_SEED) if seed is None else seed


def _constraint(text: str) -> Constraint:
    try:
        return Constraint.model_validate(text)
    except (ValidationError, ValueError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise SettingsError(f"--constraint {text!r}: {reason.removeprefix('Value error, ')}") from None
