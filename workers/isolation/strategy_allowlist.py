"""Which strategies a worker evaluates: the built-in ones, and those that its own settings name.

The name of a strategy comes with an order, from Redis. A module is a stranger's code as soon as it is imported, so
the name is held against this list first.
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
    """The list of one worker."""

    named: Collection[str] = ()
    """As `module:NAME`; built-in strategies are always allowed."""

    def require(self, level: Level) -> None:
        """Refuse a level whose strategy is not on the list; imports nothing.

        Raises:
            StrategyNotAllowed: with the name, and what allows it.
        """
        name = level.strategy
        built_in = {module.name for module in iter_modules(built_in_strategies.__path__)}
        if name not in built_in and name not in self.named:
            raise StrategyNotAllowed(
                f"strategy {name[:80]!r} is not one that this worker evaluates: name it in its work.strategies, or at: "
                f"tradeschool worker start --strategy {name[:80]}"
            )


def is_users(level: Level) -> bool:
    """Whether a level's strategy is a stranger's code: none that comes with the project."""
    return ":" in level.strategy


def own_strategies(levels: Collection[Level]) -> tuple[str, ...]:
    """The strategies of these levels that are not built in, each once."""
    return tuple(dict.fromkeys(level.strategy for level in levels if is_users(level)))
