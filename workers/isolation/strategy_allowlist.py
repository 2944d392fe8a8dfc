"""The allowlist of strategies: the built-in ones, and those that a worker's own settings name.

A trial batch from Redis names a strategy. Importing a module runs its code, so the name is checked first.
"""

from collections.abc import Collection
from dataclasses import dataclass
from pkgutil import iter_modules

from optimizer.level.spec import Level
from optimizer.strategies import built_in as built_in_strategies
from tradeschool.errors import SettingsError


class StrategyNotAllowed(SettingsError):
    """A level names a strategy that this worker may not import."""


@dataclass(frozen=True, slots=True)
class AllowedStrategies:
    """The strategies that one worker may import."""

    named: Collection[str] = ()
    """As `module:NAME`; built-in strategies are always allowed."""

    def require(self, level: Level) -> None:
        """Check a level's strategy without importing it.

        Raises:
            StrategyNotAllowed: It is not on the list.
        """
        name = level.strategy
        built_in = {module.name for module in iter_modules(built_in_strategies.__path__)}
        if name not in built_in and name not in self.named:
            raise StrategyNotAllowed(
                f"strategy {name[:80]!r} is not allowed on this worker: name it in its work.strategies, or at: "
                f"tradeschool worker start --strategy {name[:80]}"
            )


def is_user_strategy(level: Level) -> bool:
    """Whether a level's strategy is a user's module (`module:NAME`), not a built-in one."""
    return ":" in level.strategy


def user_strategies(levels: Collection[Level]) -> tuple[str, ...]:
    """The users' strategies of these levels, without duplicates."""
    return tuple(dict.fromkeys(level.strategy for level in levels if is_user_strategy(level)))
