"""Compile, or load from the cache, everything that a trial runs, before the first trial waits for it."""

from datetime import date

import numpy as np

from optimizer.level import Direction, Gate, Level, LevelDataset, Part
from optimizer.objective import evaluate, prepare_level
from optimizer.strategies.sma_cross import STRATEGY
from tradeschool.columns import CandleArrays
from tradeschool.market import Dataset, Window

SAMPLE = "coinbase/BTC-USD/H1"


def warm() -> None:
    """Evaluate one trial over a few weeks of made-up candles."""
    level = Level(
        name="warm",
        title="Warm up",
        direction=Direction.BOTH,
        trials=1,
        datasets=(LevelDataset(dataset=SAMPLE, start=date(2020, 1, 1), end=date(2020, 3, 1)),),
        gate=Gate(win_rate=0, sharpe=0, max_drawdown=1, profit_factor=1),
        ranges={parameter.name: (parameter.default, parameter.default) for parameter in STRATEGY.parameters},
    )
    parameters = {parameter.name: parameter.default for parameter in STRATEGY.parameters}
    evaluate(level, prepare_level(level, Part.TRAIN, _waves), parameters, [None])


def _waves(dataset: Dataset, window: Window) -> CandleArrays:
    time = np.arange(window.start_seconds, window.end_seconds, dataset.timeframe.seconds, dtype=np.int64)
    close = np.round(100.0 + 10.0 * np.sin(np.arange(len(time)) / 20.0), 2)
    return CandleArrays(
        dataset=dataset,
        time=time,
        open=close,
        high=close + 0.5,
        low=close - 0.5,
        close=close,
        volume=np.ones(len(time)),
        half_spread=None,
    )
