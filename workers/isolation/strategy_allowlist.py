"""The allowlist of users' code: strategies and objectives that a worker's own settings name.

A trial batch from Redis names a strategy and objectives. Importing a module runs its code, so the names are checked
first. A sampler runs on the coordinator's side; a worker imports it for surrogate markets alone.
"""

from collections.abc import Collection
from dataclasses import dataclass
from pkgutil import iter_modules
from typing import NamedTuple

from optimizer.level.spec import Level
from optimizer.strategies import built_in as built_in_strategies
from tradeschool.errors import SettingsError


class StrategyNotAllowed(SettingsError):
    """A level names a strategy or an objective that this worker may not import."""


class UserCode(NamedTuple):
    """A user's object, as `module:NAME`."""

    name: str
    kind: str = "strategy"
    """Its purpose: strategy, objective or sampler."""


@dataclass(frozen=True, slots=True)
class AllowedStrategies:
    """The strategies and objectives that one worker may import."""

    named: Collection[str] = ()
    """As `module:NAME`; built-in ones are always allowed."""

    def require(self, level: Level) -> None:
        """Check a level's strategy and objectives without importing them.

        Raises:
            StrategyNotAllowed: One is not on the list.
        """
        built_in = {module.name for module in iter_modules(built_in_strategies.__path__)}
        asked = [UserCode(level.strategy), *(UserCode(name, "objective") for name in level.objective if ":" in name)]
        for name, kind in asked:
            if name not in self.named and (kind != "strategy" or name not in built_in):
                raise StrategyNotAllowed(
                    f"{kind} {name[:80]!r} is not allowed on this worker: name it in its work.strategies, or at: "
                    f"tradeschool worker start --strategy {name[:80]}"
                )

    def require_sampler(self, level: Level) -> None:
        """Check a level's sampler, which a null test runs on workers.

        Raises:
            StrategyNotAllowed: It is a user's, and not on the list.
        """
        name = level.sampler.name if level.sampler and level.sampler.is_user_code else None
        if name is not None and name not in self.named:
            raise StrategyNotAllowed(
                f"sampler {name[:80]!r} is not allowed on this worker, which a null test needs: name it in its "
                f"work.strategies, or at: tradeschool worker start --strategy {name[:80]}"
            )


def trial_code(level: Level) -> tuple[UserCode, ...]:
    """The users' objects that an evaluation of a level's trials imports."""
    strategy = (UserCode(level.strategy),) if ":" in level.strategy else ()
    return (*strategy, *(UserCode(name, "objective") for name in level.objective if ":" in name))


def trial_code_label(level: Level) -> UserCode:
    """The users' objects of a level's trials as one name and one kind, for messages."""
    found = trial_code(level)
    kind = found[0].kind if len(found) == 1 else "strategy and objective" if found else "strategy"
    return UserCode(", ".join(code.name for code in found) or level.strategy, kind)


def runs_user_code(level: Level) -> bool:
    """Whether an evaluation of a level's trials imports a user's module."""
    return bool(trial_code(level))


def user_strategies(levels: Collection[Level]) -> tuple[str, ...]:
    """The names of all users' objects of these levels, without duplicates; a null test needs samplers, too."""
    return tuple(dict.fromkeys(code.name for code in user_code(levels)))


def user_code(levels: Collection[Level]) -> tuple[UserCode, ...]:
    """All users' objects of these levels, samplers last, without duplicates."""
    samplers = [
        UserCode(level.sampler.name, "sampler") for level in levels if level.sampler and level.sampler.is_user_code
    ]
    return tuple(dict.fromkeys([*(code for level in levels for code in trial_code(level)), *samplers]))
