"""Bar-by-bar strategies for tests."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from optimizer.level.spec import Bounds, Direction
from optimizer.strategies.protocol import Bar, IntParameter, Parameter, Position
from optimizer.strategies.trade_management import STOPS
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.timeframes import Timeframe


class _FirstRise:
    """Long once, at the first close above its open; out after a profit."""

    def __init__(self) -> None:
        self.entered = False

    def decide(self, bar: Bar, position: Position | None) -> int:
        if position is not None:
            return 2 if position.profit > 0 else 0
        if not self.entered and bar.close > bar.open:
            self.entered = True
            return 1
        return 0


@dataclass(frozen=True)
class FirstRise:
    name: str = "first_rise"
    parameters: tuple[Parameter, ...] = ()

    def warm_up(self, bounds: Mapping[str, Bounds], timeframe: Timeframe) -> int:
        return 0

    def repair(self, parameters: Mapping[str, float]) -> dict[str, float]:
        return dict(parameters)

    def decider(self, dataset: Dataset, parameters: Mapping[str, float], direction: Direction) -> _FirstRise:
        return _FirstRise()


FIRST_RISE = FirstRise()


@dataclass
class _Crossing:
    """sma_cross as a user would write it: lists, one bar at a time."""

    fast: int
    slow: int
    closes: list[float] = field(default_factory=list)
    seen: list[tuple[Bar, Position | None]] = field(default_factory=list)
    before: float | None = None

    def decide(self, bar: Bar, position: Position | None) -> int:
        self.seen.append((bar, position))
        self.closes = [*self.closes[-self.slow + 1 :], round(bar.close * 1e5)]
        if len(self.closes) < self.slow:
            return 0
        above = sum(self.closes[-self.fast :]) * self.slow - sum(self.closes) * self.fast
        before, self.before = self.before, above
        if before is None or above == 0 or ((before > 0) == (above > 0) and before != 0):
            return 0
        return 1 if above > 0 else -1


@dataclass
class Crossing:
    name: str = "crossing"
    parameters: tuple[Parameter, ...] = (
        IntParameter(name="fast", low=2, high=20, default=5, meaning="Bars."),
        IntParameter(name="slow", low=3, high=60, default=20, meaning="Bars."),
        *STOPS,
    )
    engines: list[_Crossing] = field(default_factory=list)

    def warm_up(self, bounds: Mapping[str, Bounds], timeframe: Timeframe) -> int:
        return int(bounds["slow"][1])

    def repair(self, parameters: Mapping[str, float]) -> dict[str, float]:
        return dict(parameters)

    def decider(self, dataset: Dataset, parameters: Mapping[str, float], direction: Direction) -> _Crossing:
        self.engines.append(_Crossing(int(parameters["fast"]), int(parameters["slow"])))
        return self.engines[-1]
