"""Proxy of a strategy in a process that must not run its code: it has the declaration and delegates all calls."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, NoReturn

from optimizer.level.spec import Bounds, Direction
from optimizer.strategies.protocol import (
    BarStrategy,
    CategoricalParameter,
    FloatParameter,
    IntParameter,
    Parameter,
    Strategy,
)
from tradeschool.errors import SettingsError, TradeschoolError
from tradeschool.markets.timeframes import Timeframe

KINDS: Mapping[str, type[Parameter]] = {
    "int": IntParameter,
    "float": FloatParameter,
    "categorical": CategoricalParameter,
}
Ask = Callable[[str, dict[str, object]], Any]
"""Calls a step in the strategy's process, by name and arguments, and returns its result as JSON values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyDeclaration:
    """The declaration of a strategy: its name, parameters and kind."""

    name: str
    parameters: tuple[Parameter, ...]
    is_asked_by_bar: bool

    @classmethod
    def of(cls, strategy: Strategy) -> "StrategyDeclaration":
        """Read the declaration of a loaded strategy."""
        return cls(
            name=strategy.name,
            parameters=tuple(strategy.parameters),
            is_asked_by_bar=isinstance(strategy, BarStrategy),
        )

    def as_json(self) -> dict[str, object]:
        """Return JSON values for `from_json`.

        Raises:
            SettingsError: where a parameter is of no known kind.
        """
        rows = [{"kind": kind, **_fields(each, kind)} for each in self.parameters for kind in [self._kind(each)]]
        return {"name": str(self.name), "parameters": rows, "is_asked_by_bar": self.is_asked_by_bar}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> "StrategyDeclaration":
        """Restore a declaration from `as_json`."""
        return cls(
            name=told["name"],
            parameters=tuple(_parameter(**row) for row in told["parameters"]),
            is_asked_by_bar=told["is_asked_by_bar"],
        )

    def _kind(self, parameter: Parameter) -> str:
        for name, kind in KINDS.items():
            if isinstance(parameter, kind):
                return name
        expected = ", ".join(kind.__name__ for kind in KINDS.values())
        raise SettingsError(f"strategy {self.name!r}: parameters: expected {expected}, was {type(parameter).__name__}")


class _StrategyProxy:
    def __init__(self, declared: StrategyDeclaration, ask: Ask) -> None:
        self._declared, self._ask = declared, ask

    @property
    def name(self) -> str:
        """Return the declared name."""
        return self._declared.name

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Return the declared parameters."""
        return self._declared.parameters

    def warm_up(self, bounds: Mapping[str, Bounds], timeframe: Timeframe) -> int:
        """Return the warm-up in bars; computed in the strategy's process."""
        asked = {name: [*pair] for name, pair in bounds.items()}
        return int(self._ask("warm_up", {"bounds": asked, "timeframe": timeframe.name}))

    def repair(self, parameters: Mapping[str, float]) -> dict[str, float]:
        """Return the repaired parameters; computed in the strategy's process."""
        return dict(self._ask("repair", {"parameters": dict(parameters)}))

    def _refuse(self, what: str) -> NoReturn:
        raise TradeschoolError(f"strategy {self.name}: {what} was asked for in a process that runs no strategy's code")


class SignalStrategyProxy(_StrategyProxy):
    """Proxy of a strategy that computes signals over all candles."""

    def signals(self, candles: object, parameters: Mapping[str, float], direction: Direction) -> NoReturn:
        """Raise an error: this process runs no strategy code."""
        del candles, parameters, direction
        self._refuse("a signal")


class BarStrategyProxy(_StrategyProxy):
    """Proxy of a strategy that decides bar by bar."""

    def decider(self, dataset: object, parameters: Mapping[str, float], direction: Direction) -> NoReturn:
        """Raise an error: this process runs no strategy code."""
        del dataset, parameters, direction
        self._refuse("a decision")


def proxy_of(declared: StrategyDeclaration, ask: Ask) -> SignalStrategyProxy | BarStrategyProxy:
    """Return the proxy of the strategy with this declaration."""
    return (BarStrategyProxy if declared.is_asked_by_bar else SignalStrategyProxy)(declared, ask)


def _fields(parameter: Parameter, kind: str) -> dict[str, object]:
    return {each.name: getattr(parameter, each.name) for each in fields(KINDS[kind])}


def _parameter(kind: str, **told: Any) -> Parameter:
    if kind == "categorical":
        told["choices"] = tuple(told["choices"])
    if told.get("search") is not None:
        told["search"] = tuple(told["search"])
    return KINDS[kind](**told)
