"""Templates of `tradeschool strategy new`: a strategy and its tests."""

from pathlib import Path

from tradeschool.errors import SettingsError, StoreUnwritable

STRATEGY = '''"""CLASS: describe in one line what the strategy does and why it should be profitable."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from optimizer.bars.preparation import Prepared
from optimizer.level.spec import Bounds, Direction
from optimizer.strategies.protocol import IntParameter, Parameter
from optimizer.strategies.trade_management import MANAGED
from tradeschool.markets.timeframes import Timeframe


@dataclass(frozen=True, slots=True)
class CLASS:
    """Momentum: long if a bar closes above the close `lookback` bars earlier, short if below."""

    name: str = "NAME"
    parameters: tuple[Parameter, ...] = (
        IntParameter(name="lookback", low=2, high=500, default=48, meaning="Lookback in bars."),
        *MANAGED,  # stop, target and other trade management, handled by the engine
    )

    def warm_up(self, bounds: Mapping[str, Bounds], timeframe: Timeframe) -> int:
        """Return the number of bars needed before the first valid signal, for any parameters within bounds."""
        return int(bounds["lookback"][1]) + 1

    def repair(self, parameters: Mapping[str, float]) -> dict[str, float]:
        """Return the nearest valid combination of parameters; valid ones are returned unchanged."""
        return dict(parameters)

    def signals(self, candles: Prepared, parameters: Mapping[str, float], direction: Direction) -> NDArray[np.int8]:
        """Return the signal at each bar's close, from this bar and earlier ones: 1 long, -1 short, 2 flat, 0 none.

        candles.open, high, low and close are integer ticks, shape (n_bars,), read-only.
        """
        lookback = int(parameters["lookback"])
        signals = np.zeros(len(candles), dtype=np.int8)
        side = np.sign(candles.close[lookback:] - candles.close[:-lookback]).astype(np.int8)
        changes = side[1:] != side[:-1]
        signals[lookback + 1 :][changes] = side[1:][changes]
        return signals


STRATEGY = CLASS()
'''
TESTS = '''"""Tests of NAME: run pytest in the folder of both files."""

import numpy as np
import pytest

from NAME import STRATEGY
from optimizer.backtest.engine import run_strategy, warm_up_bars
from optimizer.backtest.lookahead_check import is_repeatable, look_ahead, short_warm_up, signals_of
from optimizer.backtest.result import TradingRules
from optimizer.bars.preparation import Prepared, prepare
from optimizer.bars.random_walk import random_walk
from optimizer.level.costs import Costs
from optimizer.level.spec import Direction
from optimizer.strategies.protocol import repaired
from optimizer.strategies.trade_management import TradeManagement
from tradeschool.markets.catalogue import find_dataset
from tradeschool.markets.timerange import parse_timerange

DATASET = find_dataset("coinbase/BTC-USD/M5")
WINDOW = parse_timerange("20210101-20210201")
PARAMETERS = repaired(STRATEGY, {parameter.name: parameter.default for parameter in STRATEGY.parameters})
WARM_UP = warm_up_bars(STRATEGY, {name: (value, value) for name, value in PARAMETERS.items()}, DATASET.timeframe)


@pytest.fixture(scope="module")
def candles() -> Prepared:
    return prepare(random_walk(DATASET, WINDOW, seed=1), WINDOW, WARM_UP)


def test_it_trades(candles: Prepared) -> None:
    rules = TradingRules.of(Direction.BOTH, Costs(), 1.0, DATASET, TradeManagement.of(PARAMETERS))

    assert len(run_strategy(STRATEGY, candles, PARAMETERS, rules).trades) > 0


def test_it_does_not_look_ahead(candles: Prepared) -> None:
    assert look_ahead(signals_of(STRATEGY, PARAMETERS, Direction.BOTH), candles, seed=1) is None


def test_its_warm_up_suffices(candles: Prepared) -> None:
    assert short_warm_up(signals_of(STRATEGY, PARAMETERS, Direction.BOTH), candles, WARM_UP, seed=1) is None


def test_it_says_the_same_twice(candles: Prepared) -> None:
    assert is_repeatable(signals_of(STRATEGY, PARAMETERS, Direction.BOTH), candles)


def test_a_rise_is_long(candles: Prepared) -> None:
    signals = STRATEGY.signals(candles, PARAMETERS, Direction.BOTH)
    lookback = PARAMETERS["lookback"]
    bars = np.flatnonzero(signals == 1)

    assert (candles.close[bars] > candles.close[bars - lookback]).all()
'''


def write_strategy(name: str, folder: Path) -> tuple[Path, Path]:
    """Write a strategy template and its tests to a folder and return both paths.

    Raises:
        SettingsError: If the name is not a valid module name, or one of the files exists.
        StoreUnwritable: If the files cannot be written.
    """
    if not name.isidentifier() or name != name.lower():
        raise SettingsError(f"strategy {name!r}: expected a name of lower-case letters, digits and underscores")
    written = {folder / f"{name}.py": STRATEGY, folder / f"test_{name}.py": TESTS}
    for path in written:
        if path.exists():
            raise SettingsError(f"{path} exists already; choose another name or --folder")
    class_name = "".join(part.capitalize() for part in name.split("_"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in written.items():
            path.write_text(text.replace("CLASS", class_name).replace("NAME", name), encoding="utf-8")
    except OSError as error:
        raise StoreUnwritable(f"cannot write to {folder}: {error.strerror or error}") from error
    module, tests = written
    return module, tests
