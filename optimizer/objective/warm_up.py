"""Warm-up of compiled code: compiles, or loads from the cache, everything that a trial runs."""

from datetime import date
from functools import partial

from optimizer.bars.random_walk import random_walk
from optimizer.level.level_dataset import LevelDataset
from optimizer.level.spec import Direction, Gate, Level, Part
from optimizer.objective.objective import evaluate, prepare_level
from optimizer.strategies.protocol import load

SAMPLE = "coinbase/BTC-USD/H1"
SEED = 1


FILTERED = {"hour_length": 12, "trend": 1, "vol_low": 0.1}
"""Parameters that enable every filter."""


def precompile(name: str = "sma_cross") -> None:
    """Evaluate two trials of a built-in strategy over a few weeks of synthetic candles, one with all its filters."""
    strategy = load(name)
    filters = {
        parameter.name: FILTERED[parameter.name] for parameter in strategy.parameters if parameter.name in FILTERED
    }
    parameters = {parameter.name: parameter.default for parameter in strategy.parameters}
    level = Level(
        name="warm",
        title="Warm up",
        direction=Direction.BOTH,
        strategy=name,
        trials=1,
        datasets=(LevelDataset(dataset=SAMPLE, start=date(2020, 1, 1), end=date(2020, 5, 1)),),
        gate=Gate(win_rate=0, sharpe=0, max_drawdown_intrabar=1, profit_factor=1),
        ranges={name: (value, value) for name, value in {**parameters, **filters}.items()},
    )
    prepared = prepare_level(level, Part.TRAIN, partial(random_walk, seed=SEED))
    evaluate(level, prepared, parameters, [None])
    evaluate(level, prepared, {**parameters, **filters}, [None])
