"""Strategy protocols: declared parameters, with either signals for all candles or decisions bar by bar.

A built-in strategy is a file in `optimizer/strategies/built_in/` with a `STRATEGY`; a user's is named `module:NAME`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from optimizer.bars.preparation import Prepared
from optimizer.level.spec import Bounds, Direction
from optimizer.strategies.registry import find
from optimizer.strategies.time_limit import bounded
from tradeschool.errors import SettingsError
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.timeframes import Timeframe

MEMBERS = "an object with name, parameters, warm_up, repair, and signals or decider"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One candle at its close, prices in quote per base."""

    number: int
    """Index of the bar in the dataset, from 0."""
    time: int
    """Open time as Unix seconds."""
    open: float
    high: float
    low: float
    close: float
    half_spread: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Open position at the close of a bar."""

    side: int
    """+1 long, -1 short."""
    entry_bar: int
    entry_price: float
    """Quote per base, like `stop` and `target`."""
    units: float
    """Units of the base currency."""
    stop: float | None
    target: float | None
    profit: float
    """Unrealised profit in quote currency at this close; includes entry costs, excludes exit costs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IntParameter:
    """Integer parameter of a strategy."""

    name: str
    low: int
    """Hard bound; no level or retry searches below it."""
    high: int
    """Hard bound, inclusive."""
    default: int
    meaning: str
    """One-line description."""
    log: bool = False
    """Whether the search samples it on a logarithmic scale."""
    step: int = 1
    fixed: bool = False
    """Whether it keeps its default unless a level gives it a range."""
    search: tuple[int, int] | None = None
    """Range that a level searches if its own ranges belong to another strategy; None: low to high."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FloatParameter:
    """Float parameter of a strategy."""

    name: str
    low: float
    """Hard bound; no level or retry searches below it."""
    high: float
    """Hard bound, inclusive."""
    default: float
    meaning: str
    """One-line description."""
    log: bool = False
    """Whether the search samples it on a logarithmic scale."""
    step: float | None = None
    """Step between searched values; None for continuous."""
    fixed: bool = False
    """Whether it keeps its default unless a level gives it a range."""
    search: tuple[float, float] | None = None
    """Range that a level searches if its own ranges belong to another strategy; None: low to high."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoricalParameter:
    """Parameter with unordered choices. Its value is the index of the choice, from 0."""

    name: str
    choices: tuple[str, ...]
    default: int
    """Index of the default choice."""
    meaning: str
    """One-line description."""
    fixed: bool = False
    """Whether it keeps its default unless a level gives it a range."""
    search: tuple[int, int] | None = None
    """First and last choice that a level searches if its own ranges belong to another strategy; None: all."""

    @property
    def low(self) -> int:
        """Index of the first choice."""
        return 0

    @property
    def high(self) -> int:
        """Index of the last choice."""
        return len(self.choices) - 1


Parameter = IntParameter | FloatParameter | CategoricalParameter


class BaseStrategy(Protocol):
    """Members that every strategy declares."""

    @property
    def name(self) -> str:
        """Name used by levels."""

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """All parameters with their hard bounds. A name from `optimizer.strategies.trade_management` enables the
        engine's rule."""

    def warm_up(self, bounds: Mapping[str, Bounds], timeframe: Timeframe) -> int:
        """Return the number of bars before the first judged bar, for any parameters within `bounds`.

        The engine adds what the rules of `optimizer.strategies.trade_management` need.
        """

    def repair(self, parameters: Mapping[str, float]) -> dict[str, float]:
        """Return the nearest valid parameters within the hard bounds; valid ones unchanged."""


@runtime_checkable
class SignalStrategy(BaseStrategy, Protocol):
    """Strategy that returns signals for all candles at once.

    It must not keep state between calls: trials run in any order, in any process.
    """

    def signals(self, candles: Prepared, parameters: Mapping[str, float], direction: Direction) -> NDArray[np.int8]:
        """Return each bar's signal at its close, from that and earlier bars only; shape (n_bars,).

        +1 long, -1 short, 2 exit, 0 no signal. It fills at the open of the next bar. A signal against the position
        closes it, and reverses it if the level trades both directions. A signal with the position is ignored, as is a
        signal in a direction that the level does not trade while there is no position.
        """


class Decider(Protocol):
    """Decision function for one dataset, called from its first bar to its last."""

    def decide(self, bar: Bar, position: Position | None) -> int:
        """Return the decision at the close of a bar: +1 long, -1 short, 2 exit, 0 nothing.

        Called once per bar, in order. Decisions during the warm-up are not traded. `position` is the open position at
        that close, or None.
        """


@runtime_checkable
class BarStrategy(BaseStrategy, Protocol):
    """Strategy called bar by bar: hundreds of times slower, but it can read its position."""

    def decider(self, dataset: Dataset, parameters: Mapping[str, float], direction: Direction) -> Decider:
        """Return a new decider without state."""


Strategy = SignalStrategy | BarStrategy


def load(name: str) -> Strategy:
    """Return the built-in strategy of that name, or the object that `module:NAME` names.

    Modules are also searched in the working folder, after all installed ones.

    Raises:
        SettingsError: there is no such strategy (lists the known names), or the object is not a strategy.
        StrategyNotImported: its module raises.
    """
    return _checked(name) if ":" in name else _built_in(name)


@cache
def _built_in(name: str) -> Strategy:
    """Return a built-in strategy, checked once: the check of a protocol costs a tenth of a short trial."""
    return _checked(name)


def _checked(name: str) -> Strategy:
    found = find(name)
    if not isinstance(found, SignalStrategy | BarStrategy):
        raise SettingsError(f"strategy {name!r}: expected {MEMBERS}, was {type(found).__name__}")
    return found


def bounds_of(strategy: Strategy) -> dict[str, Bounds]:
    """Return the hard bounds of all parameters."""
    return {parameter.name: (parameter.low, parameter.high) for parameter in strategy.parameters}


def check_parameters(strategy: Strategy, parameters: Mapping[str, float]) -> None:
    """Check that parameters are complete except fixed ones, of the right kind and inside the hard bounds.

    Raises:
        SettingsError: names the strategy, the parameter and the expected value.
    """
    check_names(strategy, parameters)
    for parameter in strategy.parameters:
        if parameter.name in parameters:
            _check_value(strategy, parameter, parameters[parameter.name])


def completed(strategy: Strategy, parameters: Mapping[str, float]) -> dict[str, float]:
    """Return the parameters, with defaults for missing ones."""
    return {parameter.name: parameter.default for parameter in strategy.parameters} | dict(parameters)


def repaired(strategy: Strategy, parameters: Mapping[str, float]) -> dict[str, float]:
    """Return the parameters with defaults for missing ones, repaired by the strategy.

    Raises:
        SettingsError: a parameter is not the strategy's, or exceeds its hard bounds.
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
    """Return the bounds; a parameter without bounds is fixed at its default."""
    held = {parameter.name: (parameter.default, parameter.default) for parameter in strategy.parameters}
    return held | dict(bounds)


def check_names(strategy: Strategy, named: Mapping[str, object]) -> None:
    """Check that a mapping names every parameter that is not fixed, and no unknown one.

    Raises:
        SettingsError: names the unknown or missing parameters and the known ones.
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
