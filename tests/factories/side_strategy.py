"""A strategy that trades one side by parameter, to plant an edge that depends on the market regime."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from optimizer.bars.preparation import Prepared
from optimizer.level.spec import Bounds, Direction
from optimizer.strategies.protocol import IntParameter, Parameter
from tradeschool.markets.timeframes import Timeframe

EVERY = 24
"""Bars between two entries; the position is closed after half of them."""


@dataclass(frozen=True)
class OneSide:
    """Enters every day, long with side 1 and short with side 0."""

    name: str = "one_side"
    parameters: tuple[Parameter, ...] = (
        IntParameter(name="side", low=0, high=1, default=1, meaning="1 is long, 0 is short."),
    )

    def warm_up(self, bounds: Mapping[str, Bounds], timeframe: Timeframe) -> int:
        return 1

    def repair(self, parameters: Mapping[str, float]) -> dict[str, float]:
        return dict(parameters)

    def signals(self, prepared: Prepared, parameters: Mapping[str, float], direction: Direction) -> NDArray[np.int8]:
        found = np.zeros(len(prepared), dtype=np.int8)
        found[::EVERY] = 1 if parameters["side"] else -1
        found[EVERY // 2 :: EVERY] = 2
        return found


ONE_SIDE = OneSide()
