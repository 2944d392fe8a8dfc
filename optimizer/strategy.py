"""What a strategy is: declared parameters, and either signals of all candles or decisions bar by bar.

A built-in strategy is a file in `optimizer/strategies/` with a `STRATEGY`; a user's is named `module:NAME`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from optimizer.backtest.prepare import Prepared
from optimizer.bounds import bounded
from optimizer.importing import find
from optimizer.level import Bounds, Direction
from tradeschool.errors import SettingsError
from tradeschool.market import Dataset, Timeframe

MEMBERS = "an object with name, parameters, warm_up, repair, and signals or decider"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One candle at its close, prices in quote per base."""

    number: int
    """Counted from the dataset's first bar."""
    time: int
    """Its open as Unix seconds."""
    open: float
    high: float
    low: float
    close: float
    half_spread: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """What is held at the close of a bar."""

    side: int
    """+1 long, -1 short."""
    entry_bar: int
    entry_price: float
    """Quote per base, as is `stop` and `target`."""
    units: float
    """Of the base currency."""
    stop: float | None
    target: float | None
    profit: float
    """In quote currency at this close, entry's costs paid, exit's not."""


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
    fixed: bool = False
    """Whether it stays at its default where a level gives it no range."""


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
    fixed: bool = False
    """Whether it stays at its default where a level gives it no range."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoricalParameter:
    """One of several choices without an order. Its value is the choice's place, counted from 0."""

    name: str
    choices: tuple[str, ...]
    default: int
    """Place of the choice that is taken where none is named."""
    meaning: str
    """One line for people."""
    fixed: bool = False
    """Whether it stays at its default where a level gives it no range."""

    @property
    def low(self) -> int:
        """Place of the first choice."""
        return 0

    @property
    def high(self) -> int:
        """Place of the last choice."""
        return len(self.choices) - 1


Parameter = IntParameter | FloatParameter | CategoricalParameter


class Declared(Protocol):
    """What every strategy says of itself, however it decides."""

    @property
    def name(self) -> str:
        """What a level calls it."""

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Everything that a search may choose, and within what bounds. A name of `optimizer.management` has the
        engine act by its rule."""

    def warm_up(self, bounds: Mapping[str, Bounds], timeframe: Timeframe) -> int:
        """Bars before the first one that may be judged, for any parameters within `bounds`.

        What the rules of `optimizer.management` need comes on top by itself.
        """

    def repair(self, parameters: Mapping[str, float]) -> dict[str, float]:
        """The nearest parameters that make sense together, within the hard bounds; sound ones unchanged."""


@runtime_checkable
class SignalStrategy(Declared, Protocol):
    """Signals of all candles at once. Must not keep state between calls: trials run in any order, in any process."""

    def signals(self, candles: Prepared, parameters: Mapping[str, float], direction: Direction) -> NDArray[np.int8]:
        """What each bar says at its close, from itself and earlier bars only; shape (n_bars,).

        +1 be long, -1 be short, 2 be out, 0 nothing. It fills at the open of the next bar. A signal against
        the position leaves it, and turns it where the level trades both directions; one that agrees with the
        position is ignored, and so is one that the direction forbids while there is no position.
        """


class Decider(Protocol):
    """A decision engine at work on one dataset, from its first bar to its last."""

    def decide(self, bar: Bar, position: Position | None) -> int:
        """What to do at the close of a bar: +1 be long, -1 be short, 2 be out, 0 nothing.

        Called once a bar, in order, the warm-up's bars included, whose answers are not traded. `position` is what
        is held at that close, None where nothing is.
        """


@runtime_checkable
class BarStrategy(Declared, Protocol):
    """A decision engine that is asked bar by bar: slower by a factor of hundreds, and able to see its position."""

    def decider(self, dataset: Dataset, parameters: Mapping[str, float], direction: Direction) -> Decider:
        """A new engine that has seen nothing yet."""


Strategy = SignalStrategy | BarStrategy


def load(name: str) -> Strategy:
    """The built-in strategy of that name, or the object that `module:NAME` names.

    A module is also looked for in the working folder, after everything that is installed.

    Raises:
        SettingsError: where there is none, with the known names, or where it is no strategy.
        StrategyNotImported: where its module raises.
    """
    found = find(name)
    if not isinstance(found, SignalStrategy | BarStrategy):
        raise SettingsError(f"strategy {name!r}: expected {MEMBERS}, was {type(found).__name__}")
    return found


def bounds_of(strategy: Strategy) -> dict[str, Bounds]:
    """The hard bounds of every parameter."""
    return {parameter.name: (parameter.low, parameter.high) for parameter in strategy.parameters}


def check_parameters(strategy: Strategy, parameters: Mapping[str, float]) -> None:
    """Passes parameters that are complete but for fixed ones, of the right kind and inside the hard bounds.

    Raises:
        SettingsError: which strategy, which parameter, what was expected.
    """
    check_names(strategy, parameters)
    for parameter in strategy.parameters:
        if parameter.name in parameters:
            _check_value(strategy, parameter, parameters[parameter.name])


def completed(strategy: Strategy, parameters: Mapping[str, float]) -> dict[str, float]:
    """The parameters, those that are not named at their defaults."""
    return {parameter.name: parameter.default for parameter in strategy.parameters} | dict(parameters)


def repaired(strategy: Strategy, parameters: Mapping[str, float]) -> dict[str, float]:
    """The parameters, completed with defaults and made to fit together by the strategy.

    Raises:
        SettingsError: where they are not the strategy's, or leave its hard bounds.
    """
    check_parameters(strategy, parameters)
    with bounded():
        whole = strategy.repair(completed(strategy, parameters))
    check_parameters(strategy, whole)
    return whole


def warm_up_of(strategy: Strategy, bounds: Mapping[str, Bounds], timeframe: Timeframe) -> int:
    """Bars that the strategy itself asks for before the first judged one; `bounds` name every parameter.

    Raises:
        SettingsError: where it asks for anything but a number of bars.
    """
    with bounded():
        bars = strategy.warm_up(bounds, timeframe)
    if not isinstance(bars, int) or bars < 0:
        raise SettingsError(f"strategy {strategy.name!r}: warm_up: expected a number of bars, was {bars!r}")
    return bars


def completed_bounds(strategy: Strategy, bounds: Mapping[str, Bounds]) -> dict[str, Bounds]:
    """The bounds, a parameter that they leave out held at its default."""
    held = {parameter.name: (parameter.default, parameter.default) for parameter in strategy.parameters}
    return held | dict(bounds)


def check_names(strategy: Strategy, named: Mapping[str, object]) -> None:
    """Passes a mapping that names every parameter that is not fixed, and nothing that is none.

    Raises:
        SettingsError: which names are unknown or missing, and which are known.
    """
    known = [parameter.name for parameter in strategy.parameters]
    if unknown := [name for name in named if name not in known]:
        raise SettingsError(f"strategy {strategy.name!r} has no {', '.join(unknown)}: it has {', '.join(known)}")
    needed = [parameter.name for parameter in strategy.parameters if not parameter.fixed]
    if missing := [name for name in needed if name not in named]:
        raise SettingsError(f"strategy {strategy.name!r}: {', '.join(missing)} is missing")


def _check_value(strategy: Strategy, parameter: Parameter, value: float) -> None:
    subject = f"strategy {strategy.name!r}: {parameter.name}"
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise SettingsError(f"{subject}: expected a number, was {value!r}")
    if not isinstance(parameter, FloatParameter) and value != int(value):
        raise SettingsError(f"{subject}: expected a whole number, was {value!r}")
    if not parameter.low <= value <= parameter.high:
        raise SettingsError(f"{subject}: expected {parameter.low:g}..{parameter.high:g}, was {value!r}")
