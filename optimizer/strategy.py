"""What a strategy is: declared parameters, and entry signals from candles.

A built-in strategy is a file in `optimizer/strategies/` with a `STRATEGY`; a user's is named `module:NAME`.
"""

import importlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from optimizer import strategies
from optimizer.backtest.prepare import Prepared
from optimizer.level import Bounds, Direction
from tradeschool import folder
from tradeschool.errors import SettingsError


@dataclass(frozen=True, slots=True, kw_only=True)
class IntParameter:
    """A whole number that a search may choose."""

    name: str
    low: int
    """Hard bound: no level and no retry searches below it."""
    high: int
    """Hard bound, included."""
    default: int
    meaning: str
    """One line for people."""
    log: bool = False
    """Whether a search draws its logarithm evenly."""
    step: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class FloatParameter:
    """A number that a search may choose."""

    name: str
    low: float
    """Hard bound: no level and no retry searches below it."""
    high: float
    """Hard bound, included."""
    default: float
    meaning: str
    """One line for people."""
    log: bool = False
    """Whether a search draws its logarithm evenly."""
    step: float | None = None
    """Distance of the values searched; None for all of them."""


Parameter = IntParameter | FloatParameter


@dataclass(frozen=True, slots=True, kw_only=True)
class AtrStops:
    """Names of the parameters that place a strategy's stop and target."""

    period: str
    """Bars of Wilder's average true range."""
    stop: str
    """Distance of the stop from the fill, in ATRs of the signal's bar."""
    target: str
    """Distance of the target from the fill, in ATRs of the signal's bar."""


@runtime_checkable
class Strategy(Protocol):
    """Signals from candles. Must not keep state between calls: trials run in any order, in any process."""

    @property
    def name(self) -> str:
        """What a level calls it."""

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Everything that a search may choose, and within what bounds."""

    @property
    def stops(self) -> AtrStops | None:
        """How stop and target are placed; None leaves every position to the signals."""

    def warm_up(self, bounds: Mapping[str, Bounds]) -> int:
        """Bars before the first one that may be judged, for any parameters within `bounds`."""

    def repair(self, parameters: Mapping[str, float]) -> dict[str, float]:
        """The nearest parameters that make sense together, within the hard bounds; sound ones unchanged."""

    def signals(self, prepared: Prepared, parameters: Mapping[str, float], direction: Direction) -> NDArray[np.int8]:
        """What each bar says at its close, from itself and earlier bars only; shape (n_bars,).

        +1 be long, -1 be short, 2 be out, 0 nothing. It fills at the open of the next bar. A signal against
        the position leaves it, and turns it where the level trades both directions; one that agrees with the
        position is ignored, and so is one that the direction forbids while there is no position.
        """


def load(name: str) -> Strategy:
    """The built-in strategy of that name, or the object that `module:NAME` names.

    Raises:
        SettingsError: where there is none, with the known names, or where it is no strategy.
    """
    found = _import(name) if ":" in name else _built_in(name)
    if not isinstance(found, Strategy):
        raise SettingsError(f"strategy {name!r}: expected {_members()}, was {type(found).__name__}")
    return found


def bounds_of(strategy: Strategy) -> dict[str, Bounds]:
    """The hard bounds of every parameter."""
    return {parameter.name: (parameter.low, parameter.high) for parameter in strategy.parameters}


def check_parameters(strategy: Strategy, parameters: Mapping[str, float]) -> None:
    """Passes parameters that are complete, of the right kind and inside the hard bounds.

    Raises:
        SettingsError: which strategy, which parameter, what was expected.
    """
    check_names(strategy, parameters)
    for parameter in strategy.parameters:
        _check_value(strategy, parameter, parameters[parameter.name])


def check_names(strategy: Strategy, named: Mapping[str, object]) -> None:
    """Passes a mapping that names every parameter and nothing else.

    Raises:
        SettingsError: which names are unknown or missing, and which are known.
    """
    known = [parameter.name for parameter in strategy.parameters]
    if unknown := [name for name in named if name not in known]:
        raise SettingsError(f"strategy {strategy.name!r} has no {', '.join(unknown)}: it has {', '.join(known)}")
    if missing := [name for name in known if name not in named]:
        raise SettingsError(f"strategy {strategy.name!r}: {', '.join(missing)} is missing")


def _check_value(strategy: Strategy, parameter: Parameter, value: float) -> None:
    subject = f"strategy {strategy.name!r}: {parameter.name}"
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise SettingsError(f"{subject}: expected a number, was {value!r}")
    if isinstance(parameter, IntParameter) and value != int(value):
        raise SettingsError(f"{subject}: expected a whole number, was {value!r}")
    if not parameter.low <= value <= parameter.high:
        raise SettingsError(f"{subject}: expected {parameter.low:g}..{parameter.high:g}, was {value!r}")


def _built_in(name: str) -> object:
    known = folder.entries(strategies, "STRATEGY")
    if name not in known:
        raise SettingsError(f"unknown strategy {name!r}: expected one of {', '.join(known)}, or module:NAME")
    return known[name]


def _import(name: str) -> object:
    module, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise SettingsError(f"strategy {name!r} cannot be imported: {error}") from error


def _members() -> str:
    return "an object with name, parameters, stops, warm_up, repair and signals"
